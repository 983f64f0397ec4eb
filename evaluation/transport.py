"""HTTP through the egress guard: the clients that every provider and the load test use.

A request leaves with a receipt or not at all. Redirects are never followed: the policy was asked about one address. Bodies
have an upper size, are refused where they are neither JSON nor a stream of events, and must be there within the time limit,
however slowly they drip. To this machine no proxy of the environment is used, since it would carry the request out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx2

from evaluation.egress import TAG_PREFIX, Batch, Call, Guard
from evaluation.offline import is_loopback

ANSWER_TYPES = ("application/json", "text/event-stream", "application/x-ndjson")
TAG = "X-Request-ID"


class ResponseError(Exception):
    """A response that is not an answer. `status` says why, in a word that reports count by."""

    def __init__(self, status: str, told: str) -> None:
        super().__init__(told)
        self.status = status


class GuardedClient(httpx2.Client):
    """An httpx client whose every request passes the guard.

    most_bytes: of a response's body. direct: past the proxies of the environment, wherever it goes.
    """

    def __init__(
        self,
        base_url: str,
        guard: Guard,
        *,
        timeout_s: float,
        most_bytes: int,
        connections: int,
        direct: bool = False,
    ) -> None:
        self._guard, self._timeout_s, self._most = guard, timeout_s, most_bytes
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        outside = not is_loopback(httpx2.URL(base_url).host)
        # with a transport of its own httpx looks for no proxy, and still for the certificates that the environment names
        transport = httpx2.HTTPTransport(limits=limits) if direct and outside else None
        super().__init__(
            timeout=timeout_s, follow_redirects=False, trust_env=outside, limits=limits, transport=transport
        )

    def send(self, request: httpx2.Request, *, stream: bool = False, **_: Any) -> httpx2.Response:
        """Raises EgressError before anything is sent; ResponseError for what came back instead of an answer."""
        deadline = time.monotonic() + self._timeout_s
        request.headers["Accept-Encoding"] = "identity"  # a small body cannot become a huge one
        call = self._guard.leaving(request.headers.get(TAG, ""), str(request.url), size_of(request))
        response = super().send(request, stream=True, follow_redirects=False)
        try:
            _check(response, call)
            response.stream = _Bounded(response.stream, self._most, deadline)
            if not stream:
                response.read()
        except BaseException:
            response.close()
            raise
        return response


class BatchClient(httpx2.AsyncClient):
    """The same for the requests of a batch, which must leave when they are due: no limit of connections, no waiting."""

    def __init__(self, batch: Batch, *, key: str, timeout_s: float) -> None:
        self._batch = batch
        # a pool that is full would hold requests back: the loop would be closed
        # servers close idle connections after five seconds; ours must be the first to let go
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2.0)
        timeout = httpx2.Timeout(timeout_s, pool=None)
        # a transport of its own: no proxy, and still the certificates that the environment names
        transport = httpx2.AsyncHTTPTransport(limits=limits)
        super().__init__(
            timeout=timeout, trust_env=False, transport=transport, headers={"Authorization": f"Bearer {key}"}
        )  # fmt: skip

    async def send(self, request: httpx2.Request, *, stream: bool = False, **_: Any) -> httpx2.Response:
        """Raises EgressError before anything is sent."""
        self._batch.leaving(request.headers.get(TAG, ""), str(request.url), size_of(request))
        return await super().send(request, stream=stream, follow_redirects=False)


def size_of(request: httpx2.Request) -> int:
    """Bytes on the wire, those of the connection aside."""
    line = len(request.method) + len(request.url.raw_path) + len(" ") + len(" HTTP/1.1\r\n\r\n")
    return line + sum(len(k) + len(v) + 4 for k, v in request.headers.raw) + len(request.read())


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, inner: Any, most: int, deadline: float) -> None:
        self._inner, self._most, self._deadline = inner, most, deadline

    def __iter__(self) -> Iterator[bytes]:
        seen = 0
        for chunk in self._inner:
            seen += len(chunk)
            if seen > self._most:
                raise ResponseError("answer_too_long", f"the response is longer than {self._most} bytes")
            if time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("the response was not complete within the time limit")
            yield chunk

    def close(self) -> None:
        self._inner.close()


def _check(response: httpx2.Response, call: Call) -> None:
    echoed = response.headers.get(TAG, "")
    if echoed.startswith(TAG_PREFIX) and echoed != call.tag:
        raise ResponseError("answer_to_another_request", f"the server answered {echoed} where {call.tag} was asked")
    if response.status_code != 200 or not call.item:  # an errand's answer may be a file
        return
    kind = response.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind and kind not in ANSWER_TYPES and not kind.endswith("+json"):
        raise ResponseError("wrong_content_type", f"the server answered with {kind}, not JSON")
    if response.headers.get("content-encoding", "identity").strip().casefold() not in ("", "identity"):
        raise ResponseError("unreadable_response", "the server compressed its answer, which was not asked for")
