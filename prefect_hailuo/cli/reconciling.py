"""`prefect-hailuo ledger reconcile`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from prefect_hailuo.cli.asking import JsonOption, RealmOption, realm_of
from prefect_hailuo.cli.printing import console, plain, say, say_json, table, usd
from prefect_hailuo.endpoints import model_name
from prefect_hailuo.key import shown_key
from prefect_hailuo.sweep import SweepReport, sweep


def reconcile(
    *,
    credentials: Annotated[
        list[str] | None,
        Parameter(
            help="Saved credentials blocks, one an account. Default: those that the attempts name, "
            "and the environment's key.",
            negative="",
        ),
    ] = None,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Look after everything that is open: find what is lost, collect what is done, cancel what
    nobody wants. It buys nothing."""
    report = sweep(realm_of(realm), credentials=list(credentials or ()))
    if json:
        say_json([asdict(row) for row in report.rows])
        return
    for run in report.resumed:
        say(f"Resumed the flow run {run}.")
    if report.rows:
        _print(report)
    else:
        say("Nothing is left open.")


def _print(report: SweepReport) -> None:
    rows = table()
    rows.add_column("key and attempt", no_wrap=True)
    rows.add_column("outcome")
    rows.add_column("model, request, detail", ratio=1, overflow="fold")
    rows.add_column("cost", justify="right", no_wrap=True)
    for row in report.rows:
        about = "\n".join(
            plain(line) for line in (model_name(row.model), row.request_id, row.detail) if line
        )
        key = f"{shown_key(row.key)} #{row.attempt}"
        rows.add_row(key, row.outcome, Text(about), usd(row.cost_usd))
    console.print(rows)
