"""What a scope may spend and has spent; a purchase beyond that is refused here.

An attempt counts with its cost, or with its estimate until the cost is known: so an intent reserves
its money by being there, and an attempt that cost nothing releases it. A claim locks the scope's
row until its transaction ends (`OpenBudget`), so that no two claims share what is left.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, case, func, or_, select

from prefect_hailuo.errors import Billed, BudgetError, ConfigurationError
from prefect_hailuo.ledger.attempt import (
    Attempt,
    Fate,
    Limits,
    Purchase,
    attempt_of,
    is_parked,
    moment,
)
from prefect_hailuo.ledger.database import Part, reads, writes
from prefect_hailuo.ledger.tables import attempt, budget, database_now, insert_once, now_in
from prefect_hailuo.models.money import dollars
from prefect_hailuo.ticket import Realm

LIMITS = (budget.c.per_day_usd, budget.c.per_month_usd, budget.c.total_usd)

EVER = float("-inf")
"""The start of the period that has no beginning."""


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


class Budgets(Part):
    """The limits of scopes."""

    @writes
    def put(self, connection: Connection, realm: Realm, scope: str, limits: Limits) -> None:
        """Set a scope's limits, whatever they were.

        A claim that is being decided is waited for; the next one knows the limits.
        """
        values = {**vars(limits), "set_at": database_now()}
        connection.execute(
            insert_once(connection, budget).values(realm=realm, scope=scope, **values)
        )
        connection.execute(budget.update().where(is_scope(realm, scope)).values(**values))

    @reads
    def allowances(self, connection: Connection, realm: Realm, scope: str) -> list[Allowance]:
        """What is left of each of a scope's limits."""
        row = (connection.execute(limits_of(realm, scope))).mappings().first()
        limits = Limits(**row) if row else Limits()
        now = now_in(connection)
        spent = spent_in(connection, realm, scope, [limits], now)
        return allowances_of(limits, spent)

    @reads
    def scopes(self, connection: Connection, realm: Realm) -> list[str]:
        """The scopes that have limits."""
        found = connection.execute(
            select(budget.c.scope)
            .where(budget.c.realm == realm)
            .where(or_(*(column.is_not(None) for column in LIMITS)))
            .order_by(budget.c.scope)
        )
        return list(found.scalars())


def limits_of(realm: Realm, scope: str) -> Select[tuple[Decimal | None, ...]]:
    """The query for a scope's limits."""
    return select(*LIMITS).where(is_scope(realm, scope))


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


def spent_in(
    connection: Connection, realm: Realm, scope: str, limits: Iterable[Limits], now: float
) -> dict[str, Decimal]:
    """What the scope's attempts take in each period, by the time of their intents.

    One query adds up all of it, only for the periods that have a limit.
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
    row = (connection.execute(question)).one()
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


@dataclass
class OpenBudget:
    """A scope's budget, locked by a transaction that decides claims.

    Args:
        realm: fal or emulator.
        scope: The scope.
        limits: Its limits; None as long as it has none and the first purchase may bring its own.
        had_none: Whether it had no limits before.
        spent: What is spent or reserved by period, for those periods that matter.
    """

    realm: Realm
    scope: str
    limits: Limits | None
    had_none: bool
    spent: dict[str, Decimal]

    def take(self, purchase: Purchase) -> None:
        """Reserve a purchase's money, if the limits allow it.

        Raises:
            BudgetError: A limit does not allow it; or there is one, and no price is known.
            ConfigurationError: The caller believes the limits to be others, or named a scope that
                has none.
        """
        limits = self.check(purchase)
        if purchase.limits is not None:
            self.limits = limits
        for period in self.spent:
            self.spent[period] += purchase.estimated_usd or Decimal(0)

    def check(self, purchase: Purchase) -> Limits:
        """See whether the limits allow a purchase; returns them.

        Raises:
            BudgetError, ConfigurationError: As `take` does.
        """
        limits = self._limits_for(purchase)
        if purchase.is_scope_named and limits == Limits():
            raise _unlimited(purchase)
        for allowance in allowances_of(limits, self.spent):
            _check(purchase, allowance)
        return limits

    def _limits_for(self, purchase: Purchase) -> Limits:
        if self.limits is None:
            return purchase.limits or Limits()
        if purchase.limits not in (None, self.limits):
            raise ConfigurationError(
                f"The limits of the scope {self.scope!r} are {_written(self.limits)} in the "
                f"ledger, not {_written(purchase.limits)}; nothing was bought.",
                cure="A limit lives with its scope: change it for everybody with budget.apply(), "
                "or pass the scope's name alone.",
            )
        return self.limits


OpenBudgets = dict[tuple[Realm, str], OpenBudget]


def open_budgets(connection: Connection, purchases: Iterable[Purchase], now: float) -> OpenBudgets:
    """Lock the scopes of some purchases, in their order, and add up what is spent.

    A scope without limits is locked too, but only for claims that would set some.
    """
    asked: dict[tuple[Realm, str], list[Limits]] = {}
    for purchase in purchases:
        limits = asked.setdefault((purchase.realm, purchase.scope), [])
        if purchase.limits is not None and purchase.limits not in limits:
            limits.append(purchase.limits)
    return {which: _open(connection, *which, asked[which], now) for which in sorted(asked)}


def close_budgets(connection: Connection, budgets: OpenBudgets) -> None:
    """Keep the limits that a scope's first purchase brought, unless it was refused."""
    for each in budgets.values():
        if each.had_none and each.limits not in (None, Limits()):
            values = {**vars(each.limits), "set_at": database_now()}
            connection.execute(
                budget.update().where(is_scope(each.realm, each.scope)).values(**values)
            )


