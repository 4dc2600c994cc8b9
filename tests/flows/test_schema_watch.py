"""The watch over fal's schemas as a flow and as a command."""

from __future__ import annotations

import json
from typing import Any

import pytest
from happenings import events_of
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from test_artifacts import artifacts_of

from flows.schema_watch import main, schema_watch
from prefect_hailuo.emulator import FalEmulator, edit
from prefect_hailuo.errors import SchemaDriftError
from prefect_hailuo.flows.drift import DriftReport

pytestmark = pytest.mark.usefixtures("prefect_server")


def add_a_required_field(emulator: FalEmulator) -> None:
    """fal wants a style from now on."""

    def change(body: dict[str, Any]) -> dict[str, Any]:
        for model in body["models"]:
            schemas = model["openapi"]["components"]["schemas"]
            [name] = [each for each in schemas if each.endswith("Input")]
            schemas[name]["properties"]["style"] = {"type": "string"}
            schemas[name]["required"].append("style")
        return body

    emulator.faults.add(edit("models", change, count=None))


def run(emulator: FalEmulator, **options: Any) -> tuple[Any, str]:
    """The flow's end state, and its run's id."""
    ids: list[str] = []
    watched = schema_watch.with_options()
    watched.on_completion_hooks = watched.on_failure_hooks = [
        lambda flow, run, state: ids.append(str(run.id))
    ]
    state = watched(credentials=emulator.credentials(), return_state=True, **options)
    return state, ids[0]


def test_drift_is_an_artifact_and_an_event(tiny: FalEmulator) -> None:
    """The run is Completed all the same: somebody is to look, nothing is broken yet."""
    add_a_required_field(tiny)
    state, run_id = run(tiny, models=["hailuo-02-pro"])
    assert state.type is StateType.COMPLETED
    shown = artifacts_of(run_id)["markdown"]
    assert shown["key"] == "hailuo-schema-emulator"
    assert "| hailuo-02-pro | `input.style` |" in shown["data"]
    [event] = events_of(run_id, "prefect-hailuo.schema.drifted")
    assert event["resource"]["prefect-hailuo.matters"] == "yes"
    assert event["payload"]["differences"][0]["place"] == "input.style"


def test_it_can_fail_on_drift(tiny: FalEmulator) -> None:
    """For those who want to be stopped; without drift it is Completed."""
    assert run(tiny, fail_on_drift=True)[0].type is StateType.COMPLETED
    add_a_required_field(tiny)
    state, run_id = run(tiny, fail_on_drift=True)
    assert state.type is StateType.FAILED
    assert SchemaDriftError.__name__ in state.message
    assert "markdown" in artifacts_of(run_id)


def test_as_a_command_it_prints_its_report(
    tiny: FalEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people, or as JSON; its exit code is 1 on drift, if so asked."""
    assert main(["--emulator", tiny.url]) == 0
    assert capsys.readouterr().out.startswith("Nothing has drifted")
    add_a_required_field(tiny)
    assert main(["--emulator", tiny.url, "--json", "--model", "hailuo-02-pro"]) == 0
    report = DriftReport.model_validate(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert report.matters
    assert main(["--emulator", tiny.url, "--fail-on-drift"]) == 1
    assert "upgrade" in capsys.readouterr().err


def test_its_form_offers_the_models() -> None:
    """Those that there are, and no other is taken."""
    models = schema_watch.parameters.model_dump()["properties"]["models"]
    assert "hailuo-2.3-pro" in str(models)
    assert main(["--model", "sora"]) == 2


def test_it_can_be_scheduled() -> None:
    """It is a deployment like any other."""
    deployment = schema_watch.to_deployment(name="daily", cron="0 6 * * *")
    assert isinstance(deployment, RunnerDeployment)
    assert len(deployment.schedules or []) == 1
