"""Whatever interrupts the road, nothing paid for is out of reach, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import anyio
import pytest
from databases import run_sql
from file_server import smallest_video
from prefect.blocks.core import Block
from pydantic import PrivateAttr
from roads import Hundredfold, generate, names, order_of, timed

from prefect_hailuo import Ticket
from prefect_hailuo.emulator import (
    FalEmulator,
    ManualClock,
    delay,
    drop_after_accepting,
    expire_file,
)
from prefect_hailuo.engine import acquire as acquiring
from prefect_hailuo.engine.events import Attached, Submitted
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.road import acquire
from prefect_hailuo.engine.session import Session
from prefect_hailuo.errors import Billed, GenerationTimeoutError, ParkedError, StorageError
from prefect_hailuo.runs.execution import fetching, generating, storing, waiting
from prefect_hailuo.storage.download import MOST_ATTEMPTS
from prefect_hailuo.storage.place import Directory

FORGET_THE_RESULT = """
    UPDATE hailuo_attempt
    SET fate = 'submitted', output = NULL, completed = NULL, billed = NULL, ended_at = NULL
"""
"""What a ledger says that was restored from a copy of some minutes before."""


def test_a_deadline_that_passes_loses_nothing(tmp_path: Path) -> None:
    """The error carries the ticket, with which the video is collected when it is there."""
    clock, place = ManualClock(), tmp_path / "videos"
    with FalEmulator(clock=clock, clip=smallest_video(), durations=100) as emulator:
        access = emulator.credentials().access()
        with pytest.raises(GenerationTimeoutError) as caught:
            generate(emulator, place, timeout_seconds=0.3)
        assert caught.value.ticket
        ticket = Ticket.model_validate_json(caught.value.ticket.model_dump_json())
        assert (caught.value.billed, names(place)) == (Billed.UNKNOWN, [])
        clock.advance(100)
        completed = process_loop().run(waiting(ticket, access, 10).job)
        output = process_loop().run(fetching(ticket, access, completed).job)
        video = process_loop().run(storing(ticket, output, Directory(place), completed).job)
        assert generate(emulator, place) == video
        assert emulator.charged == 1


def test_after_a_deadline_a_rerun_goes_on_with_the_same_request(tmp_path: Path) -> None:
    """Nobody has to keep the ticket: the ledger has."""
    clock, events = ManualClock(), list[object]()
    with FalEmulator(clock=clock, clip=smallest_video(), durations=100) as emulator:
        with pytest.raises(GenerationTimeoutError) as caught:
            generate(emulator, tmp_path, timeout_seconds=0.3)
        clock.advance(100)
        video = generate(emulator, tmp_path, handle=events.append)
        first = events[0]
        assert caught.value.ticket and isinstance(first, Attached)
        assert video.request_id == first.ticket.request_id == caught.value.ticket.request_id
        assert emulator.charged == 1


async def test_who_is_cancelled_before_the_purchase_buys_nothing(
    tmp_path: Path, tiny: FalEmulator
) -> None:
    """The purchase cannot be interrupted, so it does not even begin."""
    order = order_of(tiny, tmp_path)

    async def cancelled(connections: Connections, emit: Emit) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await acquire(order, Session(order.access, order.ledger, connections))

    await process_loop().arun(cancelled)
    assert tiny.requests["submit"] == 0


async def test_who_is_cancelled_during_the_purchase_hears_of_its_ticket(
    tmp_path: Path, tiny: FalEmulator
) -> None:
    """The POST is finished and its ticket told before the cancellation surfaces."""
    tiny.faults.add(delay("submit", 0.3))
    order, tickets = order_of(tiny, tmp_path / "videos"), []

    async def note(event: object) -> None:
        if isinstance(event, Submitted):
            tickets.append(event.ticket.request_id)

    task = asyncio.create_task(process_loop().arun(generating(order).job, note))
    await asyncio.to_thread(wait_for_submission, tiny)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tickets == [tiny.submissions[0].request_id]
    assert names(tmp_path / "videos") == []


def wait_for_submission(emulator: FalEmulator) -> None:
    """Wait until a request has come in."""
    while not emulator.submissions:
        time.sleep(0.01)


def test_consent_to_a_second_purchase_is_no_standing_licence(
    tmp_path: Path, fal: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every answer is lost and the history is silent, one more is bought, then it ends."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")
    monkeypatch.setattr(acquiring, "usual_seconds", lambda job: 0.0)
    fal.history.lag_seconds = 3600
    fal.faults.add(drop_after_accepting("submit", count=None))
    with pytest.raises(ParkedError, match="Attempt 2 of"):
        generate(fal, tmp_path, on_ambiguous="resubmit")
    assert fal.requests["submit"] == 2


class FullAtFirst(Block):
    """A block that has no room for the first video."""

    _files: dict[str, bytes] = PrivateAttr(default_factory=dict)
    _full: bool = PrivateAttr(default=True)

    def read_path(self, path: str) -> bytes:
        return self._files[path]

    def write_path(self, path: str, content: bytes) -> None:
        if self._full and path.endswith(".mp4"):
            self._full = False
            raise OSError("No space left on device")
        self._files[path] = content


def test_a_video_that_could_not_be_stored_is_not_bought_again(tiny: FalEmulator) -> None:
    """A rerun stores it; the error says so, and that it was paid for."""
    place = FullAtFirst()
    with pytest.raises(StorageError, match="then run it again") as caught:
        generate(tiny, place)
    assert caught.value.ticket and caught.value.billed is Billed.YES
    assert generate(tiny, place).request_id == caught.value.ticket.request_id
    assert tiny.charged == 1


def test_a_ledger_that_is_older_than_the_place_loses_nothing(
    tmp_path: Path, fal: FalEmulator, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It calls new what is stored already; where fal no longer serves that, the place has it."""
    monkeypatch.setattr("prefect_hailuo.storage.download.KEPT_SECONDS", 0.0)  # fal's time is over
    video = generate(fal, tmp_path)
    run_sql(ledger_url, "DELETE FROM hailuo_file")
    run_sql(ledger_url, FORGET_THE_RESULT)
    fal.faults.add(expire_file(count=None))
    assert process_loop().run(timed(order_of(fal, tmp_path), Hundredfold())) == video
    assert generate(fal, tmp_path) == video
    assert (fal.charged, fal.requests["media"]) == (1, 1 + MOST_ATTEMPTS)


def test_what_another_waiter_stored_is_found_where_fal_serves_it_no_longer(
    tmp_path: Path, fal: FalEmulator, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another place's copy does, if the ledger knows it, though the request looked new."""
    monkeypatch.setattr("prefect_hailuo.storage.download.KEPT_SECONDS", 0.0)  # fal's time is over
    video = generate(fal, tmp_path / "theirs")
    run_sql(ledger_url, FORGET_THE_RESULT)
    fal.faults.add(expire_file(count=None))
    copy = process_loop().run(timed(order_of(fal, tmp_path / "ours"), Hundredfold()))
    assert (copy.sha256, copy.request_id) == (video.sha256, video.request_id)
    assert copy.is_there() and fal.charged == 1
