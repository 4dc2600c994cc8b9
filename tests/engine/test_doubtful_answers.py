"""One odd answer is no end: what fal has called completed is asked for again, and not given up."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from roads import FOX, Hundredfold, generate, order_of, timed

from prefect_hailuo import Video
from prefect_hailuo.emulator import FalEmulator, Fault, edit, fail_inside, refuse
from prefect_hailuo.emulator.faults import Answer, Kind
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.road import fetch
from prefect_hailuo.engine.session import Session
from prefect_hailuo.errors import Billed, FalFaultError, HailuoError
from prefect_hailuo.ledger.attempt import Attempt, Fate
from prefect_hailuo.runs.execution import acquiring

TYPED = {"X-Fal-Error-Type": "runner_server_error"}

TYPED_FAULT = refuse("result", 500, headers=TYPED)

ODD = [*(refuse("result", status) for status in (302, 400, 408, 409, 425)), TYPED_FAULT]


def attempt_of(emulator: FalEmulator, place: Path) -> Attempt:
    """The attempt of the fox, as the ledger has it."""
    order = order_of(emulator, place)

    async def job(connections: Connections, emit: Emit) -> Attempt:
        found = await connections.ledgers.at(order.ledger).claims.latest(order.key)
        assert found is not None
        return found

    return process_loop().run(job)


def patiently(emulator: FalEmulator, place: Path) -> Video:
    """The fox's video, by a caller for whom a minute is over soon."""
    order = order_of(emulator, place, FOX, timeout_seconds=60)
    return process_loop().run(timed(order, Hundredfold()))


def page(on: Kind, status: int, count: int | None = 2) -> Fault:
    """Something on the way answers of itself, with a page or with nothing."""
    body = b"" if status in (204, 304) else b"<html>Elsewhere</html>"
    return Fault(on, Answer(status, body), count=count)


PAGES = (200, 204, 302, 304, 401, 403, 404, 407, 408, 410, 422, 425, 502)


@pytest.mark.parametrize("status", PAGES)
@pytest.mark.parametrize("on", ["status", "result"])
def test_a_page_on_the_way_is_no_answer(
    tmp_path: Path, tiny: FalEmulator, on: Kind, status: int
) -> None:
    """It is asked again until fal answers: the video is paid for, and asking is free."""
    tiny.faults.add(refuse("stream", 405, count=None), page(on, status))
    assert patiently(tiny, tmp_path).is_there()
    assert tiny.charged == tiny.requests["submit"] == 1


HALF = "A fox \ud83e"

ODD_PARTS: dict[str, dict[str, Any]] = {
    "half a character": {"logs": [{"message": HALF}], "note": HALF},
    "a number that is none": {"metrics": {"inference_time": math.nan, "load": math.inf}},
    "a number too large": {"metrics": {"inference_time": 10**400}, "seed": 10**400},
}


@pytest.mark.parametrize("part", ODD_PARTS.values(), ids=list(ODD_PARTS))
@pytest.mark.parametrize("on", ["submit", "follow", "result"])
def test_an_odd_part_of_an_answer_is_no_odd_answer(
    tmp_path: Path, tiny: FalEmulator, each_ledger: str, on: str, part: dict[str, Any]
) -> None:
    """A model's log may be cut within a character: the video is had, and its row is written."""
    kinds: list[Kind] = ["status", "stream"] if on == "follow" else [on]  # type: ignore[list-item]
    tiny.faults.add(*(edit(each, lambda body: {**body, **part}, count=None) for each in kinds))
    assert generate(tiny, tmp_path, FOX, timeout_seconds=10).is_there()
    assert attempt_of(tiny, tmp_path).fate is Fate.STORED
    assert tiny.charged == tiny.requests["submit"] == 1


@pytest.mark.parametrize("odd", ODD, ids=lambda fault: str(fault.what.status))
def test_one_odd_answer_is_asked_again(tmp_path: Path, tiny: FalEmulator, odd: Fault) -> None:
    """Whether fal's or not, and with the history or without."""
    tiny.faults.add(odd)
    tiny.history.omits_payloads = odd.what != TYPED_FAULT.what
    assert generate(tiny, tmp_path, FOX).is_there()
    assert tiny.charged == 1


@pytest.mark.parametrize("odd", ODD, ids=lambda fault: str(fault.what.status))
def test_the_history_knows_better(tmp_path: Path, tiny: FalEmulator, odd: Fault) -> None:
    """The result is never to be had; by the request history it has succeeded."""
    tiny.faults.add(replace(odd, count=None))
    assert patiently(tiny, tmp_path).is_there()
    assert tiny.charged == 1


@pytest.mark.parametrize("odd", ODD, ids=lambda fault: str(fault.what.status))
def test_a_later_call_asks_again(tmp_path: Path, tiny: FalEmulator, odd: Fault) -> None:
    """Without a word of the history it is an error that settles nothing."""
    tiny.faults.add(replace(odd, count=None))
    tiny.history.omits_payloads = True
    with pytest.raises(HailuoError) as caught:
        patiently(tiny, tmp_path)
    assert (caught.value.billed, caught.value.retryable) == (Billed.UNKNOWN, True)
    assert attempt_of(tiny, tmp_path).fate is Fate.SUBMITTED
    tiny.faults.clear()
    assert generate(tiny, tmp_path, FOX).is_there()
    assert tiny.charged == 1


def test_a_failure_that_fal_calls_one_is_final(tmp_path: Path, tiny: FalEmulator) -> None:
    """Its status and its result say the same; it cost nothing, so a rerun buys."""
    tiny.faults.add(fail_inside())
    with pytest.raises(FalFaultError):
        generate(tiny, tmp_path, FOX)
    assert attempt_of(tiny, tmp_path).fate is Fate.FAILED
    assert generate(tiny, tmp_path, FOX).is_there()
    assert tiny.charged == 1


def test_a_result_removes_the_consent_to_replace_it(tmp_path: Path, tiny: FalEmulator) -> None:
    """Whoever allowed another purchase, for none was to be had, did not allow it beside this."""
    order = order_of(tiny, tmp_path)
    process_loop().run(acquiring(order).job)

    async def consent(connections: Connections, emit: Emit) -> bool:
        return await connections.ledgers.at(order.ledger).claims.consent(order.key, 1)

    async def succeed(connections: Connections, emit: Emit) -> None:
        one = await connections.ledgers.at(order.ledger).claims.latest(order.key)
        assert one is not None
        await fetch(one.open_ticket(), Session(order.access, order.ledger, connections))

    assert process_loop().run(consent)
    while tiny.stats()["completed"] == 0:
        time.sleep(0.01)
    process_loop().run(succeed)
    assert generate(tiny, tmp_path, FOX).is_there()
    assert tiny.charged == 1
