"""How bytes get to fal and back: one transport for what costs money, clients for the rest.

- `open_transport` is httpx's own transport, for purchases. It sends a request once, and its errors
  tell whether a connection stood. `fal.post` hands its one request to it directly.
- `open_http` is a client on that transport, for uploads and for pictures.
- `open_reading` is a client on aiohttp's transport, for questions to fal and for downloads. It
  takes a quarter of the processor time (`benchmarks/transports.py` measures it). No purchase goes
  over it: of a POST that was accepted and then dropped it says that no connection stood.

No client follows redirects, keeps cookies or holds a key. HTTP/2 is not used, because nobody knows
whether fal speaks it.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version
from typing import Any
from urllib.request import getproxies

import anyio
import httpx

from prefect_hailuo.clock import Clock, SystemClock

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
POOL_SECONDS = 60.0

QUESTIONS_AT_ONCE = 64
"""How many questions are under way at once. The others wait before the pool, which looks at all
that wait in it at every change. Streams are counted apart."""

MOST_ANSWER_BYTES = 64 << 20
"""The longest answer that is read. A page of the history has the inputs of a hundred requests."""

MOST_EVENT_BYTES = 1 << 20
"""The longest event of a stream: a status, with the last lines of a log."""

# httpcore looks at every idle connection at every change of its pool, so many of them cost more
# than they save: 1,000 kept alive made 1,000 streams five times slower.
LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100)

# A purchase has a fresh connection. If the other side closed a kept one in that moment, the answer
# would be lost, and nobody could say whether the video was bought.
FRESH = httpx.Limits(max_connections=1000, max_keepalive_connections=0)

USER_AGENT = f"prefect-hailuo/{version('prefect-hailuo')}"

# Requests to this machine's loopback go through no proxy, which could read them. Plain http goes
# nowhere else (see `is_confidential`).
DIRECT: dict[str, httpx.AsyncBaseTransport | None] = {
    "http://": None,
    "all://localhost": None,
    "all://127.0.0.1": None,
    "all://[::1]": None,
}


class Rate:
    """How many requests a second may be sent by all callers together.

    Args:
        per_second: Requests a second; None: any number.
        clock: What waiting is measured with.
    """

    def __init__(self, per_second: float | None = None, clock: Clock | None = None) -> None:
        self.per_second = per_second
        self._clock: Clock = clock or SystemClock()
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for a turn; first come, first served."""
        if self.per_second is None:
            return
        now = self._clock.now()
        mine = max(now, self._next)
        self._next = mine + 1 / self.per_second
        if mine > now:
            await self._clock.sleep(mine - now)


class ClientTransport(httpx.AsyncBaseTransport):
    """A transport that sends through a client, for the proxies that the client knows.

    It sends a request as it is: no redirect is followed, and the client's own login is not added.

    Args:
        client: The client; closing the transport closes it.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the body of the answer is still to be read."""
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()


def open_transport(limits: httpx.Limits = LIMITS) -> httpx.AsyncBaseTransport:
    """httpx's own transport, with retries off; through the environment's proxies, if it names any.

    Args:
        limits: How many connections there may be.
    """
    if getproxies():
        return ClientTransport(httpx.AsyncClient(limits=limits, mounts=DIRECT, **_common()))
    return httpx.AsyncHTTPTransport(verify=_certificates(), limits=limits, retries=0)


