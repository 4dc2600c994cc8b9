"""The command `prefect-hailuo`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App

from prefect_hailuo.cli import budget as budgets
from prefect_hailuo.cli.doctor import doctor
from prefect_hailuo.cli.emulator import emulator
from prefect_hailuo.cli.estimate import estimate
from prefect_hailuo.cli.ledger import export, import_, list_, prune, reconcile, resolve
from prefect_hailuo.cli.models import models
from prefect_hailuo.cli.output import plain
from prefect_hailuo.cli.run import run
from prefect_hailuo.cli.show import show
from prefect_hailuo.cli.spend import spend
from prefect_hailuo.cli.webhooks import webhooks
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.flows.command import complete, run_app

app = App(
    name="prefect-hailuo",
    help="Paid video generation as a first-class step of a Prefect workflow.",
    version=version("prefect-hailuo"),
)

ledger = App(
    name="ledger",
    help="The record of everything that was bought: see it, decide what it cannot, keep it.",
)

budget = App(name="budget", help="What scopes may spend: set it, and see what is left.")

app.command(run)
app.command(emulator)
app.command(webhooks)
app.command(models)
app.command(estimate)
app.command(spend)
app.command(budget)
app.command(doctor)
app.command(ledger)
budget.command(budgets.set_, name="set")
budget.command(budgets.list_, name="list")
budget.command(budgets.show, name="show")
ledger.command(list_, name="list")
ledger.command(show)
ledger.command(reconcile)
ledger.command(resolve)
ledger.command(export)
ledger.command(import_, name="import")
ledger.command(prune)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command, and end the process with its exit code; 2 is for a wrong call.

    Args:
        arguments: What follows its name; None: what this process was started with.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a prompt's letters is no reason to show nothing.
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["run"]:
        words = complete(words)
    try:
        code = run_app(app, words)
    except HailuoError as error:
        sys.exit(plain(f"error: {error.message} {error.cure}"))
    except OSError as error:
        sys.exit(plain(f"error: {error}"))
    sys.exit(code)
