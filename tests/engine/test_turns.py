"""A purchase that cannot be begun is tried again, at rest and within its time; and told truly."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from databases import run_sql
from roads import Hundredfold, generate, order_of

from prefect_hailuo.emulator import FalEmulator, delay, expire_file
from prefect_hailuo.engine import acquire
from prefect_hailuo.engine.events import LookingBack, Submitted
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.road import bring
from prefect_hailuo.engine.session import Session
from prefect_hailuo.errors import Billed, GenerationTimeoutError
from prefect_hailuo.ledger.attempt import Run
from prefect_hailuo.ledger.claims import Claims
from prefect_hailuo.runs.execution import generating
from prefect_hailuo.storage.download import MOST_ATTEMPTS


def test_what_can_never_be_sent_is_given_up_in_time(
    tmp_path: Path, each_ledger: str, tiny: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger refuses each time at the last moment: a few tries, no POST, then an error."""
    tries = 0

    async def refuse(*_: object, **__: object) -> bool:
        nonlocal tries
        tries += 1
        return False

    monkeypatch.setattr(Claims, "begin_sending", refuse)
    order = order_of(tiny, tmp_path, timeout_seconds=2)
    began = time.monotonic()
    with pytest.raises(GenerationTimeoutError, match="could not be sent in 2 s") as caught:
        process_loop().run(generating(order).job)
    assert caught.value.billed is Billed.NO
    assert time.monotonic() - began < 10
    assert tries <= 10
    assert tiny.requests["submit"] == 0


def test_a_call_whose_wait_another_run_ended_buys(
    tmp_path: Path, each_ledger: str, tiny: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its video is lost, an earlier run was cancelled, and the stored video ended its own wait."""
    monkeypatch.setattr("prefect_hailuo.storage.download.KEPT_SECONDS", 0.0)  # fal's time is over
    order = order_of(tiny, tmp_path, on_lost="resubmit", timeout_seconds=1800)
    order = replace(order, run=Run("buyer"))
    earlier = replace(order, run=Run("earlier"))

    async def job(connections: Connections, emit: Emit) -> None:
        session = Session(order.access, order.ledger, connections, emit, Hundredfold())
        video = await bring(earlier, session)
        await session.ledger.claims.claim(earlier.purchase("still waiting"))
        await session.ledger.waiters.withdraw(["earlier"])
        assert video.path
        video.path.unlink()
        tiny.faults.add(expire_file(count=MOST_ATTEMPTS))
        again = await bring(order, session)
        assert again.request_id != video.request_id

    process_loop().run(job)
    assert tiny.charged == 2


def test_a_ticket_is_in_the_ledger_before_it_is_told(
    tmp_path: Path, each_ledger: str, tiny: FalEmulator
) -> None:
    """Whoever hears of it, and looks it up at once, finds it."""
    found: list[object] = []

    def told(event: object) -> None:
        if isinstance(event, Submitted):
            rows = run_sql(each_ledger, "SELECT request_id FROM hailuo_attempt", realm="emulator")
            found.append(rows == [{"request_id": event.ticket.request_id}])

    order = order_of(tiny, tmp_path)

    async def job(connections: Connections, emit: Emit) -> None:
        await bring(order, Session(order.access, order.ledger, connections, told))

    process_loop().run(job)
    assert found == [True]


def test_a_look_back_that_takes_long_is_told(
    tmp_path: Path, fal: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first purchase of a new ledger: whose history is read, and for how long."""
    monkeypatch.setattr(acquire, "SILENT_SECONDS", 0.1)
    fal.faults.add(delay("history", 1.0))
    told: list[object] = []
    video = generate(fal, tmp_path, handle=told.append)
    assert video.is_there()
    [looking] = [each for each in told if isinstance(each, LookingBack)]
    assert looking.most_seconds > 0
    assert told.index(looking) == 0
