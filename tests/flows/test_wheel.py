"""The wheel alone, outside any clone: its flows are called, run as commands, and deployed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deployments import running, until
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from prefect_hailuo import flows
from prefect_hailuo.emulator import FalEmulator

ROOT = Path(__file__).parents[2]

GUARD = ROOT / "tests" / "guard"
"""It keeps every process of the tests from leaving this machine; it is no part of the project."""

HAILUO = "PREFECT_INTEGRATIONS_HAILUO_"

IMPORTS = f"""
import sys
import prefect_hailuo
assert "prefect" not in sys.modules
from prefect_hailuo import flows
for name in {flows.__all__!r}:
    assert getattr(flows, name).name == name.replace("_", "-")
print(prefect_hailuo.__path__[0])
"""

ENTRY_POINT = "prefect_hailuo.flows.batch.batch"

ROWS = "prompt,labels.sku\nA fox.,F-1\n"


@dataclass(frozen=True)
class Installed:
    """A folder with the wheel's files, another to work in, and what processes have around them."""

    site: Path
    folder: Path
    environment: dict[str, str]

    def run(self, *command: object) -> str:
        """Run a command to its end; it succeeds. Returns what it printed."""
        done = subprocess.run(
            [str(each) for each in command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, built by the project's own backend and installed into an empty folder."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = (folder / "dist").glob("*.whl")
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(wheel)], check=True, capture_output=True)
    work = folder / "work"
    work.mkdir()
    kept = {name: each for name, each in os.environ.items() if not name.startswith(HAILUO)}
    environment = {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(GUARD), str(site)]),
        "PREFECT_API_URL": PREFECT_API_URL.value() or "",
        "PREFECT_HOME": str(folder / "prefect"),
        f"{HAILUO}LEDGER_ALLOW": os.environ[f"{HAILUO}LEDGER_ALLOW"],
        f"{HAILUO}LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}",
        f"{HAILUO}OUTPUT_DIRECTORY": str(folder / "videos"),
    }
    return Installed(site, work, environment)


def test_it_holds_the_package_and_nothing_else(installed: Installed) -> None:
    """Also what is no Python: the contact sheet's page, the mark for type checkers."""
    [wheel] = (installed.site.parent / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {each.split("/")[0].split("-")[0] for each in names} == {"prefect_hailuo"}
    inside = {each.removeprefix("prefect_hailuo/") for each in names}
    assert {"py.typed", "flows/templates/contact_sheet.html", "flows/batch.py"} <= inside


def test_every_flow_can_be_imported(installed: Installed) -> None:
    """By its name, from the package; importing the package alone loads no Prefect."""
    printed = installed.run(sys.executable, "-c", IMPORTS)
    assert printed.strip() == str(installed.site / "prefect_hailuo")


def test_a_flow_is_a_command(installed: Installed, tmp_path: Path) -> None:
    """From a file of rows to a video and a contact sheet, at no cost."""
    (installed.folder / "rows.csv").write_text(ROWS)
    command = ["run", "batch", "rows.csv", "--emulator", "--json", "--output", tmp_path]
    printed = installed.run(installed.site / "bin" / "prefect-hailuo", *command)
    summary = json.loads(printed.splitlines()[-1])
    assert (summary["videos"], summary["done"]) == (1, 1)
    assert len(list(tmp_path.glob("*.mp4"))) == 1
    assert "F-1" in Path(summary["sheet"]).read_text(encoding="utf-8")


@pytest.fixture
def client(installed: Installed) -> Iterator[SyncPrefectClient]:
    """Of the Prefect server's API."""
    with get_client(sync_client=True, httpx_settings={"timeout": 60.0}) as found:
        yield found


@pytest.mark.campaign
def test_a_flow_is_deployed_by_its_module(
    installed: Installed, client: SyncPrefectClient, emulator: FalEmulator
) -> None:
    """`prefect deploy` takes the entry point, and a process worker runs it."""
    prefect = [sys.executable, "-m", "prefect"]
    worker = [*prefect, "worker", "start", "--pool", "wheel", "--type", "process"]
    settings = {"PREFECT_WORKER_QUERY_SECONDS": "1", f"{HAILUO}EMULATOR_URL": emulator.url}
    log = installed.folder / "worker.log"
    with running(worker, installed.environment | settings, log, installed.folder):
        until("the pool is there", lambda: has_pool(client))
        deploy = ["--no-prompt", "deploy", ENTRY_POINT, "--name", "wheel", "--pool", "wheel"]
        installed.run(*prefect, *deploy)
        found = client.read_deployment_by_name("batch/wheel")
        assert found.entrypoint == ENTRY_POINT
        asked = {"prompts": ["A kite."]}
        run = client.create_flow_run_from_deployment(found.id, parameters=asked)

        def ended() -> StateType | None:
            state = client.read_flow_run(run.id).state
            return state.type if state and state.is_final() else None

        assert until("the run ends", ended) is StateType.COMPLETED, log.read_text()
        client.delete_deployment(found.id)
    client.delete_work_pool("wheel")
    assert [each.body["prompt"] for each in emulator.submissions] == ["A kite."]


def has_pool(client: SyncPrefectClient) -> bool:
    """Whether the worker has made its pool."""
    try:
        return client.read_work_pool("wheel").type == "process"
    except ObjectNotFound:
        return False
