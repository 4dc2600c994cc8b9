"""Cancelling a flow run that carries a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from batches import kinds, shots
from deployments import A_GENERATION, until
from file_server import smallest_video
from prefect import flow
from test_cancelling import cancel, in_a_thread, this_run

from prefect_hailuo import Ticket, VideoOutcomes, agenerate_videos, generate_videos
from prefect_hailuo.emulator import FalEmulator, ManualClock
from prefect_hailuo.engine import road
from prefect_hailuo.engine.loop import Connections, Emit, StoppedError, process_loop
from prefect_hailuo.engine.session import Session
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.ledger.attempt import Run
from prefect_hailuo.runs.orders import make_orders

pytestmark = pytest.mark.usefixtures("prefect_server")

MANY = 30

rash: dict[str, Any] = {"retries": 2, "retry_condition_fn": lambda *_: True}


@pytest.fixture
def clock() -> ManualClock:
    """Stands still until it is advanced."""
    return ManualClock()


@pytest.fixture
def still(clock: ManualClock) -> Iterator[FalEmulator]:
    """An emulator whose generations last until the test lets them end; it makes two at once."""
    with FalEmulator(clock=clock, clip=smallest_video()) as started:
        yield started


def called(runs: list[UUID], options: dict[str, Any]) -> Any:
    """A batch in a flow."""

    @flow
    def catalogue() -> Any:
        runs.append(this_run())
        return generate_videos.with_options(**rash)(shots(MANY), **options)

    return catalogue()


def submitted(runs: list[UUID], options: dict[str, Any]) -> Any:
    """A batch that is submitted in a flow."""

    @flow
    def catalogue() -> Any:
        runs.append(this_run())
        return generate_videos.with_options(**rash).submit(shots(MANY), **options).result()

    return catalogue()


def awaited(runs: list[UUID], options: dict[str, Any]) -> Any:
    """A batch in an asynchronous flow."""

    @flow
    async def catalogue() -> Any:
        runs.append(this_run())
        return await agenerate_videos.with_options(**rash)(shots(MANY), **options)

    return asyncio.run(catalogue())


@pytest.mark.parametrize("way", [called, submitted, awaited])
def test_all_that_nobody_else_wants_is_cancelled_at_fal(
    way: Any, still: FalEmulator, clock: ManualClock, tmp_path: Path
) -> None:
    """And nothing new is bought, though the task has retries; run again, all are there."""
    options: dict[str, Any] = {"credentials": still.credentials(), "storage": tmp_path}
    runs: list[UUID] = []
    result = in_a_thread(partial(way, runs, options))
    until("fal has them", lambda: len(still.submissions) == MANY)
    cancel(runs[0])
    assert isinstance(result.exception(60), StoppedError)
    assert (still.requests["cancel"], len(still.submissions)) == (MANY, MANY)
    again = in_a_thread(partial(generate_videos, shots(MANY), **options))
    until("it has ended", lambda: passes(clock) and again.done())
    assert kinds(again.result()) == ["video"] * MANY
    assert still.charged == MANY


def test_what_somebody_cancelled_at_fal_is_the_outcome_of_one(
    still: FalEmulator, clock: ManualClock, tmp_path: Path
) -> None:
    """The flow run goes on: nobody cancelled that."""
    options: dict[str, Any] = {"credentials": still.credentials(), "storage": tmp_path}

    @flow
    def catalogue() -> VideoOutcomes:
        outcomes: VideoOutcomes = generate_videos(shots(4), **options)
        return outcomes

    batch = in_a_thread(catalogue)
    until("fal has them", lambda: len(still.submissions) == 4)
    last = still.submissions[-1]
    ticket = Ticket(endpoint=last.endpoint, request_id=last.request_id, realm="emulator")
    assert still.credentials().get_client().cancel(ticket) is Cancellation.REMOVED
    until("it has ended", lambda: passes(clock) and batch.done())
    assert sorted(kinds(batch.result())) == ["RequestCancelledError", *["video"] * 3]


def test_a_run_that_was_cancelled_once_and_runs_again_buys(
    tiny: FalEmulator, tmp_path: Path
) -> None:
    """By its ledger it is cancelled, and by Prefect it runs: the batch is carried."""
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}
    [order] = make_orders(shots(1), **options)

    async def withdraw(connections: Connections, emit: Emit) -> None:
        run = Run(str(this_run()), str(this_run()))
        await road.withdraw(run, Session(order.access, order.ledger, connections))

    @flow
    def catalogue() -> VideoOutcomes:
        process_loop().run(withdraw)
        outcomes: VideoOutcomes = generate_videos(shots(5), **options)
        return outcomes

    assert kinds(catalogue()) == ["video"] * 5
    assert tiny.charged == 5


def passes(clock: ManualClock) -> bool:
    """Let fal work for a while."""
    clock.advance(A_GENERATION)
    return True
