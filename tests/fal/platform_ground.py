"""A client of the platform API, and pages for it to read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

from raw_server import (
    ENDPOINT,
    HurriedClock,
    RawServer,
    Reply,
    answer,
)

from prefect_hailuo.clock import Clock
from prefect_hailuo.emulator import FalEmulator, edit
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.platform import History, PlatformClient
from prefect_hailuo.fal.transport import open_http

START = datetime.now(timezone.utc) - timedelta(hours=1)


@asynccontextmanager
async def asking(
    whom: FalEmulator | RawServer | Access, clock: Clock | None = None
) -> AsyncGenerator[PlatformClient, None]:
    """A client of this server's platform API."""
    if isinstance(whom, FalEmulator):
        whom = whom.credentials().access()
    access = whom.access() if isinstance(whom, RawServer) else whom
    async with open_http() as http:
        yield PlatformClient(access, http, clock)


async def history_of(whom: FalEmulator | RawServer | Access, **options: Any) -> History:
    """The history of the last hour, asked without waiting."""
    async with asking(whom, HurriedClock()) as client:
        return await client.history(ENDPOINT, START, **options)


def watch(emulator: FalEmulator) -> Callable[[], int]:
    """Counts the pages of the history that are asked for from now on."""
    nothing = edit("history", lambda body: body, count=None)
    emulator.faults.add(nothing)
    return lambda: emulator.faults.struck(nothing)


def ids(history: History) -> list[str]:
    """Whose history it is."""
    return [past.request_id for past in history.requests]


def item(request_id: str, **fields: Any) -> dict[str, Any]:
    """An item of the history, as fal writes it."""
    sent_at = "2026-09-01T12:00:00Z"
    return {"request_id": request_id, "endpoint_id": ENDPOINT, "sent_at": sent_at, **fields}


def page(items: Iterable[Any], cursor: str | None = None, **headers: str) -> Reply:
    """A page of the history; with a cursor, there are more."""
    body = {"items": list(items), "next_cursor": cursor, "has_more": cursor is not None}
    return answer(200, body, headers)


def platforms(status: int, message: str, **headers: str) -> Reply:
    """A refusal in the platform's own form."""
    error = {"type": "some_error", "message": message, "request_id": "q1"}
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return answer(status, {"error": error}, named)
