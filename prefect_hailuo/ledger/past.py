"""A request of fal's history, and what the ledger makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.errors import (
    Billed,
    FalError,
    FalFaultError,
    InputRefusedError,
    RequestCancelledError,
)
from prefect_hailuo.fal.platform import PastRequest
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.recorded import describe

CANCELLED_STATUS = 499

RESULT, SUCCESS, UNDER_WAY, FAILED = range(4)
"""What a request is worth, the best first: its result is there; it succeeded; it goes on; none."""


@dataclass(frozen=True)
class Past:
    """A request of the history, with what it asked for.

    Args:
        request: The request.
        input: Its input, with the defaults filled in.
    """

    request: PastRequest
    input: VideoInput

    @property
    def rank(self) -> int:
        """How much it is worth, 0 the most."""
        status = self.request.status_code or 0
        if status == 200:
            return RESULT if self.request.output else SUCCESS
        return FAILED if status >= 400 else UNDER_WAY


def became(past: Past) -> dict[str, Any]:
    """What a row says of how a request ended."""
    ended_at = past.request.ended_at
    ended = {"ended_at": ended_at.timestamp() if ended_at else None}
    output = past.request.output
    if output is not None and past.rank == RESULT:
        return {
            "fate": Fate.SUCCEEDED,
            "billed": Billed.YES,
            "output": output.model_dump(mode="json"),
            "cost_usd": past.input.price_usd,
            "cost_basis": "estimate",
        }
    if past.rank < FAILED:
        return {"fate": Fate.SUBMITTED}
    error = _failure_of(past.request)
    cancelled = isinstance(error, RequestCancelledError)
    unbilled = error.billed is Billed.NO
    return {
        **ended,
        "fate": Fate.CANCELLED if cancelled else Fate.FAILED,
        "billed": error.billed,
        "error": describe(error),
        "cost_usd": Decimal(0) if unbilled else None,
        "cost_basis": "unbilled" if unbilled else "unknown",
    }


def _failure_of(request: PastRequest) -> FalError:
    status = request.status_code or 0
    message = f"By fal's request history, it ended with HTTP {status}."
    if status == CANCELLED_STATUS:
        queued = request.started_at is None  # and time in the queue is never charged
        return RequestCancelledError(message, billed=Billed.NO if queued else Billed.UNKNOWN)
    if status >= 500:
        return FalFaultError(message, billed=Billed.NO)
    return InputRefusedError(message)
