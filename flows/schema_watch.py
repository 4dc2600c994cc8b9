"""See whether fal's models are still what this release knows: to schedule, or to run as a command.

python flows/schema_watch.py --emulator
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from prefect_hailuo import FalCredentials
from prefect_hailuo.errors import SchemaDriftError
from prefect_hailuo.flows.command import flow_parser, run_flow_command
from prefect_hailuo.flows.drift import DriftReport, watch_schemas
from prefect_hailuo.flows.rows import AnyModel
from prefect_hailuo.models.catalogue import CATALOGUE
from prefect_hailuo.runs.events import tell_drift
from prefect_hailuo.tasks.schedule import skip_missed_slot

MOST_TOLD = 50
"""Differences that the event carries; the artifact and the result have all."""


@flow(name="schema-watch")
def schema_watch(
    models: list[AnyModel] | None = None,
    fail_on_drift: bool = False,
    credentials: FalCredentials | str | None = None,
) -> DriftReport:
    """Compare fal's schemas and prices of today with what this release knows. **It never buys.**

    What has drifted is in an artifact, `hailuo-schema-fal`, and in the event
    `prefect-hailuo.schema.drifted`; what matters for buying is told apart. Schedule it daily, say.

    Args:
        models: Names of the models to compare, such as `hailuo-2.3-pro`; by default, all.
        fail_on_drift: Whether the run fails where anything has drifted.
        credentials: A saved `FalCredentials` block's name; by default, `FAL_KEY`. Without a key,
            schemas are compared, and prices are not.
    """
    if skipped := skip_missed_slot():
        return skipped  # type: ignore[no-any-return]
    report = watch_schemas(credentials, models)
    create_markdown_artifact(
        report.to_markdown(), key=f"hailuo-schema-{report.realm}", description=report.summary
    )
    if report.drifted:
        told = [each.model_dump() for each in report.differences[:MOST_TOLD]]
        payload = {"summary": report.summary, "differences": told, "notes": [*report.notes]}
        tell_drift(report.realm, report.matters, payload)
    if fail_on_drift and report.drifted:
        raise SchemaDriftError(report.summary)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 1 where nothing could be compared, or on drift if so asked."""
    options = _parser().parse_args(arguments)
    report = run_flow_command(
        options, partial(_run, options), DriftReport.to_markdown, needs_key=False
    )
    return 0 if report else 1


def _run(options: argparse.Namespace, credentials: FalCredentials) -> DriftReport:
    return schema_watch(options.model, options.fail_on_drift, credentials)


def _parser() -> argparse.ArgumentParser:
    parser = flow_parser("See whether fal's models are still what this release knows.")
    names = [input_class.endpoint.name for input_class in CATALOGUE.values()]
    parser.add_argument(
        "--model", action="append", choices=names, help="only this model; may be repeated"
    )
    parser.add_argument("--fail-on-drift", action="store_true", help="fail if anything has drifted")
    return parser


if __name__ == "__main__":
    sys.exit(main())
