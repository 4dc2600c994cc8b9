"""How attempts end otherwise than with a video, and what that says of the money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import Billed, HailuoError, RequestCancelledError
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.recorded import describe
from prefect_hailuo.ledger.statements import IS_THIS, is_one_of, lock_keys, this
from prefect_hailuo.ledger.tables import attempt, database_now

BASES = {Billed.NO: "unbilled", Billed.YES: "estimate", Billed.UNKNOWN: "unknown"}
"""What a cost is known by, where nothing but the end is known."""


@dataclass(frozen=True)
class Ended:
    """An attempt, and the error that it ended with."""

    one: Attempt
    error: HailuoError

    def row(self) -> dict[str, Any]:
        """The end, as parameters."""
        cancelled = isinstance(self.error, RequestCancelledError)
        return {
            **this(self.one),
            "new_fate": Fate.CANCELLED if cancelled else Fate.FAILED,
            "new_billed": self.error.billed,
            "new_error": describe(self.error),
            "new_basis": BASES[self.error.billed],
        }


async def end_all(
    connection: AsyncConnection,
    those: Sequence[Ended],
    from_fates: Sequence[Fate],
    *held: ColumnElement[bool],
) -> bool:
    """Write down some attempts' ends; whether the only one still was as the conditions say."""
    await lock_keys(connection, {each.one.key for each in those})
    basis = bindparam("new_basis", type_=attempt.c.cost_basis.type)
    ending = update(attempt).where(IS_THIS, is_one_of(attempt.c.fate, from_fates), *held)
    changed = await connection.execute(
        ending.values(
            fate=bindparam("new_fate"),
            billed=bindparam("new_billed"),
            error=bindparam("new_error"),
            ended_at=database_now(),
            cost_usd=case((basis == "unbilled", 0), (basis == "estimate", attempt.c.estimated_usd)),
            cost_basis=basis,
            parked_at=None,
            parked_because=None,
        ),
        [each.row() for each in those],
    )
    return changed.rowcount == 1
