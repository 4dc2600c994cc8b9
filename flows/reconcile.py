"""Look after paid work that nobody looks after: a sweep to schedule, or to run as a command.

python flows/reconcile.py --credentials my-fal
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Literal

from prefect import flow
from prefect.artifacts import create_table_artifact

from prefect_hailuo.flows.command import flow_parser, run_flow_command
from prefect_hailuo.runs.blocks import FalCredentials, resolve_credentials
from prefect_hailuo.tasks.schedule import skip_missed_slot
from prefect_hailuo.tasks.sweep import SweepReport, sweep


@flow(name="reconcile")
def reconcile(
    credentials: list[FalCredentials | str] | None = None,
    realm: Literal["fal", "emulator"] | None = None,
) -> SweepReport:
    """Adopt what is lost, collect what is done, cancel what nobody wants. **It never buys.**

    Schedule it at least every half hour: fal keeps a result for an hour. Two runs at once do no
    harm. What it finds is in the table artifact `hailuo-reconcile-<realm>`; what it collects, and
    what it newly parks, is told in events.

    Args:
        credentials: Names of saved `FalCredentials` blocks of the accounts to look after; by
            default, the key in the environment. Those that the ledger names are used besides.
        realm: Whose purchases; by default, those of the first credentials.
    """
    if skipped := skip_missed_slot():
        return skipped  # type: ignore[no-any-return]
    report = sweep(realm, credentials or [])
    create_table_artifact(
        table=report.table(),
        key=f"hailuo-reconcile-{report.realm}",
        description=f"Attempts that had come to no end: {len(report.rows)}, ${report.cost_usd}.",
    )
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 1 where the sweep could not be made."""
    options = _parser().parse_args(arguments)
    run = partial(_run, options)
    report = run_flow_command(options, run, SweepReport.to_markdown, needs_key=False)
    return 0 if report else 1


def _run(options: argparse.Namespace, credentials: FalCredentials) -> SweepReport:
    named: list[FalCredentials | str] = [*options.credentials]
    for name in named:
        resolve_credentials(name).access()  # a missing key is told before a run begins
    if options.emulator is not None:
        named.append(credentials)
    return reconcile(named or None, options.realm)


def _parser() -> argparse.ArgumentParser:
    parser = flow_parser(
        "Adopt what is lost, collect what is done, cancel what nobody wants. It never buys."
    )
    parser.add_argument(
        "--credentials",
        nargs="*",
        metavar="BLOCK",
        default=[],
        help="saved FalCredentials blocks, one an account; by default, the key in the environment",
    )
    parser.add_argument(
        "--realm",
        choices=["fal", "emulator"],
        help="whose purchases; by default, those of the first credentials",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
