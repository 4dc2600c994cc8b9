"""The times that fal's answers name, by its own clock."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import httpx


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that fal asks to wait, from `Retry-After`: a number or an HTTP date."""
    given = response.headers.get("Retry-After")
    if given is None:
        return None
    try:
        return max(0.0, float(given))
    except ValueError:
        return _seconds_until(given)


def answered_at(response: httpx.Response) -> datetime:
    """When fal answered, by its own clock; by this machine's, if it does not say."""
    return _moment(response.headers.get("Date", "")) or datetime.now(timezone.utc)


def _seconds_until(date: str) -> float | None:
    moment = _moment(date)
    if moment is None:
        return None
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def _moment(date: str) -> datetime | None:
    try:
        return in_utc(parsedate_to_datetime(date))
    except ValueError:
        return None


def in_utc(moment: datetime) -> datetime:
    """A moment that fal wrote, in UTC, which it also means where it names no zone."""
    try:
        aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return aware.astimezone(timezone.utc)
    except OverflowError as error:  # at the end of all time
        raise ValueError(str(error)) from error
