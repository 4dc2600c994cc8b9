"""The flow `reconcile`: a sweep for paid requests that no process waits for any more.

prefect-hailuo run reconcile --credentials my-fal
"""

from functools import partial
from typing import Annotated, Literal

from cyclopts import Parameter
from prefect import flow
from prefect.artifacts import create_table_artifact

from prefect_hailuo.flows.command import FlowOptions, flow_app, run_flow_app, run_flow_command
from prefect_hailuo.models.money import dollars
from prefect_hailuo.runs.blocks import FalCredentials, resolve_credentials
from prefect_hailuo.tasks.schedule import skip_missed_slot
from prefect_hailuo.tasks.sweep import SweepReport, sweep


@flow(name="reconcile")
def reconcile(
    credentials: list[FalCredentials | str] | None = None,
    realm: Literal["fal", "emulator"] | None = None,
) -> SweepReport:
    """Adopt lost requests, collect finished videos, cancel what nobody wants. **It never buys.**

    Schedule it at least every half hour: fal keeps a result for an hour. Two runs at once do no
    harm. What it finds is in the table artifact `hailuo-reconcile-<realm>`; what it collects, and
    what it newly parks, is told in events.

    Args:
        credentials: Names of saved `FalCredentials` blocks of the accounts to look after; by
            default, the key in the environment. Blocks that the ledger names are used as well.
        realm: Whose purchases; by default, those of the first credentials.
    """
    if skipped := skip_missed_slot():
        return skipped  # type: ignore[no-any-return]
    report = sweep(realm, credentials or [])
    create_table_artifact(
        table=report.table(),
        key=f"hailuo-reconcile-{report.realm}",
        description=f"Attempts that had not ended: {len(report.rows)}, {dollars(report.cost_usd)}.",
    )
    return report


app = flow_app("reconcile")

main = partial(run_flow_app, app)


@app.default
def command(
    *,
    credentials: Annotated[
        list[str] | None,
        Parameter(
            help="Saved FalCredentials blocks, one an account; by default, the key in the "
            "environment.",
            consume_multiple=True,
            negative="",
        ),
    ] = None,
    realm: Annotated[
        Literal["fal", "emulator"] | None,
        Parameter(help="Whose purchases; by default, those of the first credentials."),
    ] = None,
    options: FlowOptions = FlowOptions(),
) -> int:
    """Adopt lost requests, collect finished videos, cancel what nobody wants. It never buys.

    The exit code is 1 where the sweep could not be made, 2 for a wrong call.
    """

    def run(resolved: FalCredentials) -> SweepReport:
        named: list[FalCredentials | str] = [*(credentials or [])]
        for name in named:
            resolve_credentials(name).access()  # a missing key is told before a run begins
        if options.emulator is not None:
            named.append(resolved)
        return reconcile(named or None, realm)

    report = run_flow_command(options, run, SweepReport.to_markdown, needs_key=False)
    return 0 if report else 1
