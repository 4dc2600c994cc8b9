"""`prefect-hailuo budget`: set, list and show what scopes may spend."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated

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
from prefect_hailuo.ledger.attempt import Limits
from prefect_hailuo.ledger.budgets import Allowance
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.ticket import Realm

Scope = Annotated[str, Parameter(help="The name that purchases are counted under.")]


def set_(
    scope: Scope,
    /,
    *,
    per_day: Annotated[Decimal | None, Parameter(help="The most US dollars a day, UTC.")] = None,
    per_month: Annotated[
        Decimal | None, Parameter(help="The most US dollars a calendar month, UTC.")
    ] = None,
    total: Annotated[Decimal | None, Parameter(help="The most US dollars in all.")] = None,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Set what a scope may spend, whatever its limits were, for all who use this ledger."""
    limits = Limits(per_day, per_month, total)
    scope = scope.strip()
    given = [each for each in vars(limits).values() if each is not None]
    if not scope or not given or any(each < 0 for each in given):
        raise ConfigurationError(
            "A budget needs a name, and a limit that is not negative.",
            cure="Pass --per-day, --per-month or --total, in US dollars.",
        )
    where = realm_of(realm)
    ask(where, lambda ledger: ledger.budgets.put(where, scope, limits))
    _tell(where, [scope], json)


def list_(*, realm: RealmOption = None, json: JsonOption = False) -> None:
    """List the budgets that have limits in this ledger, and what is left of each."""
    where = realm_of(realm)
    _tell(where, ask(where, lambda ledger: ledger.budgets.scopes(where)), json)


def show(scope: Scope, /, *, realm: RealmOption = None, json: JsonOption = False) -> None:
    """Show a budget's limits in this ledger, and what is left of each."""
    _tell(realm_of(realm), [scope.strip()], json)


def _tell(realm: Realm, scopes: list[str], json: bool) -> None:
    async def read(ledger: Ledger) -> dict[str, list[Allowance]]:
        return {each: await ledger.budgets.allowances(realm, each) for each in scopes}

    found = ask(realm, read)
    name = current_settings().ledger_of(realm).name
    if json:
        limits = [
            {"scope": scope, **asdict(each), "left_usd": each.left_usd}
            for scope, allowances in found.items()
            for each in allowances
        ]
        say_json({"realm": realm, "ledger": name, "limits": limits})
        return
    rows = table()
    rows.add_column("scope", overflow="fold")
    rows.add_column("period")
    for title in ("limit", "taken", "left"):
        rows.add_column(title, justify="right", no_wrap=True)
    for scope, allowances in found.items():
        for each in allowances:
            amounts = (usd(each.limit_usd), usd(each.spent_usd), usd(each.left_usd))
            rows.add_row(plain(scope), each.period, *amounts)
        if not allowances:
            rows.add_row(plain(scope), "no limit", "", "", "")
    if found:
        console.print(rows)
    else:
        say("No budget has a limit.")
    say(f"In the realm {realm!r}, by the ledger at {name}.")
