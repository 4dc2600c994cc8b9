"""What the tests of schedules share: slots that were missed, as by a worker that was down."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort

DAY = timedelta(days=1)


def miss_slots(
    client: SyncPrefectClient,
    deployment: UUID,
    number: int,
    parameters: Mapping[str, Any] | None = None,
) -> list[FlowRun]:
    """Give a deployment a daily schedule, and the runs of days that have passed, an hour late now.

    Returns:
        The runs of that schedule that are due, in order.
    """
    now = datetime.now(timezone.utc)
    daily = IntervalSchedule(interval=DAY, anchor_date=now - number * DAY - timedelta(hours=1))
    made = DeploymentScheduleCreate(schedule=daily, active=True, parameters=dict(parameters or {}))
    schedules = _post(client, f"deployments/{deployment}/schedules", [made.model_dump(mode="json")])
    then = (now - number * DAY).isoformat()
    past = {"start_time": then, "end_time": now.isoformat(), "min_runs": number}
    _post(client, f"deployments/{deployment}/schedule", past)
    mine = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    # Without a limit and an order, newer releases of FastAPI let the server refuse the question.
    latest = FlowRunSort.EXPECTED_START_TIME_DESC
    runs = client.read_flow_runs(deployment_filter=mine, sort=latest, limit=200)
    ours = [each for each in runs if each.created_by and str(each.created_by.id) == _id(schedules)]
    return sorted((each for each in ours if _planned(each) < now), key=_planned)


def _planned(run: FlowRun) -> datetime:
    assert run.expected_start_time
    return run.expected_start_time


def _id(schedules: Any) -> str:
    return str(schedules[0]["id"])


def _post(client: SyncPrefectClient, path: str, body: Any) -> Any:
    # Prefect's own HTTP client asks again where its server is busy.
    answer = client._client.post(f"/{path}", json=body)
    return answer.raise_for_status().json() if answer.content else None
