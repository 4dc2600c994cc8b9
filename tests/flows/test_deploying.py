"""From `prefect.yaml` to runs on a worker: every step as a newcomer takes it."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml  # type: ignore[import-untyped]
from deployments import running, until
from prefect import Flow, flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runner.storage import GitRepository
from prefect.settings import PREFECT_API_URL
from prefect.states import Scheduled
from prefect.utilities.callables import parameter_schema
from slots import miss_slots

from prefect_hailuo.emulator import FalEmulator

ROOT = Path(__file__).parents[2]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("[!_]*.py"))
SPECIFIED: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))[
    "deployments"
]
ENTRYPOINTS = [each["entrypoint"] for each in SPECIFIED]


def flow_of(entrypoint: str) -> Flow[..., Any]:
    """The flow that a deployment runs."""
    path, _, name = entrypoint.partition(":")
    found = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(found, Flow)
    return found


def properties_of(entrypoint: str) -> dict[str, dict[str, Any]]:
    """The parameters that the UI's form shows."""
    return parameter_schema(flow_of(entrypoint)).properties


def enumerations(schema: Any) -> Iterator[list[str]]:
    """All lists of choices in a schema."""
    if isinstance(schema, dict):
        yield from ([schema["enum"]] if "enum" in schema else [])
        yield from (found for each in schema.values() for found in enumerations(each))
    elif isinstance(schema, list):
        yield from (found for each in schema for found in enumerations(each))


def test_every_flow_has_a_deployment() -> None:
    """What is in `flows/` can be deployed, and has what a deployment should say of itself."""
    assert sorted(Path(each.partition(":")[0]).stem for each in ENTRYPOINTS) == FLOWS
    for each in SPECIFIED:
        assert each["description"] and each["tags"][0] == "hailuo", each["entrypoint"]
        assert each["concurrency_limit"]["collision_strategy"] in ("ENQUEUE", "CANCEL_NEW")
        assert all(schedule["slug"] for schedule in each["schedules"])


def test_nothing_spends_by_accident() -> None:
    """What buys has inactive schedules only, each with a take of its slot's own."""
    spending = [each for each in SPECIFIED if "spends" in each["tags"]]
    assert {"text_to_video", "batch"} <= {Path(each["entrypoint"]).stem for each in spending}
    for each in SPECIFIED:
        assert ("spends" in each["tags"]) != ("free" in each["tags"])
        assert ("skip_if_late_seconds" in properties_of(each["entrypoint"])) == (each in spending)
    for schedule in (schedule for each in spending for schedule in each["schedules"]):
        assert schedule["active"] is False
        assert schedule["parameters"]["take"] == "{date}"


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_the_form_explains_every_parameter(entrypoint: str) -> None:
    """A description each; a default for all but what nobody else can know."""
    schema = parameter_schema(flow_of(entrypoint))
    for name, each in schema.properties.items():
        assert each["description"].endswith("."), name
        assert "default" in each or name in schema.required, name
    assert len(schema.required) <= 1


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_the_form_offers_what_may_be_chosen(entrypoint: str) -> None:
    """Models and realms are lists to choose from, and no text to misspell."""
    for name in {"model", "realm"} & set(properties_of(entrypoint)):
        whole = parameter_schema(flow_of(entrypoint)).model_dump()
        offered = list(enumerations([whole["properties"][name], whole["definitions"]]))
        assert any(len(choices) > 1 for choices in offered), name


@dataclass(frozen=True)
class Deployed:
    """A clone whose flows are deployed, and a worker that runs them.

    Args:
        client: Of Prefect's API.
        emulator: Where the flows buy.
        clone: Where the runs start.
    """

    client: SyncPrefectClient
    emulator: FalEmulator
    clone: Path

    def find(self, name: str) -> DeploymentResponse:
        """A deployment, by its flow's name."""
        return self.client.read_deployment_by_name(f"{name}/default")

    def ended(self, run: FlowRun) -> FlowRun:
        """A flow run once it has ended."""

        def look() -> FlowRun | None:
            now = self.client.read_flow_run(run.id)
            return now if now.state and now.state.is_final() else None

        found: FlowRun = until(f"{run.name} ends", look)
        return found

    def bought(self) -> list[str]:
        """The prompts that fal took on, in order."""
        return [each.body["prompt"] for each in self.emulator.submissions]


