"""Blocks, deployments and flows of the first release's: they load, and work."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from children import run_python
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.settings import get_current_settings
from released import FOLDER, told

from prefect_hailuo import Budget, FalCredentials, HailuoVideoJob
from prefect_hailuo.emulator import FalEmulator

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def name() -> str:
    """A suffix for what the session's server is to keep for one test."""
    return f"-{uuid4().hex[:8]}"


def test_every_name_that_its_flows_import_is_there(release: None) -> None:
    """A copy of such a flow may be anywhere, and finds all that it asks for."""
    for each in told("imports"):
        module, _, attribute = each.partition(":")
        assert hasattr(import_module(module), attribute), each


def test_an_unknown_module_is_still_unknown() -> None:
    """Only what was there is found."""
    for unknown in ("prefect_hailuo.nothing", "prefect_hailuo.errors.nothing"):
        with pytest.raises(ModuleNotFoundError, match=unknown):
            import_module(unknown)
    with pytest.raises(AttributeError, match=r"'prefect_hailuo.video' has no attribute 'Film'"):
        import_module("prefect_hailuo.video").Film  # noqa: B018 - it is asked for


def test_saved_blocks_load_and_work(
    prefect_server: None, release: None, tiny: FalEmulator, name: str
) -> None:
    """As the release saved them: their types and schemas, too."""
    ids = {each: register(told("blocks")[each], name, tiny.url) for each in ("studio", "trailer")}
    for job in ("owl", "kite"):
        register(told("blocks")[job], name, tiny.url, credentials=ids["studio"])
    studio = FalCredentials.load(f"studio{name}")
    assert (studio.realm, studio.account) == ("emulator", "emulator")
    assert studio.access().hosts.queue == tiny.url
    budget = Budget.load(f"trailer{name}")
    assert (budget.scope, budget.per_day_usd) == ("trailer", Decimal("4.9"))
    assert budget.total_usd == Decimal(90)
    owl = HailuoVideoJob.load(f"owl{name}").trigger().fetch_result()
    assert owl.is_there() and owl.prompt == "An owl lands."
    assert (tiny.charged, tiny.requests["submit"]) == (0, 0)
    kite = HailuoVideoJob.load(f"kite{name}").trigger().fetch_result()
    assert kite.prompt == "A kite."
    assert (tiny.charged, tiny.requests["submit"]) == (0, 0)


def register(document: dict[str, Any], name: str, url: str, credentials: str | None = None) -> str:
    """A block as the server has it that kept it since; its emulator is the test's."""
    schema = document["block_schema"]
    made = {"name": schema["block_type"]["name"], "slug": schema["block_type"]["slug"]}
    found = _ask("GET", f"block_types/slug/{made['slug']}") or _ask("POST", "block_types/", made)
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
        "block_schema_id": _ask("POST", "block_schemas/", fields)["id"],
        "data": data,
    }
    return str(_ask("POST", "block_documents/", kept)["id"])


def _ask(method: str, path: str, body: Any = None) -> Any:
    answer = httpx.request(method, f"{get_current_settings().api.url}/{path}", json=body)
    if answer.status_code == 404:
        return None
    assert answer.is_success, answer.text
    return answer.json()


def test_a_deployment_runs(
    prefect_server: None, release: None, tiny: FalEmulator, name: str
) -> None:
    """As `prefect deploy` of the release stored it, from the clone where it is, updated since."""
    kept = told("deployments")["batch"]
    (FOLDER / "clone").symlink_to(ROOT)
    flow = _ask("POST", "flows/", {"name": "batch"})
    copied = ("entrypoint", "parameters", "pull_steps", "parameter_openapi_schema", "tags")
    stored = {each: kept[each] for each in (*copied, "enforce_parameter_schema", "description")}
    made = _ask("POST", "deployments/", {**stored, "name": f"kept{name}", "flow_id": flow["id"]})
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
