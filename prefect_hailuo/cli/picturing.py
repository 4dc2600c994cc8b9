"""An attempt, in words and as a document."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import BaseModel

from prefect_hailuo.cli.printing import iso
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.standing import is_parked, was_cancelled

RUN_CHARACTERS = 8

TIMES = {field.name for field in fields(Attempt) if field.name.endswith("_at")} | {"lease_until"}


def fate_words(one: Attempt, cancelled_by: tuple[str, ...] = ()) -> list[str]:
    """How an attempt stands, a few words a line.

    Args:
        one: The attempt.
        cancelled_by: The flow runs that cancelled it.
    """
    words = [str(one.fate)]
    if one.billed is not None and one.fate is not Fate.STORED:
        words.append(f"billed {one.billed}")
    words += [
        word
        for word, holds in (
            ("parked", is_parked(one)),
            ("duplicate", one.duplicate),
            ("adopted", one.adopted),
        )
        if holds
    ]
    if was_cancelled(one) and cancelled_by:
        words += [f"cancelled by {run[:RUN_CHARACTERS]}" for run in cancelled_by]
    elif one.cancel_answer is not None:
        words.append(f"cancel: {one.cancel_answer}")
    return words


def as_document(one: Attempt, cancelled_by: tuple[str, ...] = ()) -> dict[str, Any]:
    """All of an attempt, for programs: times in ISO 8601, UTC; dollars as text, exact.

    Args:
        one: The attempt.
        cancelled_by: The flow runs that cancelled it.
    """
    document = {field.name: _field(one, field.name) for field in fields(one)}
    return {
        **document,
        "parked": is_parked(one),
        "cancelled_by": list(cancelled_by) if was_cancelled(one) else [],
        "rerun": one.rerun.name.lower(),
    }


def _field(one: Attempt, name: str) -> Any:
    value = getattr(one, name)
    if name in TIMES:
        return iso(value) if value else None
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
