"""How long an endpoint's requests took, as the ledger recorded it."""

from __future__ import annotations

from sqlalchemy import select

from prefect_hailuo.fal.messages import Completed
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.tables import attempt

LATEST = 50
"""How many are asked for: more would tell of a time when fal was slower, or quicker."""


async def latest_durations(database: Database, endpoint: str) -> list[float]:
    """How long fal said that the latest stored requests of an endpoint ran, the latest last.

    Args:
        database: The ledger's.
        endpoint: fal's endpoint id.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    asked = (
        select(attempt.c.completed)
        .where(attempt.c.realm == "fal", attempt.c.fate == Fate.STORED)
        .where(attempt.c.endpoint == endpoint)
        .order_by(attempt.c.submitted_at.desc())
        .limit(LATEST)
    )
    async with database.reading() as connection:
        found = (await connection.execute(asked)).scalars().all()
    said = (Completed.model_validate(each or {}).inference_seconds for each in reversed(found))
    return [seconds for seconds in said if seconds and seconds > 0]
