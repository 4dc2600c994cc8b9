"""Look after paid work that nobody looks after: a sweep to schedule, or to run as a command.

python flows/reconcile.py --credentials my-fal
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Literal

from prefect import flow
from prefect.artifacts import create_table_artifact

from prefect_hailuo.blocks import resolve_credentials
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.schedules import skip_missed_slot
from prefect_hailuo.sweep import SweepReport, sweep


@flow(name="reconcile")
def reconcile(
    credentials: list[str] | None = None, realm: Literal["fal", "emulator"] | None = None
) -> SweepReport:
    """Adopt what is lost, collect what is done, cancel what nobody wants. **It never buys.**

    Schedule it at least every half hour: fal keeps a result for an hour.

    Args:
        credentials: Names of saved `FalCredentials` blocks of the accounts to look after; by
            default, the key in the environment.
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
    parser = argparse.ArgumentParser(description="Look after paid work that nobody looks after.")
    parser.add_argument("--credentials", nargs="*", metavar="BLOCK", help="saved credentials")
    parser.add_argument("--realm", choices=["fal", "emulator"], help="whose purchases")
    options = parser.parse_args(arguments)
    try:
        for name in options.credentials or ():
            resolve_credentials(name).access()  # a missing key is told before a run begins
        report = reconcile(options.credentials, options.realm)
    except HailuoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.to_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