def _open(
    connection: Connection, realm: Realm, scope: str, asked: list[Limits], now: float
) -> OpenBudget:
    limits = _locked_limits(connection, realm, scope, for_update=bool(asked))
    if limits == Limits() and asked:
        spent = spent_in(connection, realm, scope, asked, now)
        return OpenBudget(realm, scope, None, True, spent)
    spent = spent_in(connection, realm, scope, [limits], now)
    return OpenBudget(realm, scope, limits, False, spent)


def _locked_limits(connection: Connection, realm: Realm, scope: str, *, for_update: bool) -> Limits:
    """A scope's limits. Its row is locked, and made first if need be.

    Without limits, many claims may hold the lock at once: there is nothing to divide.
    """
    question = limits_of(realm, scope)
    found = connection.execute(question).mappings().first()
    if found is None:
        row = {"realm": realm, "scope": scope, "set_at": now_in(connection)}
        connection.execute(insert_once(connection, budget).values(row))
    alone = for_update or (found is not None and Limits(**found) != Limits())
    limits = _lock(connection, question, alone=alone)
    # Where a limit was set while the lock was waited for.
    return limits if alone or limits == Limits() else _lock(connection, question, alone=True)


def _lock(
    connection: Connection, question: Select[tuple[Decimal | None, ...]], *, alone: bool
) -> Limits:
    found = connection.execute(question.with_for_update(read=not alone))
    return Limits(**found.mappings().one())


def _unlimited(purchase: Purchase) -> ConfigurationError:
    scope, realm = purchase.scope, purchase.realm
    return ConfigurationError(
        f"The budget {scope!r} has no limit in this ledger, in the realm {realm!r}, though it is "
        "named; nothing was bought.",
        cure=f"See how it is spelled, and which ledger it is: prefect-hailuo budget list --realm "
        f"{realm}. Give it a limit: prefect-hailuo budget set {shlex.quote(scope)} --total 50 "
        f"--realm {realm}. Or name no budget.",
    )


def _check(purchase: Purchase, allowance: Allowance) -> None:
    if purchase.estimated_usd is None:
        raise BudgetError(
            f"The scope {purchase.scope!r} has a limit, and the price of {purchase.endpoint} is "
            "not known; nothing was bought.",
            cure="Use an endpoint with a price, or another scope.",
        )
    if purchase.estimated_usd > allowance.left_usd:
        raise BudgetError(_figures(purchase.estimated_usd, purchase.scope, allowance))


def _figures(price_usd: Decimal, scope: str, allowance: Allowance) -> str:
    period = "in all" if allowance.period == "total" else f"a {allowance.period}"
    return (
        f"This video costs about {dollars(price_usd)}, and the scope {scope!r} has "
        f"{dollars(allowance.left_usd)} left: its limit is {dollars(allowance.limit_usd)} "
        f"{period}, of which {dollars(allowance.spent_usd)} is spent or reserved. Nothing was "
        "bought."
    )


def _written(limits: Limits) -> str:
    named = (f"{name}={usd}" for name, usd in vars(limits).items() if usd is not None)
    return ", ".join(named) or "none"


By = Literal["day", "model", "scope"]

SpendingKind = Literal["settled", "reserved", "parked", "unknown"]
"""How an attempt's money counts: spent for certain; reserved while it is under way; reserved while
it waits for a person; or perhaps spent, which nobody knows."""

VIDEOS = (Fate.SUCCEEDED, Fate.STORED)

# Columns that may be large, and say nothing about money.
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
        name = f"{kind_of(one)}_usd"
        setattr(self, name, getattr(self, name) + one.counted_usd)
        self.videos += one.fate in VIDEOS
        self.unpriced += one.cost_usd is None and one.estimated_usd is None


class Spending(Part):
    """Adds up what was spent."""

    @reads
    def spent(
        self,
        connection: Connection,
        realm: Realm,
        by: By = "scope",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Spent]:
        """What was spent in US dollars, by the time of the intents, as budgets count it.

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
        for row in (connection.execute(question)).mappings():
            one = _small_attempt(row)
            group = _group_of(one, by)
            groups.setdefault(group, Spent(group)).add(one)
        return [groups[group] for group in sorted(groups)]


def kind_of(one: Attempt) -> SpendingKind:
    """How an attempt's money counts."""
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
