"""What a scope may spend, and what it has spent: checked and reserved where the intent is written.

What counts is what the attempts cost: their cost where it is known, and their estimate until then,
so that an intent reserves its money by being there, and what cost nothing releases it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import BudgetError, ConfigurationError
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.attempts import moment
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.statements import insert_once, now_in
from prefect_hailuo.ledger.tables import attempt, budget, database_now
from prefect_hailuo.ledger.wishes import Limits, Wish


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


async def reserve(connection: AsyncConnection, wish: Wish, now: float) -> None:
    """Refuse a purchase that a limit of its scope does not allow.

    The scope's row is locked until the claim's transaction ends, so that two claims never share
    what is left.

    Raises:
        BudgetError: A limit does not allow it; or there is one, and no price is known.
        ConfigurationError: The caller believes the limits to be others.
    """
    limits = await _lock(connection, wish)
    for allowance in await _allowances(connection, wish.realm, wish.scope, limits, now):
        if wish.estimated_usd is None:
            raise BudgetError(
                f"The scope {wish.scope!r} has a limit, and the price of {wish.endpoint} is not "
                "known; nothing was bought.",
                cure="Use an endpoint with a price, or another scope.",
            )
        if wish.estimated_usd > allowance.left_usd:
            raise BudgetError(_figures(wish, allowance))


def _figures(wish: Wish, allowance: Allowance) -> str:
    period = "in all" if allowance.period == "total" else f"a {allowance.period}"
    return (
        f"This video costs about ${wish.estimated_usd}, and the scope {wish.scope!r} has "
        f"${allowance.left_usd} left: its limit is ${allowance.limit_usd} {period}, of which "
        f"${allowance.spent_usd} is spent or reserved. Nothing was bought."
    )


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
            await connection.execute(budget.update().where(_is(realm, scope)).values(**values))

    async def allowances(self, realm: Realm, scope: str) -> list[Allowance]:
        """What is left of each of a scope's limits."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_limits_of(realm, scope))).mappings().first()
            limits = Limits(**row) if row else Limits()
            now = await now_in(connection)
            return await _allowances(connection, realm, scope, limits, now)

    async def scopes(self, realm: Realm) -> list[str]:
        """The scopes that have limits."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(budget.c.scope).where(budget.c.realm == realm).order_by(budget.c.scope)
            )
            return list(found.scalars())


async def _lock(connection: AsyncConnection, wish: Wish) -> Limits:
    """The scope's limits; a caller's own become the scope's, if it has none."""
    if wish.limits is not None:
        values = {**vars(wish.limits), "set_at": database_now()}
        await connection.execute(
            insert_once(connection, budget).values(realm=wish.realm, scope=wish.scope, **values)
        )
    found = await connection.execute(_limits_of(wish.realm, wish.scope).with_for_update())
    row = found.mappings().first()
    limits = Limits(**row) if row else Limits()
    if wish.limits is not None and wish.limits != limits:
        raise ConfigurationError(
            f"The limits of the scope {wish.scope!r} are {_written(limits)} in the ledger, not "
            f"{_written(wish.limits)}; nothing was bought.",
            cure="A limit lives with its scope: change it for everybody with budget.apply(), or "
            "pass the scope's name alone.",
        )
    return limits


def _written(limits: Limits) -> str:
    named = (f"{name}={usd}" for name, usd in vars(limits).items() if usd is not None)
    return ", ".join(named) or "none"


def _limits_of(realm: Realm, scope: str) -> Select[tuple[Decimal | None, ...]]:
    columns = (budget.c.per_day_usd, budget.c.per_month_usd, budget.c.total_usd)
    return select(*columns).where(_is(realm, scope))


def _is(realm: Realm, scope: str) -> ColumnElement[bool]:
    return (budget.c.realm == realm) & (budget.c.scope == scope)


async def _allowances(
    connection: AsyncConnection, realm: Realm, scope: str, limits: Limits, now: float
) -> list[Allowance]:
    today = moment(now).replace(hour=0, minute=0, second=0, microsecond=0)
    periods: list[tuple[str, Decimal | None, datetime | None]] = [
        ("day", limits.per_day_usd, today),
        ("month", limits.per_month_usd, today.replace(day=1)),
        ("total", limits.total_usd, None),
    ]
    return [
        Allowance(period, limit, await _spent(connection, realm, scope, start))
        for period, limit, start in periods
        if limit is not None
    ]


async def _spent(
    connection: AsyncConnection, realm: Realm, scope: str, start: datetime | None
) -> Decimal:
    """What the scope's attempts take, by the time of their intents."""
    counted = func.sum(func.coalesce(attempt.c.cost_usd, attempt.c.estimated_usd))
    question = select(counted).where(attempt.c.realm == realm, attempt.c.scope == scope)
    if start is not None:
        question = question.where(attempt.c.intended_at >= start.timestamp())
    return (await connection.execute(question)).scalar() or Decimal(0)
