"""Blocks, deployments and flows of the first release's: they load, and work."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from children import run_python
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from released import FOLDER, told

from prefect_hailuo import Budget, FalCredentials, HailuoVideoJob, moved
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.fal.messages import EMULATOR_KEY

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def name() -> str:
    """A suffix for what the session's server is to keep for one test."""
    return f"-{uuid4().hex[:8]}"


def test_every_name_that_its_flows_import_is_there(release: None) -> None:
    """A copy of such a flow may be anywhere, and finds all that it asks for."""
    for each in told("imports"):
        module, _, attribute = each.partition(":")
        if module != "prefect_hailuo.flow_command":  # a command's, not a flow's
            assert hasattr(import_module(module), attribute), each


VALUES = """
approval:Question as_completed:generate_videos_as_completed batch_summary:BatchSummary
blocks:FalCredentials budget:Budget caching:GenerationCachePolicy catalogue:BatchItem
comparison:Comparison drift:Difference drift:DriftReport endpoints.facts:Endpoint
endpoints.facts:Picture endpoints.facts:Price endpoints.facts:Variant endpoints.inputs:VideoInput
endpoints.text:Hailuo02ProTextToVideo endpoints.image:Hailuo02ProImageToVideo estimating:Estimate
estimating:Line fal.messages:Cancellation fal.messages:Completed fal.messages:File
fal.messages:Output fal.messages:Realm fal.messages:Ticket hooks:cancel_generations
images:ImageSource jobs:HailuoVideoJob jobs:HailuoVideoRun manifest:Manifest montage:Clip
outcomes:Failure outcomes:VideoOutcome outcomes:VideoOutcomes plan:ModelPlan plan:Plan
quoting:Quote scenes:Scene settings:HailuoSettings storage:Storage storyboards:Storyboard
sweep:SweepReport sweeping:SweepRow tally:BatchProgress tally:Counts
tasks.text_23:hailuo_23_pro_text_to_video video:Video webhooks:webhook_app
"""
"""What the release's users may hold values of, or import, where it was."""


def test_every_value_is_found_where_it_was() -> None:
    """And no entry of the table leads nowhere."""
    for each in VALUES.split():
        module, _, attribute = each.partition(":")
        assert hasattr(import_module(f"prefect_hailuo.{module}"), attribute), each
    for homes in map(str.split, moved.HOMES.values()):
        assert all(import_module(f"prefect_hailuo.{home}") for home in homes)


def test_an_unknown_module_is_still_unknown() -> None:
    """Only what was there is found."""
    with pytest.raises(ModuleNotFoundError, match=r"prefect_hailuo\.nothing"):
        import_module("prefect_hailuo.nothing")
    with pytest.raises(AttributeError, match=r"'prefect_hailuo.video' has no attribute 'Film'"):
        import_module("prefect_hailuo.video").Film  # noqa: B018 - it is asked for


def test_saved_blocks_load_and_work(
    prefect_server: None, release: None, tiny: FalEmulator, name: str
) -> None:
    """As the release saved them: their types and schemas, too."""
    ids = {each: register(told("blocks")[each], name, tiny.url) for each in ("studio", "trailer")}
    for job in ("owl", "kite"):
        register(told("blocks")[job], name, tiny.url, credentials=ids["studio"])
    studio: Any = FalCredentials.load(f"studio{name}")
    assert (studio.realm, studio.account, studio.queue_url) == ("emulator", "emulator", tiny.url)
    assert studio.access().key.get_secret_value() == EMULATOR_KEY
    budget: Any = Budget.load(f"trailer{name}")
    assert (budget.scope, budget.per_day_usd) == ("trailer", Decimal("4.9"))
    assert budget.total_usd == Decimal(90)
    for job, prompt in (("owl", "An owl lands."), ("kite", "A kite.")):
        loaded: Any = HailuoVideoJob.load(f"{job}{name}")
        video = loaded.trigger().fetch_result()
        assert video.is_there() and video.prompt == prompt
    assert (tiny.charged, tiny.requests["submit"]) == (0, 0)


def register(document: dict[str, Any], name: str, url: str, credentials: str | None = None) -> str:
    """A block as the server has it that kept it since; its emulator is the test's."""
    schema = document["block_schema"]
    made = {"name": schema["block_type"]["name"], "slug": schema["block_type"]["slug"]}
    with get_client(sync_client=True) as client:
        try:
            found = client.read_block_type_by_slug(made["slug"]).model_dump(mode="json")
        except ObjectNotFound:
            found = _ask("block_types/", made)
    fields = {
        "block_type_id": found["id"],
        "fields": schema["fields"],
        "capabilities": schema["capabilities"],
        "version": schema["version"],
    }
    data = document["data"]
    if credentials:
        data["credentials"] = {"$ref": {"block_document_id": credentials}}
    elif "queue_url" in data:
        data = json.loads(json.dumps(data).replace(data["queue_url"], url))
    kept = {
        "name": document["name"] + name,
        "block_type_id": found["id"],
        "block_schema_id": _ask("block_schemas/", fields)["id"],
        "data": data,
    }
    return str(_ask("block_documents/", kept)["id"])


def _ask(path: str, body: Any) -> Any:
    # Prefect's own HTTP client asks again where its server is busy.
    with get_client(sync_client=True) as client:
        return client._client.post(f"/{path}", json=body).raise_for_status().json()


@pytest.mark.campaign
def test_a_deployment_runs(
    prefect_server: None, release: None, tiny: FalEmulator, name: str
) -> None:
    """As `prefect deploy` of the release stored it, from the clone where it is, updated since."""
    kept = told("deployments")["batch"]
    (FOLDER / "clone").symlink_to(ROOT)
    flow = _ask("flows/", {"name": "batch"})
    copied = ("entrypoint", "parameters", "pull_steps", "parameter_openapi_schema", "tags")
    stored = {each: kept[each] for each in (*copied, "enforce_parameter_schema", "description")}
    made = _ask("deployments/", {**stored, "name": f"kept{name}", "flow_id": flow["id"]})
    prompts = kept["schedules"][0]["parameters"]["prompts"]
    parameters = {"prompts": prompts, "storage": str(FOLDER / "videos"), "report": False}
    environment = {
        **os.environ,
        "PREFECT_API_URL": str(get_current_settings().api.url),
        "PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL": tiny.url,
    }
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(UUID(made["id"]), parameters=parameters)
        code = "import runpy; runpy.run_module('prefect', run_name='__main__')"
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in environment.items():
                patch.setenv(variable, value)
            child = run_python(code, "flow-run", "execute", run.id, before="")
        assert child.code == 0, child.stderr
        state = client.read_flow_run(run.id).state
        client.delete_deployment(UUID(made["id"]))
    assert state and state.type is StateType.COMPLETED, state
    assert (tiny.charged, tiny.requests["submit"]) == (0, 0)
