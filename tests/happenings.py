"""What Prefect's server has been told in events."""

from __future__ import annotations

import time
from typing import Any

import httpx
from prefect.settings import get_current_settings

PATIENCE_SECONDS = 60.0


def events_of(run_id: str, *names: str, prefix: str = "prefect-hailuo.") -> list[dict[str, Any]]:
    """A flow run's events, the first first, once all that are named are there.

    Prefect sends and stores them a while later.
    """
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = recent(prefix, run_id)
        if set(names) <= {each["event"] for each in found}:
            return found
        time.sleep(0.2)
    raise AssertionError(f"not all of {names} came: {[each['event'] for each in found]}")


def recent(prefix: str, resource: str = "") -> list[dict[str, Any]]:
    """The latest events whose names begin so, as far as they have to do with a resource.

    The first comes first. The server is the whole session's, and has those of other tests.
    """
    api = get_current_settings().api.url
    chosen = {"filter": {"event": {"prefix": [prefix]}, "order": "DESC"}, "limit": 50}
    answer = httpx.post(f"{api}/events/filter", json=chosen).raise_for_status()
    found: list[dict[str, Any]] = answer.json()["events"]
    return [each for each in reversed(found) if resource in str(each)]


def roles_of(event: dict[str, Any]) -> set[str]:
    """How the other resources have to do with an event."""
    return {each["prefect.resource.role"] for each in event["related"]}
