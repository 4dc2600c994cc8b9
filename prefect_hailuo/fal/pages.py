"""Answers of fal's platform API that come in pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

import httpx
from pydantic import TypeAdapter

from prefect_hailuo.errors import MalformedReplyError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Message
from prefect_hailuo.fal.replies import parse

MOST_PAGES = 1000
"""Pages of one answer; whoever names a further one is taken to go on for ever."""


class Page(Message):
    """A part of an answer.

    Args:
        has_more: Whether another follows.
        next_cursor: Its name.
    """

    has_more: bool
    next_cursor: str | None = None


P = TypeVar("P", bound=Page)


def parse_page(response: httpx.Response, adapter: TypeAdapter[P], access: Access) -> P:
    """The page in an answer.

    JSON can hold halves of characters, which are no text. In somebody's input they are no input
    of ours, and must not hide all the other requests.

    Raises:
        MalformedReplyError: It is no such page.
    """
    try:
        return parse(response, adapter, access)
    except MalformedReplyError:
        with suppress(ValueError, RecursionError):
            return adapter.validate_python(json.loads(response.text))
        raise


def next_cursor(page: Page, followed: Sequence[str]) -> str:
    """The cursor of the page after this one.

    Raises:
        MalformedReplyError: There is none, or the pages do not end.
    """
    if not page.next_cursor:
        raise MalformedReplyError("fal says that there are more pages, and names no next one.")
    if page.next_cursor in followed or len(followed) + 1 >= MOST_PAGES:
        raise MalformedReplyError(f"fal's pages do not end: {len(followed) + 1} were read.")
    return page.next_cursor
