"""Attempts that came to no end, for a sweep to go through."""

from __future__ import annotations

from sqlalchemy import select, update

from prefect_hailuo.errors import Billed
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.attempts import Attempt, attempt_of
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.rows import as_void
from prefect_hailuo.ledger.statements import lock_keys
from prefect_hailuo.ledger.tables import attempt, database_now

UNFINISHED = (Fate.SUBMITTED, Fate.SUCCEEDED, Fate.AMBIGUOUS)


class Unfinished:
    """Finds what was begun and not ended.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lapse(self, realm: Realm) -> list[Attempt]:
        """End the leases of dead owners, as the next claim would: it buys nothing.

        Returns:
            The intents that are void now, whose money is released; what was on its way is
            ambiguous now.
        """
        dead = (attempt.c.realm == realm) & (attempt.c.lease_until <= database_now())
        open_ended = attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING])
        async with self._database.writing() as connection:
            found = await connection.execute(select(attempt.c.key).where(dead, open_ended))
            # As a claim would: who changes many attempts locks their keys first, in their order.
            await lock_keys(connection, set(found.scalars()))
            voided = await connection.execute(
                update(attempt)
                .where(dead, attempt.c.fate == Fate.INTENDED)
                .values(as_void())
                .returning(attempt)
            )
            await connection.execute(
                update(attempt)
                .where(dead, attempt.c.fate == Fate.SENDING)
                .values(fate=Fate.AMBIGUOUS)
            )
            return [attempt_of(row) for row in voided.mappings()]

    async def attempts(self, realm: Realm) -> list[Attempt]:
        """The attempts that are at fal, done and not stored, or of unknown fate or cost.

        The oldest come first.
        """
        uncosted = (attempt.c.fate == Fate.CANCELLED) & (attempt.c.billed == Billed.UNKNOWN)
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(attempt)
                .where(attempt.c.realm == realm, attempt.c.fate.in_(UNFINISHED) | uncosted)
                .order_by(attempt.c.intended_at)
            )
            return [attempt_of(row) for row in found.mappings()]
