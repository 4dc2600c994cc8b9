"""How an attempt stands, in the eyes of whoever comes to it now."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_hailuo.errors import Billed
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.fates import Fate

DECIDABLE = (Fate.SUBMITTED, Fate.SUCCEEDED, Fate.CANCELLED, Fate.AMBIGUOUS)
"""Fates in which an attempt can be parked; once it has ended, its parking is history."""

PARKED_ERROR = "ParkedError"


@dataclass(frozen=True)
class Standing:
    """What a call that wants a key now would find.

    Args:
        latest: The attempt that counts; None: it was never asked for.
        consented: Whether that one may be replaced by one more purchase.
        alive: Whether its owner counts as alive.
    """

    latest: Attempt | None
    consented: bool
    alive: bool


def is_parked(one: Attempt) -> bool:
    """Whether an attempt waits for a person's decision."""
    if one.error is not None and one.error["kind"] == PARKED_ERROR:
        return one.fate is Fate.FAILED
    return one.parked_at is not None and one.fate in DECIDABLE and one.billed is not Billed.NO


def was_cancelled(one: Attempt) -> bool:
    """Whether fal was asked to cancel an attempt, or it was cancelled all the same."""
    return one.fate is Fate.CANCELLED or one.cancel_answer is not None
