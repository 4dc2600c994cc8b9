"""The receiver as a command, killed and started again; a served flow whose process is gone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from databases import run_sql
from deployments import running, until
from file_server import smallest_video
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect_servers import free_port
from receivers import WEBHOOK_URL, told_at
from roads import order_of

from prefect_hailuo.emulator import FalEmulator, ManualClock
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.runs.execution import acquiring

ROOT = Path(__file__).parents[2]

COMMAND = str(Path(sys.executable).parent / "prefect-hailuo")


@pytest.fixture
def clock() -> ManualClock:
    """The emulator's time."""
    return ManualClock()


@pytest.fixture
def fal(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[FalEmulator]:
    """An emulator whose time stands still, where everything is bought."""
    with FalEmulator(clock=clock, clip=smallest_video()) as started:
        monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", started.url)
        yield started


@contextmanager
def receiver(port: int, folder: Path, **environment: str) -> Iterator[int]:
    """`prefect-hailuo webhooks`, once it answers; its process."""
    command = [COMMAND, "webhooks", "--port", str(port)]
    log = folder / "receiver.log"
    with running(command, {**os.environ, **environment}, log) as pid:
        until("the receiver answers", lambda: is_up(port))
        yield pid


def is_up(port: int) -> bool:
    """Whether a receiver answers."""
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/").is_success
    return False


def fates(ledger_url: str) -> list[str]:
    """Those of all attempts."""
    asked = "SELECT fate FROM hailuo_attempt ORDER BY intended_at"
    return [each["fate"] for each in run_sql(ledger_url, asked, realm="emulator")]


def test_a_killed_receiver_goes_on_when_it_is_started_again(
    fal: FalEmulator, clock: ManualClock, ledger_url: str, tmp_path: Path
) -> None:
    """It keeps nothing but the ledger: what was submitted before is told after."""
    port = free_port()
    with told_at(f"http://127.0.0.1:{port}/"):
        order = order_of(fal, tmp_path)
    with receiver(port, tmp_path) as pid:
        process_loop().run(acquiring(order).job)
        os.kill(pid, signal.SIGKILL)
        until("it is gone", lambda: not is_up(port))
    with receiver(port, tmp_path):
        clock.advance(1000)
        until("it was told", lambda: fates(ledger_url) == ["succeeded"])
    assert [fal.requests[kind] for kind in ("status", "stream", "result")] == [0, 0, 0]


@pytest.mark.campaign
def test_a_suspended_run_has_no_process_and_is_resumed_by_the_call(
    prefect_server: None,
    fal: FalEmulator,
    clock: ManualClock,
    ledger_url: str,
    tmp_path: Path,
) -> None:
    """A served deployment, the receiver, and an emulator: end to end, and fal is never asked."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]]),
        "PREFECT_API_URL": PREFECT_API_URL.value() or "",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        WEBHOOK_URL: f"http://127.0.0.1:{port}/",
    }
    serving = [sys.executable, str(Path(__file__).with_name("patient_flows.py"))]
    with (
        get_client(sync_client=True, httpx_settings={"timeout": 60}) as client,
        receiver(port, tmp_path, PREFECT_API_URL=environment["PREFECT_API_URL"]),
        running(serving, environment, tmp_path / "served.log") as runner,
    ):
        deployment = until("it is served", lambda: deployed(client))
        parameters = {"prompt": "A red fox.", "storage": str(tmp_path / "videos")}
        mine = client.create_flow_run_from_deployment(deployment, parameters=parameters).id
        until("it runs in a process", lambda: processes_of(runner))
        until("it is suspended", lambda: client.read_flow_run(mine).state_name == "Suspended")
        until("its process is gone", lambda: not processes_of(runner))
        assert fates(ledger_url) == ["submitted"]
        clock.advance(1000)
        until("it is done", lambda: has_ended(client, mine))
        assert client.read_flow_run(mine).state_type is StateType.COMPLETED
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 1
    asked = {kind: number for kind, number in fal.requests.items() if number}
    assert (asked, fal.charged) == ({"submit": 1, "media": 1}, 1)


def deployed(client: SyncPrefectClient) -> UUID | None:
    """The deployment, once it is there."""
    with suppress(ObjectNotFound):
        return client.read_deployment_by_name("patient-video/served").id
    return None


def processes_of(runner: int) -> list[int]:
    """The processes in which a runner runs flows, beside multiprocessing's own of it."""
    started = psutil.Process(runner).children(recursive=True)
    return [each.pid for each in started if is_running(each)]


def is_running(process: Any) -> bool:
    """Whether a process runs, and is not multiprocessing's resource tracker."""
    with suppress(psutil.Error):
        return "resource_tracker" not in " ".join(process.cmdline())
    return False


def has_ended(client: SyncPrefectClient, flow_run: UUID) -> bool:
    """Whether a flow run has come to an end, good or bad."""
    state = client.read_flow_run(flow_run).state
    return state is not None and state.is_final()
