"""Proof that nothing leaves: sockets to other machines are refused in this process and in every one that comes of it.

An audit hook cannot be removed and is inherited by a fork. A process that is spawned installs its own as soon as it imports
one of our packages, since FREEHOLD_OFFLINE is in its environment. That file takes a line per process that is guarded and per
attempt that was refused. Loopback and unix sockets stay open. What no hook sees: a library that speaks to the kernel without
Python's socket module, and a program that imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

from data_prep.records import UserError

VARIABLE = "FREEHOLD_OFFLINE"
# libraries that ask the hub on their own find what is here instead of failing at the hook
LIBRARIES = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
SENDS = frozenset(("socket.connect", "socket.sendto", "socket.sendmsg"))
LOOKS_UP = frozenset(("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"))

_installed = False


class OfflineError(UserError, ConnectionError):
    """Something wanted to reach another machine, and the command runs with --offline or --replay."""


@dataclass(frozen=True, slots=True)
class Proof:
    """processes: how many ran under the hook. refused: what they tried to reach."""

    processes: int
    refused: list[str]


def is_loopback(host: str) -> bool:
    """Does this host stay on this machine? A name that merely looks like it (`127.0.0.1.firm.example`) does not."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def enforce(log: Path) -> None:
    """From here on no socket of this process or its children reaches another machine. Cannot be undone."""
    os.environ[VARIABLE] = str(log.absolute())
    os.environ.update(LIBRARIES)
    log.parent.mkdir(parents=True, exist_ok=True)
    _install(log.absolute())


def inherit() -> None:
    """What a process does first: obey where the one that started it was told to."""
    if VARIABLE in os.environ:
        _install(Path(os.environ[VARIABLE]))


def proof(log: Path) -> Proof:
    """What the file of a command says."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    refused = [f"{r['event']} {r['refused']}" for r in lines if "refused" in r]
    return Proof(len({r["process"] for r in lines}), refused)


def _install(log: Path) -> None:
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(lambda event, arguments: _judge(event, arguments, log))
        os.register_at_fork(after_in_child=lambda: _note(log))
        _note(log)


def _judge(event: str, arguments: tuple[Any, ...], log: Path) -> None:
    if event in SENDS:
        beyond = _beyond(arguments[0], arguments[1])
    elif event in LOOKS_UP:
        host = arguments[0]
        beyond = None if not host or _is_here(host) else _shown(host)
    else:
        return
    if beyond is not None:
        _note(log, event=event, refused=beyond)
        raise OfflineError(f"--offline (and --replay): {event} to {beyond} was refused; nothing was sent")


def _beyond(made: Any, address: Any) -> str | None:
    """Where else than on this machine an address lies; None for addresses here and for a socket that is connected already."""
    if address is None or made.family == socket.AF_UNIX:
        return None
    if made.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
        return None if address[0] == "" or _is_here(address[0]) else f"{_shown(address[0])}:{address[1]}"
    return f"{made.family!r} {address!r}"


def _is_here(host: Any) -> bool:
    """Loopback, or an address without a name to look up that stands for this machine (0.0.0.0 binds, and connects here)."""
    return is_loopback(_shown(host)) or _shown(host) in ("0.0.0.0", "::")


def _shown(host: Any) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)


def _note(log: Path, **what: Any) -> None:
    line = json.dumps({"process": os.getpid(), **what}) + "\n"
    target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(target, line.encode())  # one write: lines of several processes do not mix
    finally:
        os.close(target)
