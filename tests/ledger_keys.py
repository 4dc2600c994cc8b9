"""What the tests of the commands share: keys as they are, and an attempt that is parked."""

from __future__ import annotations

from typing import Any

import ledger_ground
from ledger_ground import latest, sending

from prefect_hailuo.errors import AbandonedError
from prefect_hailuo.ledger.attempt import Attempt, Purchase
from prefect_hailuo.ledger.ledger import Ledger

A, B, C = "a" * 64, "ab" + "0" * 62, "c" * 64
"""Three keys; the first two begin alike."""


def purchase(key: str, **terms: Any) -> Purchase:
    """A fox under a key of the usual form."""
    return ledger_ground.purchase(key, **{"waiter": f"waiter of {key[:12]}", **terms})


async def parked(ledger: Ledger, key: str, **terms: Any) -> Attempt:
    """An attempt that waits for a decision."""
    mine = await sending(ledger, purchase(key, **terms))
    await ledger.records.answer_lost(mine, AbandonedError("The answer was lost."))
    await ledger.records.parked(await latest(ledger, key), "fal's history shows nothing.")
    return await latest(ledger, key)
