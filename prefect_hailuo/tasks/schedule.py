"""What a flow run knows of its schedule: whether its slot was missed, and what to call its take.

Prefect runs every slot that was missed, one after another, as soon as there is a worker again: a
worker that was down for a day would buy a day's videos at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any
from uuid import UUID

from anyio.to_thread import run_sync
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed

from prefect_hailuo.errors import Billed, ConfigurationError

PAGE = 200
"""As many flow runs as Prefect's API returns at once."""

JUST_AFTER = timedelta(milliseconds=1)

SKIPPED = "Skipped"
"""The name of the state of a run that was skipped."""


def skip_missed_slot(late_seconds: float | None = None) -> Any:
    """Whether this scheduled flow run comes too late, and so should buy nothing.

    Of several slots that were missed, only the last is made up for: a run is skipped where a later
    slot of its schedule is due already. A run that somebody started is never skipped, nor one that
    had begun once and is run again: what it bought is waited for. To run a skipped one all the
    same, retry it in Prefect's UI.

    Args:
        late_seconds: How many seconds after its time a run is skipped though no later slot is due;
            None: never.

    Returns:
        A state for the flow to return, Completed and named "Skipped", which says why; None where
        the flow should go on.

    Raises:
        ConfigurationError: `late_seconds` is not positive, or Prefect could not be asked; nothing
            was bought.

    Example:
        >>> from prefect import flow
        >>> from prefect_hailuo import hailuo_23_pro_text_to_video
        >>> @flow
        ... def morning_clip(prompt: str):
        ...     if skipped := skip_missed_slot():
        ...         return skipped
        ...     return hailuo_23_pro_text_to_video(prompt, take=slot_take("{date}"))
    """
    if late_seconds is not None and not late_seconds > 0:
        raise ConfigurationError(
            f"late_seconds is {late_seconds}.", cure="Pass a positive number of seconds, or None."
        )
    slot, now = _missable_slot(), datetime.now(timezone.utc)
    if slot is None:
        return None
    late = (now - slot.at).total_seconds()
    if late_seconds is not None and late > late_seconds:
        return _skipped(slot, f"it comes {late:.0f} s late; {late_seconds:g} s are allowed")
    if later := _later_slot(slot, now):
        return _skipped(slot, f"the slot of {_show(later)} is due too, and comes instead")
    return None


async def askip_missed_slot(late_seconds: float | None = None) -> Any:
    """The asynchronous twin of `skip_missed_slot`.

    Example:
        >>> from prefect import flow
        >>> @flow
        ... async def morning_clip(prompt: str):
        ...     return await askip_missed_slot() or "go on"
    """
    return await run_sync(skip_missed_slot, late_seconds)


def slot_take(take: int | str) -> int | str:
    """A take with the flow run's scheduled time filled in.

    The same prompt and take are the same video, so that a schedule with a fixed take buys one
    video, and finds it from then on. `{date}` makes another each day, `{time}` at each slot. Run
    again, a slot has the take that it had.

    Args:
        take: A number or a text; `{date}` in it becomes the scheduled date, such as 2026-11-20,
            and `{time}` the scheduled time, such as 2026-11-20T06:00:00, both in UTC.

    Example:
        >>> slot_take(2), slot_take("alternative")
        (2, 'alternative')
        >>> from prefect import flow
        >>> @flow
        ... def take_of_the_day():
        ...     return len(slot_take("{date}"))
        >>> take_of_the_day()
        10
    """
    if not isinstance(take, str):
        return take
    slot = _slot_time()
    take = take.replace("{date}", f"{slot:%Y-%m-%d}")
    return take.replace("{time}", f"{slot:%Y-%m-%dT%H:%M:%S}")


@dataclass(frozen=True)
class _Slot:
    """The moment of a schedule that a flow run was made for."""

    schedule: object
    deployment: UUID
    at: datetime


def _slot_time() -> datetime:
    run = _this_run()
    planned = run.expected_start_time if run else None
    return (planned or datetime.now(timezone.utc)).astimezone(timezone.utc)


def _this_run() -> FlowRun | None:
    context = FlowRunContext.get()
    return context.flow_run if context else None


def _missable_slot() -> _Slot | None:
    """This flow run's slot, if a schedule made it and it runs for the first time."""
    run = _this_run()
    # Prefect does not count that a run was suspended, and has begun anew.
    begun = run is not None and (run.run_count > 1 or run.empirical_policy.pause_keys)
    return _slot_of(run) if run and not begun else None


def _slot_of(run: FlowRun) -> _Slot | None:
    if not run.auto_scheduled or not run.deployment_id or not run.expected_start_time:
        return None
    # A deployment may have several schedules, each with parameters of its own.
    schedule = run.created_by.id if run.created_by else None
    return _Slot(schedule, run.deployment_id, run.expected_start_time)


def _later_slot(mine: _Slot, now: datetime) -> datetime | None:
    """The last slot of the same schedule that is due too, if there is one."""
    try:
        with get_client(sync_client=True) as client:
            slots = map(_slot_of, _due_since(client, mine, now))
            return next(
                (each.at for each in slots if each and each.schedule == mine.schedule), None
            )
    except Exception as error:  # of what kind, Prefect does not say
        raise ConfigurationError(
            f"Prefect could not be asked whether a later slot is due: {error}",
            cure="Check PREFECT_API_URL, and retry the flow run.",
            billed=Billed.NO,
        ) from error


def _due_since(client: SyncPrefectClient, mine: _Slot, now: datetime) -> Iterator[FlowRun]:
    """The runs of the same deployment that were due after a slot, the last first."""
    # Prefect's bound is inclusive.
    bounds: dict[str, Any] = {"after_": mine.at + JUST_AFTER, "before_": now}
    times = FlowRunFilterExpectedStartTime(**bounds)
    for offset in count(0, PAGE):
        page = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[mine.deployment])),
            flow_run_filter=FlowRunFilter(expected_start_time=times),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=PAGE,
            offset=offset,
        )
        yield from page
        if len(page) < PAGE:
            return


def _skipped(slot: _Slot, because: str) -> Any:
    message = f"Nothing was bought for the slot of {_show(slot.at)}: {because}."
    get_run_logger().warning("%s", message)
    return Completed(name=SKIPPED, message=message)


def _show(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
