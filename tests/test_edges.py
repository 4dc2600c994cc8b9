"""Odd cases, each of which once lost or doubled a purchase, or told a secret."""

from __future__ import annotations

from databases import run_sql
from ledger_ground import ledger_at, submitted, wish

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
