"""What scopes may still spend while claims are decided: locked, added up once, and then counted on.

A scope's row stays locked until the claims' transaction ends, so that no two share what is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import BudgetError, ConfigurationError
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.budgets import (
    Allowance,
    allowances_of,
    is_scope,
    limits_of,
    spent_in,
    start_budget,
)
from prefect_hailuo.ledger.tables import budget
from prefect_hailuo.ledger.wishes import Limits, Wish


@dataclass
class Purse:
    """One scope's money, in the hands of a transaction that has locked it.

    Args:
        realm: fal or emulator.
        scope: The scope.
        limits: Its limits; None as long as it has none and the first purchase may bring its own.
        begun: The limits with which its row was made just now; None if it was there before.
        spent: What is spent or reserved by period, for those periods that matter.
    """

    realm: Realm
    scope: str
    limits: Limits | None
    begun: Limits | None
    spent: dict[str, Decimal]

    def take(self, wish: Wish) -> None:
        """Reserve a purchase's money, if the limits allow it.

        Raises:
            BudgetError: A limit does not allow it; or there is one, and no price is known.
            ConfigurationError: The caller believes the limits to be others.
        """
        limits = self.check(wish)
        if wish.limits is not None:
            self.limits = limits
        for period in self.spent:
            self.spent[period] += wish.estimated_usd or Decimal(0)

    def check(self, wish: Wish) -> Limits:
        """See whether the limits allow a purchase; returns them.

        Raises:
            BudgetError, ConfigurationError: As `take` does.
        """
        limits = self._limits_for(wish)
        for allowance in allowances_of(limits, self.spent):
            _check(wish, allowance)
        return limits

    def _limits_for(self, wish: Wish) -> Limits:
        if self.limits is None:
            return wish.limits or Limits()
        if wish.limits not in (None, self.limits):
            raise ConfigurationError(
                f"The limits of the scope {self.scope!r} are {_written(self.limits)} in the "
                f"ledger, not {_written(wish.limits)}; nothing was bought.",
                cure="A limit lives with its scope: change it for everybody with budget.apply(), "
                "or pass the scope's name alone.",
            )
        return self.limits


Purses = dict[tuple[Realm, str], Purse]


async def open_purses(connection: AsyncConnection, wishes: Iterable[Wish], now: float) -> Purses:
    """Lock the scopes that some purchases would be on, in their order, and add up what is spent."""
    asked: dict[tuple[Realm, str], list[Limits]] = {}
    for wish in wishes:
        limits = asked.setdefault((wish.realm, wish.scope), [])
        if wish.limits is not None and wish.limits not in limits:
            limits.append(wish.limits)
    return {which: await _open(connection, *which, asked[which], now) for which in sorted(asked)}


async def close_purses(connection: AsyncConnection, purses: Purses) -> None:
    """Keep the limits that a first purchase brought; those of a refused one are not the scope's."""
    for purse in purses.values():
        if purse.begun is None or purse.begun == purse.limits:
            continue
        which = is_scope(purse.realm, purse.scope)
        if purse.limits is None:
            await connection.execute(budget.delete().where(which))
        else:
            await connection.execute(budget.update().where(which).values(**vars(purse.limits)))


async def _open(
    connection: AsyncConnection, realm: Realm, scope: str, asked: list[Limits], now: float
) -> Purse:
    made = asked and await start_budget(connection, realm, scope, asked[0])
    if made:
        spent = await spent_in(connection, realm, scope, asked, now)
        return Purse(realm, scope, None, asked[0], spent)
    found = await connection.execute(limits_of(realm, scope).with_for_update())
    row = found.mappings().first()
    limits = Limits(**row) if row else Limits()
    spent = await spent_in(connection, realm, scope, [limits], now)
    return Purse(realm, scope, limits, None, spent)


def _check(wish: Wish, allowance: Allowance) -> None:
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


def _written(limits: Limits) -> str:
    named = (f"{name}={usd}" for name, usd in vars(limits).items() if usd is not None)
    return ", ".join(named) or "none"
