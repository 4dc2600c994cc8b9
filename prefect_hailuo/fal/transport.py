"""The HTTP clients that carry everything: for purchases, for questions to fal, and for media.

httpx is the interface of all; what is below it differs. Reads go over aiohttp's transport, which
takes a quarter of the processor time of httpx's own, and less than that where many wait
(`benchmarks/transports.py` measures it). A purchase never does: aiohttp's transport reports a POST
that was accepted and then dropped as a ConnectTimeout, as if nothing had been sent.

HTTP/2 is not used: whether fal speaks it is not known.
"""

from __future__ import annotations

import ssl
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
"""How many questions are under way at once; whoever else has one waits before the pool, which
looks at all that wait in it at every change. Streams are counted apart."""

# httpcore looks at every idle connection at every change of its pool, so that many of them cost
# more than they save: 1,000 kept alive made 1,000 streams five times slower.
LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100)

# A purchase has a fresh connection: on one that was kept and that the other side closes in that
# moment, its answer would be lost, and nobody could say whether it was bought.
FRESH = httpx.Limits(max_connections=1000, max_keepalive_connections=0)

USER_AGENT = f"prefect-hailuo/{version('prefect-hailuo')}"

# What goes to this machine's loopback never passes a proxy, which could read it; and plain http
# goes nowhere else (see `is_private_enough`).
DIRECT: dict[str, httpx.AsyncBaseTransport | None] = {
    "http://": None,
    "all://localhost": None,
    "all://127.0.0.1": None,
    "all://[::1]": None,
}


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities that are trusted: loaded once, for it takes a fiftieth of a second."""
    return httpx.create_ssl_context()


class Rate:
    """How many requests a second may be sent, all callers together.

    Args:
        per_second: Requests a second; None: any number.
        clock: What waiting is measured with.
    """

    def __init__(self, per_second: float | None = None, clock: Clock | None = None) -> None:
        self.per_second = per_second
        self._clock: Clock = clock or SystemClock()
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for one's turn; first come, first served."""
        if self.per_second is None:
            return
        now = self._clock.now()
        mine = max(now, self._next)
        self._next = mine + 1 / self.per_second
        if mine > now:
            await self._clock.sleep(mine - now)


class DirectClient(httpx.AsyncClient):
    """A client that hands its requests to its transport as they are.

    Without redirects, cookies and a login, all that httpx does in between is for nothing, and takes
    as long as aiohttp does for the rest.

    Args:
        transport: The transport; None: httpx's own, with the environment's proxies, as httpx does.
        settings: As for `httpx.AsyncClient`.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, **settings: Any) -> None:
        super().__init__(transport=transport, **settings)
        self._direct = transport

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **options: Any
    ) -> httpx.Response:
        """Send a request."""
        if self._direct is None:
            return await super().send(request, stream=stream, **options)
        response = await self._direct.handle_async_request(request)
        response.request = request
        if not stream:
            try:
                await response.aread()
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
                raise
        return response


class ReadingClient(DirectClient):
    """A client whose requests wait for their turn before they get into the pool's way.

    Args:
        rate: The rate that all requests keep to.
        at_once: How many may be under way; streams do not count.
        transport: As for `DirectClient`.
        settings: As for `httpx.AsyncClient`.
    """

    def __init__(
        self,
        rate: Rate,
        at_once: int,
        transport: httpx.AsyncBaseTransport | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(transport, **settings)
        self._rate = rate
        self._gate = anyio.Semaphore(at_once, fast_acquire=True)

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **options: Any
    ) -> httpx.Response:
        """Send a request when it is its turn."""
        await self._rate.turn()
        if stream:
            return await super().send(request, stream=True, **options)
        async with self._gate:
            return await super().send(request, **options)


def open_http(limits: httpx.Limits = LIMITS) -> httpx.AsyncClient:
    """A client on httpx's own transport: no redirects, no cookies.

    It holds no key: whoever sends a request adds the header, and only to fal's API.

    Args:
        limits: How many connections there may be.
    """
    return DirectClient(**_own(limits), **_common())


def open_reading(rate: Rate | None = None, at_once: int = QUESTIONS_AT_ONCE) -> ReadingClient:
    """A client for what may be repeated: questions to fal, and media; as `open_http`, but light.

    Where the environment names a proxy it is on httpx's own transport, which knows all kinds.

    Args:
        rate: The rate that it keeps to.
        at_once: How many requests may be under way, beside streams.
    """
    own = _own(LIMITS) if getproxies() else {"transport": _light_transport()}
    return ReadingClient(rate or Rate(), at_once, **own, **_common())


def _own(limits: httpx.Limits) -> dict[str, Any]:
    """httpx's own transport; with the environment's proxies, if it names any."""
    if getproxies():
        return {"limits": limits, "mounts": DIRECT}
    return {"transport": httpx.AsyncHTTPTransport(verify=_certificates(), limits=limits)}


def _light_transport() -> httpx.AsyncBaseTransport:
    # Here, for aiohttp takes a while to load: whoever only imports the package does not wait.
    from prefect_hailuo.fal.light_transport import LightTransport

    return LightTransport(_certificates())


def _common() -> dict[str, Any]:
    return {
        "follow_redirects": False,
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        "timeout": httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=POOL_SECONDS),
        "headers": {"User-Agent": USER_AGENT},
        "verify": _certificates(),
    }
