"""Headless Chromium over its debugging pipe: keys, downloads, what a page reached for. Nothing to install but the browser."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
NO_CHROMIUM = "no Chromium here: apt-get install chromium"
KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "Backspace": 8}


class Browser:
    """One page. `requests`: every address that it asked for; `errors`: what scripts and policies complained of."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._buffer, self._next = write, read, b"", 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.dialogs = 0
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    _session: str | None = None

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._next += 1
        message: dict[str, Any] = {"id": self._next, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            got = self._receive()
            if got.get("id") == self._next:
                assert "error" not in got, f"{method}: {got['error']}"
                found: dict[str, Any] = got["result"]
                return found

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._read, 65536)
            assert part, "the browser ended"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        got: dict[str, Any] = json.loads(line)
        match got.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(got["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(got["params"]["exceptionDetails"].get("exception", {}).get("description")))
            case "Log.entryAdded":
                self.errors.append(got["params"]["entry"]["text"])
            case "Page.javascriptDialogOpening":
                self.dialogs += 1
        return got

    def open(self, page: Path) -> None:
        self.send("Page.navigate", url=page.as_uri())
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, expression: str) -> Any:
        """The value of an expression; a promise is awaited."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    def show(self, width: int, *, dark: bool) -> None:
        """A window of this width in CSS pixels, for somebody who prefers dark or light pages."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media="", features=[scheme])

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self.send("Page.printToPDF", preferCSSPageSize=True)["data"])

    def until(self, expression: str) -> None:
        deadline = time.monotonic() + 20
        while not self.js(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        for key in keys:
            text = {} if key in KEYS else {"text": key}
            code = KEYS.get(key, ord(key.upper()[0]))
            self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
            self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)


@contextmanager
def chromium(profile: Path, downloads: Path) -> Iterator[Browser]:
    assert CHROMIUM is not None
    from_us, ours = os.pipe()
    theirs, to_us = os.pipe()
    line = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
            f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]  # fmt: skip
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$0" "$@" 3<&{from_us} 4>&{to_us}', *line], pass_fds=(from_us, to_us),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(from_us)
    os.close(to_us)
    try:
        browser = Browser(ours, theirs)
        browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        yield browser
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours)
        os.close(theirs)
