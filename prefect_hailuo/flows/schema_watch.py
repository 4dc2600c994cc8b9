"""The flow `schema_watch`: whether fal's models are still what this release knows.

prefect-hailuo run schema-watch --emulator
"""

from functools import partial
from typing import Annotated

from cyclopts import Parameter
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from prefect_hailuo import FalCredentials
from prefect_hailuo.errors import SchemaDriftError
from prefect_hailuo.flows.command import (
    AnyModelName,
    FlowOptions,
    flow_app,
    run_flow_app,
    run_flow_command,
)
from prefect_hailuo.flows.drift import DriftReport, watch_schemas
from prefect_hailuo.flows.model_names import AnyModel
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


app = flow_app("schema-watch")

main = partial(run_flow_app, app)


@app.default
def command(
    *,
    model: Annotated[
        list[AnyModelName] | None, Parameter(help="Only this model; may be repeated.", negative="")
    ] = None,
    fail_on_drift: Annotated[
        bool, Parameter(help="Fail if anything has drifted.", negative="", show_default=False)
    ] = False,
    options: FlowOptions = FlowOptions(),
) -> int:
    """See whether fal's models are still what this release knows. It never buys.

    The exit code is 1 where nothing could be compared, or on drift if so asked; 2 for a wrong call.
    """
    run = partial(schema_watch, model, fail_on_drift)
    report = run_flow_command(options, run, DriftReport.to_markdown, needs_key=False)
    return 0 if report else 1
