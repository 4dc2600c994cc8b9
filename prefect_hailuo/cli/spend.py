"""`prefect-hailuo spend`: what was spent, what is set aside, and what is left of each budget."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any

from cyclopts import Parameter

from prefect_hailuo.cli.output import (
    JsonOption,
    RealmOption,
    ask,
    console,
    plain,
    realm_of,
    say,
    say_json,
    table,
    usd,
)
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.ledger.budgets import Allowance, By, Spent
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.models.catalogue import model_name
from prefect_hailuo.ticket import Realm

AMOUNTS = ("settled_usd", "reserved_usd", "parked_usd", "unknown_usd", "total_usd")

BASIS = "Amounts are estimates from the catalogue's prices, not fal's bill; days are UTC."

Limits = dict[str, list[Allowance]]


def spend(
    *,
    by: Annotated[By, Parameter(help="What to add up by.")] = "scope",
    since: Annotated[str | None, Parameter(help="From this day on, such as 2026-11-01.")] = None,
    until: Annotated[str | None, Parameter(help="Up to this day, and with it.")] = None,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Show what was spent, what is set aside, and what is left of each budget.

    Settled is spent for certain; reserved, for what is under way; parked, for what waits for a
    decision; unknown, for what failed and may have been charged. Budgets count all four.
    """
    where = realm_of(realm)
    start, end = _day(since), _day(until, timedelta(days=1))

    async def read(ledger: Ledger) -> tuple[list[Spent], Limits]:
        limits = {
            scope: await ledger.budgets.allowances(where, scope)
            for scope in await ledger.budgets.scopes(where)
        }
        return await ledger.spending.spent(where, by, start, end), limits

    spent, limits = ask(where, read)
    if json:
        say_json(_document(where, by, start, end, spent, limits))
    else:
        _print(where, by, spent, limits)


def _day(given: str | None, later: timedelta = timedelta()) -> datetime | None:
    try:
        day = given and datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError:
        raise ConfigurationError(
            f"{given!r} is no date.", cure="Write one such as 2026-11-20, UTC."
        ) from None
    return day + later if day else None


def _document(
    realm: Realm,
    by: By,
    start: datetime | None,
    end: datetime | None,
    spent: list[Spent],
    limits: Limits,
) -> dict[str, Any]:
    groups = [{**asdict(each), "total_usd": each.total_usd} for each in spent]
    return {
        "realm": realm,
        "by": by,
        "since": start,
        "before": end,
        "basis": BASIS,
        "groups": groups,
        "total": {name: str(total) for name, total in _totals(spent).items()},
        "videos": sum(each.videos for each in spent),
        "unpriced": sum(each.unpriced for each in spent),
        "limits": [
            {"scope": scope, **asdict(each), "left_usd": each.left_usd}
            for scope, allowances in limits.items()
            for each in allowances
        ],
    }


def _totals(spent: list[Spent]) -> dict[str, Decimal]:
    return {name: sum((getattr(each, name) for each in spent), Decimal(0)) for name in AMOUNTS}


def _print(realm: Realm, by: By, spent: list[Spent], limits: Limits) -> None:
    if realm == "emulator":
        say("The emulator charges nothing: this is what fal would have charged.")
    if spent:
        _print_groups(by, spent)
    else:
        say(f"Nothing was bought in the realm {realm!r} in this time.")
    unpriced = sum(each.unpriced for each in spent)
    if unpriced:
        say(f"{unpriced} attempts are not in these figures: their prices are not known.")
    if limits:
        _print_limits(limits)
    say(BASIS)


def _print_groups(by: By, spent: list[Spent]) -> None:
    rows = table(show_footer=len(spent) > 1)
    totals = _totals(spent)
    rows.add_column(by, "total", overflow="fold")
    rows.add_column("videos", str(sum(each.videos for each in spent)), justify="right")
    for name in AMOUNTS:
        title = name.removesuffix("_usd")
        rows.add_column(title, usd(totals[name]), justify="right", no_wrap=True)
    for each in spent:
        group = model_name(each.group) if by == "model" else plain(each.group)
        amounts = [usd(getattr(each, name)) for name in AMOUNTS]
        rows.add_row(group, str(each.videos), *amounts)
    console.print(rows)


def _print_limits(limits: Limits) -> None:
    rows = table()
    rows.add_column("scope", overflow="fold")
    rows.add_column("period")
    for title in ("limit", "taken", "left"):
        rows.add_column(title, justify="right", no_wrap=True)
    for scope, allowances in limits.items():
        for each in allowances:
            amounts = (usd(each.limit_usd), usd(each.spent_usd), usd(each.left_usd))
            rows.add_row(plain(scope), each.period, *amounts)
    console.print(rows)
