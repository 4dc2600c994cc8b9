"""A request that answered one attempt's POST, and was given to an equal one of another take."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from roads import FOX, order_of

from prefect_hailuo import Ticket
from prefect_hailuo.emulator import FalEmulator, delay
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.order import Order
from prefect_hailuo.errors import ParkedError
from prefect_hailuo.ledger.attempt import Attempt, Buy
from prefect_hailuo.runs.execution import generating


def give_away(order: Order, request_id: str) -> Attempt | None:
    """Give a request to an attempt of an order that misses one."""

    async def job(connections: Connections, emit: Emit) -> Attempt | None:
        ledger = connections.ledgers.at(order.ledger)
        decision = await ledger.claims.claim(order.purchase("somebody"))
        assert isinstance(decision, Buy)
        ticket = Ticket(endpoint=order.request.endpoint, request_id=request_id, realm="emulator")
        return await ledger.records.adopted(decision.attempt, ticket)

    return process_loop().run(job)


def test_nobody_goes_on_with_the_request_of_another_take(
    tmp_path: Path, tiny: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner comes late, and looks for a request of its own: there is none, so it is parked."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")
    tiny.faults.add(delay("submit", 1))
    errors: list[BaseException] = []

    def generate_late() -> None:
        try:
            process_loop().run(generating(order_of(tiny, tmp_path, FOX, take="late")).job)
        except ParkedError as error:
            errors.append(error)

    thread = threading.Thread(target=generate_late)
    thread.start()
    while not tiny.submissions:
        time.sleep(0.01)
    other = give_away(order_of(tiny, tmp_path, FOX, take="other"), tiny.submissions[0].request_id)
    thread.join(60)
    assert other is not None
    assert (len(errors), len(tiny.submissions)) == (1, 1)