async def send(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    """Send a request once, and read its answer to the end, up to `MOST_ANSWER_BYTES`.

    Raises:
        httpx.RequestError: There was no answer, not all of it came, or it is too long.
    """
    response = await transport.handle_async_request(request)
    response.request = request
    try:
        content = await _read(response)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await response.aclose()
        raise
    names = (b"content-encoding", b"content-length", b"transfer-encoding")
    return httpx.Response(
        response.status_code,
        headers=[each for each in response.headers.raw if each[0].lower() not in names],
        content=content,
        request=request,
        extensions=response.extensions,
    )


async def _read(response: httpx.Response) -> bytes:
    """All of an answer. httpx's own reading has no bound, and unpacks a few bytes to gigabytes."""
    unpack = _unpacking(response)
    content = bytearray()
    async for piece in response.aiter_raw():
        content += unpack(piece, MOST_ANSWER_BYTES + 1 - len(content)) if unpack else piece
        if len(content) > MOST_ANSWER_BYTES:
            raise httpx.DecodingError(
                f"The answer is longer than {MOST_ANSWER_BYTES:,} bytes.", request=response.request
            )
    return bytes(content)


def _unpacking(response: httpx.Response) -> Callable[[bytes, int], bytes] | None:
    """What unpacks an answer that is packed once, though nobody asked for it; None if it is not."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower() or "identity"
    if encoding == "identity":
        return None
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise httpx.DecodingError(f"The answer is packed as {encoding!r}, unasked.")
    unpacked = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def unpack(piece: bytes, most: int) -> bytes:
        try:
            return unpacked.decompress(piece, most)
        except zlib.error as error:
            raise httpx.DecodingError(str(error)) from error

    return unpack


async def bounded_events(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The bytes of a stream of events, none of which is longer than `MOST_EVENT_BYTES`.

    Raises:
        httpx.RequestError: It broke off, or an event does not end.
    """
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise httpx.DecodingError("The stream is packed, unasked.", request=response.request)
    pending, last = 0, b""
    async for piece in response.aiter_raw():
        seen = (last + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, ended, _ = seen.partition(b"\n\n")
        longest = pending + len(first)
        pending = len(seen.rpartition(b"\n\n")[2]) if ended else pending + len(piece)
        last = piece[-3:]
        if longest > MOST_EVENT_BYTES:
            raise httpx.DecodingError(
                f"An event is longer than {MOST_EVENT_BYTES:,} bytes.", request=response.request
            )
        yield piece


class DirectClient(httpx.AsyncClient):
    """A client that passes requests to its transport as they are, at its rate.

    Redirects, cookies and logins are not wanted, and looking for them would take as long as
    everything that aiohttp does.

    Args:
        transport: The transport.
        rate: The rate that all requests keep to.
        at_once: How many may be under way; streams do not count. None: any number.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        rate: Rate | None = None,
        at_once: int | None = None,
    ) -> None:
        super().__init__(transport=transport, **_common())
        self.transport = transport
        self._rate = rate or Rate()
        self._gate = anyio.Semaphore(at_once, fast_acquire=True) if at_once else None

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **options: Any
    ) -> httpx.Response:
        """Send a request; `options` are those of `httpx.AsyncClient.send`, and change nothing."""
        await self._rate.turn()
        if stream:
            response = await self.transport.handle_async_request(request)
            response.request = request
            return response
        async with self._gate or AsyncExitStack():
            return await send(self.transport, request)


def open_http(limits: httpx.Limits = LIMITS) -> DirectClient:
    """A client on httpx's own transport.

    Args:
        limits: How many connections there may be.
    """
    return DirectClient(open_transport(limits))


def open_reading(rate: Rate | None = None, at_once: int = QUESTIONS_AT_ONCE) -> DirectClient:
    """A client for what may be repeated: questions to fal, and downloads.

    Where the environment names a proxy it is on httpx's own transport, which knows all kinds.

    Args:
        rate: The rate that it keeps to.
        at_once: How many requests may be under way, beside streams.
    """
    transport = open_transport() if getproxies() else _read_transport()
    return DirectClient(transport, rate, at_once)


def _read_transport() -> httpx.AsyncBaseTransport:
    # Imported here: aiohttp takes a while to load, and a mere import of the package does not wait.
    from prefect_hailuo.fal.read_transport import ReadTransport

    return ReadTransport(_certificates())


def _common() -> dict[str, Any]:
    return {
        "follow_redirects": False,
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        "timeout": httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=POOL_SECONDS),
        # A packed answer of a few bytes can be gigabytes long.
        "headers": {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        "verify": _certificates(),
    }


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities that are trusted; loaded once, because that takes 20 milliseconds."""
    return httpx.create_ssl_context()
