"""The HTTP clients that carry everything: one for fal's API, one for media."""

from __future__ import annotations

import ssl
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version

import httpx

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
POOL_SECONDS = 60.0

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


def open_http(limits: httpx.Limits = LIMITS) -> httpx.AsyncClient:
    """A client for fal's API or for media: no redirects, no cookies, httpx's own transport.

    It holds no key: whoever sends a request adds the header, and only to fal's API.

    Args:
        limits: How many connections there may be.
    """
    return httpx.AsyncClient(
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        limits=limits,
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=POOL_SECONDS),
        headers={"User-Agent": USER_AGENT},
        mounts=DIRECT,
        verify=_certificates(),
    )
