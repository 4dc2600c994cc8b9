"""A picture's content, from wherever a caller named it: a file, a URL, a `data:` URI."""

from __future__ import annotations

import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.to_thread
import httpx

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.disk import on_disk
from prefect_hailuo.errors import HailuoError, ImageError
from prefect_hailuo.fal.dates import retry_after
from prefect_hailuo.fal.patience import pause_seconds
from prefect_hailuo.image_checks import check_size
from prefect_hailuo.images import DATA, decode_data_uri, is_identity, is_url, shown
from prefect_hailuo.picture_addresses import Reach, find_reach

FETCH_SECONDS = 60.0
"""How long a URL is tried, its repetitions included."""

MOST_ATTEMPTS = 4
MOST_REDIRECTS = 5

AS_IT_IS = {"Accept-Encoding": "identity"}

TRANSIENT = frozenset({408, 425, 429})


async def read_picture(source: str, http: httpx.AsyncClient, clock: Clock | None = None) -> bytes:
    """All of a picture, of whatever kind; it may be no picture at all.

    Args:
        source: As an input names it.
        http: The client for URLs; it follows no redirect and sends no key.
        clock: What waiting is measured with.

    Raises:
        ImageError: It cannot be had, or is too large; nothing was bought.
    """
    if is_identity(source):
        raise ImageError(
            f"The video of the picture {source} was not made yet, and what the picture shows "
            "cannot be told from its digest; nothing was bought.",
            cure="Pass the picture itself: its path, its URL or its bytes.",
        )
    if is_url(source):
        return await _fetch(source, http, clock or SystemClock())
    if source[: len(DATA)].lower() == DATA:
        return await anyio.to_thread.run_sync(decode_data_uri, source)
    return await on_disk(_read_file, source)


def file_state(path: str) -> tuple[int, ...] | None:
    """What changes when a file does; None where there is none. It waits for the disk."""
    try:
        seen = Path(path).stat()
    except (OSError, ValueError):
        return None
    return (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _read_file(path: str) -> bytes:
    try:
        seen = Path(path).stat()
        if not stat.S_ISREG(seen.st_mode):
            raise ImageError(
                f"{path} is no file; nothing was bought.", cure="Name the picture's file itself."
            )
        check_size(seen.st_size, path)
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError(
            f"There is no picture {path} on this machine; nothing was bought.",
            cure="Put it there, or pass a URL that every worker can read. A video that was made of "
            "it before is still stored: find it with prefect-hailuo ledger list, or pass the "
            "picture's sha256:… in place of its path.",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(
            f"The picture {path} cannot be read ({reason}); nothing was bought.",
            cure="Give this process the right to read it, or pass its bytes.",
        ) from error


async def _fetch(url: str, http: httpx.AsyncClient, clock: Clock) -> bytes:
    deadline = Deadline(FETCH_SECONDS, clock)
    with anyio.move_on_after(FETCH_SECONDS):
        return await _repeat(lambda: _follow(url, http), deadline)
    raise _unreachable(url, f"it did not arrive within {FETCH_SECONDS:g} seconds")


async def _repeat(fetch: Callable[[], Awaitable[bytes]], deadline: Deadline) -> bytes:
    for attempt in range(MOST_ATTEMPTS):
        try:
            return await fetch()
        except HailuoError as error:
            pause = pause_seconds(attempt, error)
            last = attempt == MOST_ATTEMPTS - 1 or pause >= deadline.remaining
            if last or not error.retryable:
                raise
            await deadline.sleep(pause)
    raise AssertionError("The last attempt ends in a picture or in an error.")


async def _follow(url: str, http: httpx.AsyncClient) -> bytes:
    at, before = url, None
    for _ in range(MOST_REDIRECTS + 1):
        try:
            before = await _checked_reach(at, before, url)
            async with http.stream("GET", at, headers=AS_IT_IS) as response:
                if not response.is_redirect:
                    _check_answer(response, url)
                    return await _receive(response, url)
                at = _next(response, at, url)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Not its words, which may show the URL's query.
            raise _unreachable(url, type(error).__name__) from None
    raise _unusable(url, f"it was redirected more than {MOST_REDIRECTS} times")


async def _checked_reach(at: str, before: Reach | None, url: str) -> Reach:
    reach = await find_reach(httpx.URL(at))
    if reach is Reach.NEVER:
        raise _unusable(url, "it leads to an address at which clouds keep a machine's secrets")
    if before is Reach.PUBLIC and reach is Reach.PRIVATE:
        raise _unusable(url, "it was redirected from a public address into a private network")
    return reach


def _next(response: httpx.Response, at: str, url: str) -> str:
    """Where a redirect leads."""
    base = httpx.URL(at)
    there = base.join(response.headers.get("Location", ""))
    if there.scheme not in ("http", "https") or there.userinfo or not there.host:
        raise _unusable(url, "it was redirected to what is no plain web address")
    if base.scheme == "https" and there.scheme == "http":
        raise _unusable(url, "it was redirected from https to http, where anybody could change it")
    return str(there)


async def _receive(response: httpx.Response, url: str) -> bytes:
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal():
        check_size(int(announced), shown(url))
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        check_size(len(content), shown(url))
    return bytes(content)


def _check_answer(response: httpx.Response, url: str) -> None:
    code = response.status_code
    if response.is_success:
        return
    if code >= 500 or code in TRANSIENT:
        error = _unreachable(url, f"its server answered HTTP {code}")
        error.retry_after = retry_after(response)
        raise error
    raise _unusable(url, f"its server answered HTTP {code}")


def _unreachable(url: str, why: str) -> ImageError:
    return ImageError(
        f"The picture {shown(url)} could not be fetched: {why}; nothing was bought.",
        cure="Try again later, or pass the picture as a file or as bytes.",
        retryable=True,
    )


def _unusable(url: str, why: str) -> ImageError:
    return ImageError(
        f"The picture {shown(url)} cannot be fetched: {why}; nothing was bought.",
        cure="Check the URL in a browser without a login; a signed one may have expired, so sign "
        "it anew. No cookie and no key is sent: else pass the picture as a file or as bytes.",
    )
