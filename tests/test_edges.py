"""Odd cases, each of which once lost or doubled a purchase, or told a secret."""

from __future__ import annotations

import pytest
from databases import run_sql
from ledger_ground import ledger_at, submitted, wish
from raw_server import BODY, ENDPOINT, RawServer, Reply, answer

from prefect_hailuo.errors import SubmitUnknownError
from prefect_hailuo.fal import purchase
from prefect_hailuo.fal.client import AsyncFalClient

MANY_CANCELLED = """
INSERT INTO hailuo_waiter (id, key, realm, lease_until, started_at, cancelled_at)
SELECT 'i' || g, 'k' || g, 'fal', 0, 0, 1 FROM generate_series(1, 33000) g
"""

CANCELLED_FOX = """
INSERT INTO hailuo_waiter (id, key, realm, lease_until, started_at, cancelled_at)
VALUES ('fox', 'fox', 'fal', 0, 0, 1)
"""


async def test_any_number_of_calls_may_have_been_cancelled(postgresql_url: str) -> None:
    """Of 33,000 cancelled calls, the one whose request is still at fal is found."""
    async with ledger_at(postgresql_url) as ledger:
        await submitted(ledger, wish())
        run_sql(postgresql_url, "DELETE FROM hailuo_waiter", CANCELLED_FOX, MANY_CANCELLED)
        assert [one.key for one in await ledger.waiters.unwanted("fal")] == ["fox"]


async def test_the_gate_is_passed_once_with_every_post() -> None:
    """httpcore says when a first byte is about to leave, by the name that is waited for."""
    passed: list[int] = []
    with RawServer(answer(200, {"request_id": "r1"})) as server:

        async def count() -> None:
            passed.append(len(server.requests))

        async with AsyncFalClient(server.access()) as client:
            for _ in range(3):
                await client.submit(ENDPOINT, BODY, before_sending=count)
    assert passed == [0, 1, 2]


@pytest.mark.parametrize("reply", [answer(200, {"request_id": "r1"}), Reply()])
async def test_an_httpcore_that_does_not_stop_at_the_gate_is_not_trusted(
    reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent without a word in the ledger is of unknown fate, answered or not."""
    monkeypatch.setattr(purchase, "FIRST_BYTE", "what another release calls it")
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(SubmitUnknownError):
                await client.submit(ENDPOINT, BODY)
    assert server.methods == ["POST"]
