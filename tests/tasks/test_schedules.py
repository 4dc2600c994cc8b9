"""A schedule's slots that were missed, on a real Prefect server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect import Flow, flow, suspend_flow_run
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Scheduled
from slots import miss_slots

from prefect_hailuo import askip_missed_slot, skip_missed_slot, slot_take
from prefect_hailuo.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow
def bought(take: str = "{date}", late_seconds: float | None = None) -> Any:
    """Stands for a flow that buys."""
    return skip_missed_slot(late_seconds) or slot_take(take)


@flow
async def abought(late_seconds: float | None = None) -> Any:
    """Its asynchronous twin."""
    return await askip_missed_slot(late_seconds) or "bought"


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    """Of Prefect's API."""
    with get_client(sync_client=True, httpx_settings={"timeout": 60.0}) as opened:
        yield opened


@pytest.fixture
def deployment(client: SyncPrefectClient) -> Iterator[UUID]:
    """A deployment that no worker runs."""
    made = client.create_deployment(client.create_flow(bought), "unserved")
    yield made
    client.delete_deployment(made)


def end_of(client: SyncPrefectClient, run: FlowRun, what: Flow[..., Any] = bought) -> State[Any]:
    """Run a flow run that is there, as a worker's process does; returns its last state."""
    now = client.read_flow_run(run.id)
    state: Any = run_flow(what, flow_run=now, parameters=now.parameters, return_type="state")
    ended: State[Any] = asyncio.run(state) if asyncio.iscoroutine(state) else state
    return ended


def names(states: list[State[Any]]) -> list[str | None]:
    """What the states are called."""
    return [each.name for each in states]


def test_of_missed_slots_the_last_is_made_up_for(
    client: SyncPrefectClient, deployment: UUID
) -> None:
    """In whatever order they come; the others are skipped, say why, and are no failures."""
    runs = miss_slots(client, deployment, 4)
    order = [runs[2], runs[0], runs[3], runs[1]]
    states = [end_of(client, each) for each in order]
    assert names(states) == ["Skipped", "Skipped", "Completed", "Skipped"]
    assert f"{runs[3].expected_start_time:%Y-%m-%d %H:%M:%S} UTC is due" in str(states[0].message)
    assert all(client.read_flow_run(each.id).state_type == "COMPLETED" for each in runs)


def test_a_slot_has_a_take_of_its_own(client: SyncPrefectClient, deployment: UUID) -> None:
    """By its scheduled time, not by the time at which it ran."""
    run = miss_slots(client, deployment, 1, {"take": "{date} {time}"})[0]
    assert end_of(client, run).result() == f"{run.expected_start_time:%Y-%m-%d %Y-%m-%dT%H:%M:%S}"


def test_a_slot_may_be_too_old_though_it_is_the_last(
    client: SyncPrefectClient, deployment: UUID
) -> None:
    """It comes an hour late."""
    old = miss_slots(client, deployment, 1, {"late_seconds": 60})
    young = miss_slots(client, deployment, 1, {"late_seconds": 7200})
    assert names([end_of(client, each) for each in (*old, *young)]) == ["Skipped", "Completed"]


def test_each_schedule_of_a_deployment_has_its_own_slots(
    client: SyncPrefectClient, deployment: UUID
) -> None:
    """Another one's later slot takes nothing away."""
    here, there = (miss_slots(client, deployment, 2, {"take": take}) for take in ("a", "b"))
    states = [end_of(client, each) for each in (*here, *there)]
    assert names(states) == ["Skipped", "Completed"] * 2


def test_a_skipped_slot_can_be_retried(client: SyncPrefectClient, deployment: UUID) -> None:
    """As by the button in the UI: then somebody wants it."""
    run = miss_slots(client, deployment, 2)[0]
    first = end_of(client, run)
    client.set_flow_run_state(run.id, Scheduled(), force=True)
    assert names([first, end_of(client, run)]) == ["Skipped", "Completed"]


def test_a_run_that_was_suspended_is_not_skipped(client: SyncPrefectClient) -> None:
    """It has bought, and comes to collect, however late it is by then."""
    limits = [None, 1e-6]

    @flow
    def patient() -> Any:
        if skipped := skip_missed_slot(limits.pop(0)):
            return skipped
        suspend_flow_run(key="bought")
        return "collected"

    made = client.create_deployment(client.create_flow(patient), "unserved")
    run = miss_slots(client, made, 1)[0]
    with pytest.raises(Pause):
        end_of(client, run, patient)
    client.resume_flow_run(run.id)
    assert end_of(client, run, patient).result() == "collected"
    client.delete_deployment(made)


def test_what_somebody_starts_is_not_skipped(client: SyncPrefectClient, deployment: UUID) -> None:
    """However late it comes; nor is a call without a deployment."""
    miss_slots(client, deployment, 1)
    run = client.create_flow_run_from_deployment(deployment, parameters={"late_seconds": 1e-6})
    assert end_of(client, run).name == "Completed"
    assert bought("x", late_seconds=1e-6) == "x"


def test_an_asynchronous_flow_skips_too(client: SyncPrefectClient) -> None:
    """By the twin, which leaves the flow's loop alone meanwhile."""
    made = client.create_deployment(client.create_flow(abought), "unserved")
    runs = miss_slots(client, made, 2)
    assert names([end_of(client, each, abought) for each in runs]) == ["Skipped", "Completed"]
    client.delete_deployment(made)


def test_a_limit_is_a_positive_number() -> None:
    """Anything else is a mistake."""
    with pytest.raises(ConfigurationError, match="positive"):
        skip_missed_slot(0)
