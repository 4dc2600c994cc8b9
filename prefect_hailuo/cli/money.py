"""`prefect-hailuo spend`.

`prefect-hailuo estimate`.

`prefect-hailuo models`.
"""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any

from cyclopts import Parameter, validators
from rich import box
from rich.console import Console
from rich.table import Column, Table

from prefect_hailuo.cli.show import (
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
from prefect_hailuo.models.camera import check_camera_commands
from prefect_hailuo.models.catalogue import CATALOGUE, Endpoint, model_name
from prefect_hailuo.runs.estimate import Quote, describe_settings, quote
from prefect_hailuo.ticket import Realm


def estimate(
    model: Annotated[str, Parameter(help="Such as hailuo-2.3-pro; see prefect-hailuo models.")],
    /,
    *,
    count: Annotated[
        int, Parameter(help="How many videos.", validator=validators.Number(gte=1))
    ] = 1,
    duration: Annotated[
        int | None, Parameter(help="Seconds, 6 or 10, of a model that has a choice.")
    ] = None,
    resolution: Annotated[
        str | None, Parameter(help="512P or 768P, of a model that has a choice.")
    ] = None,
    prompt: Annotated[
        str | None, Parameter(help="A prompt whose camera commands are to be looked at.")
    ] = None,
    live: Annotated[
        bool,
        Parameter(help="Ask fal for today's price; needs a key.", negative="", show_default=False),
    ] = False,
    credentials: Annotated[
        str | None, Parameter(help="A saved credentials block, for --live.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what videos would cost. It buys nothing.

    What the ledger has already costs nothing: for given prompts, ask prefect_hailuo.estimate.
    """
    asked = {"duration": duration, "resolution": resolution}
    settings = {name: value for name, value in asked.items() if value is not None}
    quoted = quote(model, settings, credentials=credentials, live=live)
    total = None if quoted.price_usd is None else quoted.price_usd * count
    warnings = check_camera_commands(prompt or "")
    if json:
        told = {"count": count, "total_usd": total, "warnings": warnings}
        say_json({**asdict(quoted), **told})
        return
    if quoted.price_usd is not None:
        each = f"{count} x {_name(quoted)} at {usd(quoted.price_usd)}"
        say(f"{each}: about {usd(total)} ({quoted.source}, {quoted.seen}).")
    for note in (*quoted.notes, *warnings):
        say(note)


def _name(quoted: Quote) -> str:
    name, settings = model_name(quoted.endpoint), describe_settings(quoted.settings)
    return f"{name} ({settings})" if settings else name


def models(*, json: JsonOption = False) -> None:
    """List the models: what they make, what it costs, and where that is known from."""
    endpoints = [input_class.endpoint for input_class in CATALOGUE.values()]
    console = Console()
    if json:
        console.print_json(_as_json(endpoints))
    else:
        console.print(_as_table(endpoints))


def _as_json(endpoints: list[Endpoint]) -> str:
    return json_format.dumps([asdict(endpoint) for endpoint in endpoints], default=str)


def _as_table(endpoints: list[Endpoint]) -> Table:
    model = Column("model", no_wrap=True)
    table = Table(model, "picture", "price a video", "price seen", box=box.SIMPLE)
    for endpoint, variant in ((e, v) for e in endpoints for v in e.variants):
        picture, price = variant.picture, variant.price
        table.add_row(
            endpoint.name if variant is endpoint.default else "",
            f"{picture.height}p, {picture.duration_seconds} s",
            usd(variant.price_usd) if price else "not known",
            price.seen if price else "",
        )
    return table


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
