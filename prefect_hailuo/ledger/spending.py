"""What was spent, and on what: dollars by day, model or scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import select

from prefect_hailuo.errors import Billed
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.attempts import Attempt, attempt_of, moment
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.standing import is_parked
from prefect_hailuo.ledger.tables import attempt

By = Literal["day", "model", "scope"]

Purse = Literal["settled", "reserved", "parked", "unknown"]
"""Where an attempt's money is: spent for certain; set aside for what is under way; set aside for
what waits for a person; or spent for all that is known."""

VIDEOS = (Fate.SUCCEEDED, Fate.STORED)

# Left out: what may be large, and says nothing of money.
LARGE = ("body", "labels", "ticket", "completed", "output")


@dataclass
class Spent:
    """What one day, model or scope took, in US dollars, by the catalogue's prices.

    Args:
        group: Which day (UTC), endpoint or scope.
        settled_usd: Spent for certain.
        reserved_usd: Set aside for what is under way.
        parked_usd: Set aside for what waits for a person's decision.
        unknown_usd: Of what ended, and nobody knows whether fal charged for it.
        videos: How many videos there are of it.
        unpriced: How many attempts are not in the figures, for their price is not known.
    """

    group: str
    settled_usd: Decimal = field(default=Decimal(0))
    reserved_usd: Decimal = field(default=Decimal(0))
    parked_usd: Decimal = field(default=Decimal(0))
    unknown_usd: Decimal = field(default=Decimal(0))
    videos: int = 0
    unpriced: int = 0

    @property
    def total_usd(self) -> Decimal:
        """What it takes of a budget: all of it."""
        return self.settled_usd + self.reserved_usd + self.parked_usd + self.unknown_usd

    def add(self, one: Attempt) -> None:
        """Count an attempt."""
        name = f"{purse_of(one)}_usd"
        setattr(self, name, getattr(self, name) + one.counted_usd)
        self.videos += one.fate in VIDEOS
        self.unpriced += one.cost_usd is None and one.estimated_usd is None


class Spending:
    """Adds up what was spent.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spent(
        self,
        realm: Realm,
        by: By = "scope",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Spent]:
        """What was spent, by the time of the intents, as budgets count it.

        Args:
            realm: In this realm.
            by: What to add up by.
            since: From this time on.
            until: Before this time.
        """
        columns = [column for column in attempt.c if column.name not in LARGE]
        question = select(*columns).where(attempt.c.realm == realm)
        if since is not None:
            question = question.where(attempt.c.intended_at >= since.timestamp())
        if until is not None:
            question = question.where(attempt.c.intended_at < until.timestamp())
        groups: dict[str, Spent] = {}
        async with self._database.reading() as connection:
            for row in (await connection.execute(question)).mappings():
                one = _small_attempt(row)
                group = _group_of(one, by)
                groups.setdefault(group, Spent(group)).add(one)
        return [groups[group] for group in sorted(groups)]


def purse_of(one: Attempt) -> Purse:
    """Where an attempt's money is."""
    if is_parked(one):
        return "parked"
    if one.cost_usd is not None or one.billed in (Billed.YES, Billed.NO):
        return "settled"
    return "unknown" if one.fate in (Fate.FAILED, Fate.CANCELLED) else "reserved"


def _group_of(one: Attempt, by: By) -> str:
    if by == "day":
        return f"{moment(one.intended_at):%Y-%m-%d}"
    return one.endpoint if by == "model" else one.scope


def _small_attempt(row: Mapping[Any, Any]) -> Attempt:
    return attempt_of({**row, **dict.fromkeys(LARGE)})
