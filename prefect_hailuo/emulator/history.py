"""The platform's request history: what an account sent to an endpoint, and what became of it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from prefect_hailuo.emulator.emulation import Emulation
from prefect_hailuo.emulator.generations import Generation, State
from prefect_hailuo.emulator.results import VIDEO_FILE_NAME, video_url

DEFAULT_SPAN = timedelta(hours=24)
"""By fal's documentation: how far back it reaches if no start is given."""


@dataclass(frozen=True)
class HistoryQuery:
    """What is asked of the history.

    Args:
        endpoint_ids: Of these endpoints.
        start: Sent at this time or later.
        end: Sent before this time; None for no limit.
        request_id: Only this one.
        status: `success`, `user_error` (4xx) or `error` (5xx); None for all.
        payloads: Whether inputs and outputs are wanted.
        limit: How many to a page.
        page: Which page, counted from 1.
    """

    endpoint_ids: frozenset[str]
    start: datetime
    end: datetime | None
    request_id: str | None = None
    status: str | None = None
    payloads: bool = False
    limit: int = 50
    page: int = 1


def history_page(query: HistoryQuery, account: str, emulation: Emulation) -> dict[str, Any]:
    """One page of the history, the last to end first, those not ended before them."""
    now = emulation.queue.settle()
    listed = _listed(account, now, emulation)
    chosen = sorted(_matching(query, listed, emulation), key=_newest_first)
    limit = min(query.limit, emulation.history.page_size or query.limit)
    first = (query.page - 1) * limit
    has_more = len(chosen) > first + limit
    return {
        "items": [_item(each, query, emulation) for each in chosen[first : first + limit]],
        "next_cursor": cursor_of(query.page + 1) if has_more else None,
        "has_more": has_more,
    }


def cursor_of(page: int) -> str:
    """fal's cursor: the number of a page, in base64.

    Example:
        >>> cursor_of(2)
        'Mg=='
    """
    return base64.b64encode(str(page).encode()).decode()


def page_of(cursor: str) -> int:
    """The page that a cursor names.

    Raises:
        ValueError: It names none.

    Example:
        >>> page_of("Mg==")
        2
    """
    try:
        return max(1, int(base64.b64decode(cursor, validate=True)))
    except binascii.Error as error:
        raise ValueError(f"not a cursor: {cursor!r}") from error


def _listed(account: str, now: float, emulation: Emulation) -> Iterator[Generation]:
    rules = emulation.history
    seen_until = now - emulation.kept_seconds(rules.lag_seconds)
    for generation in emulation.generations:
        omitted = rules.omits_queued and generation.started_at is None
        seen = generation.submitted_at <= seen_until
        if generation.account == account and seen and not omitted:
            yield generation


def _matching(
    query: HistoryQuery, listed: Iterable[Generation], emulation: Emulation
) -> Iterator[Generation]:
    ahead = timedelta(seconds=emulation.history.skew_seconds)
    start = query.start - ahead
    end = None if query.end is None else query.end - ahead
    for generation in listed:
        if (
            generation.endpoint.id in query.endpoint_ids
            and start <= generation.sent_at
            and (end is None or generation.sent_at < end)
            and query.request_id in (None, generation.request_id)
            and query.status in (None, _status(generation))
        ):
            yield generation


def _status(generation: Generation) -> str | None:
    if generation.state is not State.COMPLETED:
        return None
    if generation.outcome.is_video:
        return "success"
    return "error" if generation.outcome.status >= 500 else "user_error"


def _newest_first(generation: Generation) -> tuple[bool, float, int]:
    ended_at = generation.ended_at
    return ended_at is not None, -(ended_at or 0.0), -generation.number


def _sent_at(generation: Generation, emulation: Emulation) -> datetime:
    return generation.sent_at + timedelta(seconds=emulation.history.skew_seconds)


def _item(generation: Generation, query: HistoryQuery, emulation: Emulation) -> dict[str, Any]:
    item: dict[str, Any] = {
        "request_id": generation.request_id,
        "endpoint_id": generation.endpoint.id,
        "sent_at": _written(_sent_at(generation, emulation)),
        "started_at": _moment(generation, generation.started_at, emulation),
    }
    if generation.state is State.COMPLETED and generation.ended_at is not None:
        item["ended_at"] = _moment(generation, generation.ended_at, emulation)
        item["status_code"] = generation.outcome.status
        item["duration"] = generation.worked_seconds()
    if query.payloads and not emulation.history.omits_payloads:
        item.update(_payloads(generation, emulation))
    return item


def _moment(generation: Generation, instant: float | None, emulation: Emulation) -> str | None:
    if instant is None:
        return None
    seconds = (instant - generation.submitted_at) / emulation.clock.speed
    return _written(_sent_at(generation, emulation) + timedelta(seconds=seconds))


def _written(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def _payloads(generation: Generation, emulation: Emulation) -> dict[str, Any]:
    if generation.headers.get("x-fal-store-io") == "0":
        return {"json_input": None, "json_output": None}
    return {"json_input": generation.body, "json_output": _output(generation, emulation)}


def _output(generation: Generation, emulation: Emulation) -> Any:
    if generation.state is not State.COMPLETED:
        return None
    if not generation.outcome.is_video:
        return generation.outcome.body
    # Without the size: to know it, up to a hundred videos would have to be drawn.
    url = video_url(generation, emulation.url)
    return {"video": {"url": url, "content_type": "video/mp4", "file_name": VIDEO_FILE_NAME}}
