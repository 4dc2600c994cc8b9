"""What a scope may spend, and what it has spent: checked and reserved where the intent is written.

What counts is what the attempts cost: their cost where it is known, and their estimate until then,
so that an intent reserves its money by being there, and what cost nothing releases it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.attempts import moment
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.statements import insert_once, now_in
from prefect_hailuo.ledger.tables import attempt, budget, database_now
from prefect_hailuo.ledger.wishes import Limits

EVER = float("-inf")
"""When the period began that has no beginning."""


@dataclass(frozen=True)
class Allowance:
    """One limit of a scope, and what is left of it.

    Args:
        period: `day`, `month` (both UTC) or `total`.
        limit_usd: The limit.
        spent_usd: What is spent or reserved in the current period.
    """

    period: str
    limit_usd: Decimal
    spent_usd: Decimal

    @property
    def left_usd(self) -> Decimal:
        """What may still be spent."""
        return max(Decimal(0), self.limit_usd - self.spent_usd)


class Budgets:
    """The limits of scopes.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, realm: Realm, scope: str, limits: Limits) -> None:
        """Set a scope's limits, whatever they were."""
        values = {**vars(limits), "set_at": database_now()}
        async with self._database.writing() as connection:
            await connection.execute(
                insert_once(connection, budget).values(realm=realm, scope=scope, **values)
            )
            await connection.execute(budget.update().where(is_scope(realm, scope)).values(**values))

    async def allowances(self, realm: Realm, scope: str) -> list[Allowance]:
        """What is left of each of a scope's limits."""
        async with self._database.reading() as connection:
            row = (await connection.execute(limits_of(realm, scope))).mappings().first()
            limits = Limits(**row) if row else Limits()
            now = await now_in(connection)
            spent = await spent_in(connection, realm, scope, [limits], now)
            return allowances_of(limits, spent)

    async def scopes(self, realm: Realm) -> list[str]:
        """The scopes that have limits."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(budget.c.scope).where(budget.c.realm == realm).order_by(budget.c.scope)
            )
            return list(found.scalars())


async def start_budget(
    connection: AsyncConnection, realm: Realm, scope: str, limits: Limits
) -> bool:
    """Let a caller's own limits be the scope's, if it has none; whether it had none."""
    values = {**vars(limits), "set_at": database_now()}
    made = insert_once(connection, budget).values(realm=realm, scope=scope, **values)
    return (await connection.execute(made.returning(budget.c.scope))).first() is not None


def limits_of(realm: Realm, scope: str) -> Select[tuple[Decimal | None, ...]]:
    """The question for a scope's limits."""
    columns = (budget.c.per_day_usd, budget.c.per_month_usd, budget.c.total_usd)
    return select(*columns).where(is_scope(realm, scope))


def is_scope(realm: Realm, scope: str) -> ColumnElement[bool]:
    """The condition that a budget is a scope's."""
    return (budget.c.realm == realm) & (budget.c.scope == scope)


def allowances_of(limits: Limits, spent: Mapping[str, Decimal]) -> list[Allowance]:
    """What is left of each limit.

    Args:
        limits: The limits.
        spent: What is spent or reserved, by period.
    """
    return [
        Allowance(period, limit, spent[period])
        for period, limit in _by_period(limits).items()
        if limit is not None
    ]


async def spent_in(
    connection: AsyncConnection, realm: Realm, scope: str, limits: Iterable[Limits], now: float
) -> dict[str, Decimal]:
    """What the scope's attempts take, by the time of their intents.

    All is added up in one look at the table, and only for the periods that some limits are about.
    """
    asked = {name for each in limits for name, usd in _by_period(each).items() if usd is not None}
    periods = {name: start for name, start in _starts(now).items() if name in asked}
    if not periods:
        return {}
    cost = func.coalesce(attempt.c.cost_usd, attempt.c.estimated_usd)
    earliest = min(periods.values())
    sums = [
        func.sum(cost if start == earliest else case((attempt.c.intended_at >= start, cost)))
        for start in periods.values()
    ]
    question = select(*sums).where(attempt.c.realm == realm, attempt.c.scope == scope)
    if earliest > EVER:
        question = question.where(attempt.c.intended_at >= earliest)
    row = (await connection.execute(question)).one()
    return {name: spent or Decimal(0) for name, spent in zip(periods, row, strict=True)}


def _by_period(limits: Limits) -> dict[str, Decimal | None]:
    return {
        "day": limits.per_day_usd,
        "month": limits.per_month_usd,
        "total": limits.total_usd,
    }


def _starts(now: float) -> dict[str, float]:
    """When each period began; days and months are UTC's."""
    today = moment(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "day": today.timestamp(),
        "month": today.replace(day=1).timestamp(),
        "total": EVER,
    }