@pytest.fixture(scope="module")
def deployed(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A clone, a process worker, and `prefect deploy --all`."""
    folder = tmp_path_factory.mktemp("deployed")
    clone = folder / "clone"
    shutil.copytree(ROOT / "flows", clone / "flows")
    shutil.copy(ROOT / "prefect.yaml", clone)
    hailuo = "PREFECT_INTEGRATIONS_HAILUO_"
    with (
        FalEmulator(speed=1000, clip="plain") as emulator,
        get_client(sync_client=True, httpx_settings={"timeout": 60.0}) as client,
    ):
        environment = {
            **os.environ,
            "PREFECT_API_URL": PREFECT_API_URL.value() or "",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            f"{hailuo}LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}",
            f"{hailuo}OUTPUT_DIRECTORY": str(folder / "videos"),
            f"{hailuo}EMULATOR_URL": emulator.url,
            "TOLD": str(folder / "project" / "told"),
        }
        worker = "worker start --pool hailuo --type process"
        with running(prefect(worker), environment, folder / "worker.log"):
            until("the pool is there", lambda: has_pool(client))
            subprocess.run(
                prefect("--no-prompt deploy --all"), env=environment, cwd=clone, check=True
            )
            yield Deployed(client, emulator, clone)
            delete_deployments(client)


def prefect(command: str) -> list[str]:
    """A command of Prefect's."""
    return [sys.executable, "-m", "prefect", *command.split()]


def has_pool(client: SyncPrefectClient) -> bool:
    """Whether the worker has made its pool."""
    try:
        return client.read_work_pool("hailuo").type == "process"
    except ObjectNotFound:
        return False


def delete_deployments(client: SyncPrefectClient) -> None:
    """Leave no schedule behind for the tests that share the server."""
    for entrypoint in ENTRYPOINTS:
        name = f"{flow_of(entrypoint).name}/default"
        client.delete_deployment(client.read_deployment_by_name(name).id)
    client.delete_work_pool("hailuo")


@pytest.mark.campaign
def test_all_flows_are_deployed_as_is_written(deployed: Deployed) -> None:
    """With their schedules, limits, tags and forms; only what is free is switched on."""
    for each in SPECIFIED:
        found = deployed.find(flow_of(each["entrypoint"]).name)
        assert (found.work_pool_name, found.tags) == ("hailuo", each["tags"])
        assert found.description == each["description"]
        limit, options = found.global_concurrency_limit, found.concurrency_options
        assert limit and limit.limit == each["concurrency_limit"]["limit"]
        assert options
        assert options.collision_strategy == each["concurrency_limit"]["collision_strategy"]
        active = {schedule.slug: schedule.active for schedule in found.schedules}
        assert active == {one["slug"]: one.get("active", True) for one in each["schedules"]}
        shown = (found.parameter_openapi_schema or {})["properties"]
        assert shown == properties_of(each["entrypoint"])


@pytest.mark.campaign
def test_a_worker_makes_up_for_one_of_the_slots_that_it_missed(deployed: Deployed) -> None:
    """It was down for three days: the last slot buys; a skipped one that is retried does too."""
    takes = {"prompt": "A clip a day.", "take": "{date}"}
    runs = miss_slots(deployed.client, deployed.find("text-to-video").id, 3, takes)
    ends = [deployed.ended(each).state_name for each in runs]
    assert ends == ["Skipped", "Skipped", "Completed"]
    assert deployed.bought() == ["A clip a day."]
    deployed.client.set_flow_run_state(runs[0].id, Scheduled(), force=True)
    until("it is retried", lambda: len(deployed.bought()) == 2)
    assert deployed.ended(runs[0]).state_type is StateType.COMPLETED


@pytest.mark.campaign
def test_a_batch_runs_on_the_worker(deployed: Deployed) -> None:
    """As started in the UI, with the form's parameters."""
    found = deployed.find("batch")
    prompts = ["A kite.", "A barge."]
    run = deployed.client.create_flow_run_from_deployment(found.id, parameters={"prompts": prompts})
    assert deployed.ended(run).state_type is StateType.COMPLETED
    assert set(prompts) <= set(deployed.bought())
    assert len(list((deployed.clone.parent / "videos").glob("**/*.mp4"))) >= 2


@pytest.mark.campaign
def test_a_form_that_is_filled_in_wrongly_is_refused(deployed: Deployed) -> None:
    """Before any worker sees it."""
    found = deployed.find("text-to-video")
    wrong = {"prompt": "A fox.", "model": "hailuo-9"}
    with pytest.raises(PrefectHTTPStatusError, match="hailuo-9"):
        deployed.client.create_flow_run_from_deployment(found.id, parameters=wrong)


@pytest.mark.campaign
def test_a_relative_directory_outlives_a_clone_by_git(deployed: Deployed) -> None:
    """The worker clones the project anew for each run, and removes it; the video stays."""
    repository = deployed.clone.parent / "project"
    repository.mkdir()
    (repository / "clip.py").write_text(CLIP)
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "A clip"]):
        subprocess.run([*git, *command], cwd=repository, check=True)
    source = GitRepository(url=f"file://{repository}", branch="main", name="project")
    cloned = flow.from_source(source, entrypoint="clip.py:clip")
    assert isinstance(cloned, Flow)
    deployment = cloned.deploy("git", work_pool_name="hailuo", build=False, print_next_steps=False)
    assert isinstance(deployment, UUID)
    run = deployed.client.create_flow_run_from_deployment(deployment)
    assert deployed.ended(run).state_type is StateType.COMPLETED
    worked_in, stored = map(Path, (repository / "told").read_text().splitlines())
    until("its clone is removed", lambda: not worked_in.exists())
    assert stored.is_relative_to(deployed.clone.parent / "videos") and stored.exists()
    deployed.client.delete_deployment(deployment)


CLIP = """\
import os
from prefect import flow
from prefect_hailuo import hailuo_02_pro_text_to_video


@flow
def clip():
    video = hailuo_02_pro_text_to_video("A clone.", storage="clips")
    with open(os.environ["TOLD"], "w") as told:
        told.write(f"{os.getcwd()}\\n{video.path}\\n")
"""
