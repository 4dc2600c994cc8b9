"""One odd answer is no end: what fal has called completed is asked for again, and not given up."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from roads import FOX, generate, order_of

from prefect_hailuo.emulator import FalEmulator, Fault, fail_inside, refuse
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.road import fetch
from prefect_hailuo.engine.session import Session
from prefect_hailuo.errors import Billed, FalError, FalFaultError
from prefect_hailuo.ledger.attempt import Attempt, Fate
from prefect_hailuo.runs.execution import acquiring

TYPED = {"X-Fal-Error-Type": "runner_server_error"}

ODD = [
    *(refuse("result", status) for status in (302, 400, 408, 409, 425)),
    refuse("result", 500, headers=TYPED),
]


def attempt_of(emulator: FalEmulator, place: Path) -> Attempt:
    """The attempt of the fox, as the ledger has it."""
    order = order_of(emulator, place)

    async def job(connections: Connections, emit: Emit) -> Attempt:
        found = await connections.ledgers.at(order.ledger).claims.latest(order.key)
        assert found is not None
        return found

    return process_loop().run(job)


@pytest.mark.parametrize("odd", ODD, ids=lambda fault: str(fault.what.status))
def test_the_history_knows_better(tmp_path: Path, tiny: FalEmulator, odd: Fault) -> None:
    """By the request history it has succeeded, and its output is there."""
    tiny.faults.add(odd)
    assert generate(tiny, tmp_path, FOX).is_there()
    assert tiny.charged == 1


@pytest.mark.parametrize("odd", ODD, ids=lambda fault: str(fault.what.status))
def test_a_later_call_asks_again(tmp_path: Path, tiny: FalEmulator, odd: Fault) -> None:
    """Without a word of the history it is an error that settles nothing."""
    tiny.faults.add(odd)
    tiny.history.omits_payloads = True
    with pytest.raises(FalError) as caught:
        generate(tiny, tmp_path, FOX)
    assert caught.value.billed is Billed.UNKNOWN
    assert attempt_of(tiny, tmp_path).fate is Fate.SUBMITTED
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
