"""httpx's errors without the key: they show what came, which may repeat what was sent."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

import httpx

from prefect_hailuo.fal.hosts import Access

T = TypeVar("T")


async def without_key(sending: Awaitable[T], access: Access) -> T:
    """What comes of talking to fal; no error of httpx's that it ends with repeats the key.

    httpx shows what it could not understand, and that may be our own request's head.

    Raises:
        httpx.HTTPError: It failed.
    """
    try:
        return await sending
    except httpx.HTTPError as error:
        seen = concealed(error, access)
    raise seen  # out here, for else the error that shows the key would be its context


def concealed(error: httpx.HTTPError, access: Access) -> httpx.HTTPError:
    """An error of httpx's, or one that says the same, where it or what led to it shows the key."""
    shown = "".join(traceback.format_exception(error))
    if access.conceal(shown) != shown:
        return type(error)(access.conceal(str(error)))
    with suppress(RuntimeError):  # it has no request
        # Whoever hands errors on whole, as Dask does, would hand on the header that has the key.
        error.request = httpx.Request(error.request.method, error.request.url)
    return error
