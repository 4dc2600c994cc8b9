"""Flow runs that are suspended while fal works, run in this process, on a real Prefect server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from databases import run_sql
from deployments import until
from file_server import smallest_video
from prefect import flow, suspend_flow_run
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from receivers import serving, told_at

from flows.patient_video import main, patient_video
from prefect_hailuo import webhook_app
from prefect_hailuo.emulator import FalEmulator, ManualClock, refuse_content
from prefect_hailuo.errors import ConfigurationError, ContentPolicyError
from prefect_hailuo.tasks import suspension
from prefect_hailuo.tasks.suspension import resume
from prefect_hailuo.tasks.sweep import sweep

NOBODY = "http://127.0.0.1:1/nobody"

pytestmark = pytest.mark.usefixtures("prefect_server")


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


@pytest.fixture
def hook(fal: FalEmulator) -> Iterator[str]:
    """A receiver of its calls."""
    with serving(webhook_app()) as url, told_at(url):
        yield url


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    """Prefect's API."""
    with get_client(sync_client=True, httpx_settings={"timeout": 60}) as opened:
        yield opened


@pytest.fixture
def start(client: SyncPrefectClient) -> Callable[[], UUID]:
    """Makes runs of the flow's deployment; nobody but the test runs them."""
    deployment = patient_video.to_deployment("by-hand")
    assert not asyncio.iscoroutine(deployment)
    found = UUID(str(deployment.apply()))
    parameters = {"prompt": "A red fox."}
    return lambda: client.create_flow_run_from_deployment(found, parameters=parameters).id


def run(client: SyncPrefectClient, which: UUID) -> Any:
    """Do what a runner's process does with a flow run; "suspended", if it was."""
    try:
        return run_flow(patient_video, flow_run=client.read_flow_run(which))
    except Pause:
        return "suspended"


def state(client: SyncPrefectClient, which: UUID) -> str | None:
    """The name of a flow run's state."""
    return client.read_flow_run(which).state_name


def test_a_call_resumes_the_run(
    fal: FalEmulator, clock: ManualClock, hook: str, client: SyncPrefectClient, start: Any
) -> None:
    """It goes on with its ticket, and nobody has asked fal anything."""
    mine = start()
    assert run(client, mine) == "suspended"
    assert state(client, mine) == "Suspended"
    clock.advance(1000)
    until("it is resumed", lambda: state(client, mine) == "Resuming")
    assert run(client, mine).is_there()
    asked = {kind: number for kind, number in fal.requests.items() if number}
    assert (asked, fal.charged) == ({"submit": 1, "media": 1}, 1)


def test_a_call_that_comes_before_the_suspension_is_not_lost(
    fal: FalEmulator,
    clock: ManualClock,
    hook: str,
    client: SyncPrefectClient,
    start: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It found a run that was not suspended; the run resumes itself."""

    def suspend_late(**options: Any) -> None:
        clock.advance(1000)
        until("it was told", lambda: [each.status for each in fal.webhook_deliveries] == [200])
        suspend_flow_run(**options)

    monkeypatch.setattr(suspension, "suspend_flow_run", suspend_late)
    mine = start()
    assert run(client, mine) == "suspended"
    assert state(client, mine) == "Resuming"
    assert run(client, mine).is_there()


def test_where_the_call_was_lost_the_sweep_resumes(
    fal: FalEmulator, clock: ManualClock, client: SyncPrefectClient, start: Any, ledger_url: str
) -> None:
    """It has collected the video by then; the run finds it, and nothing is downloaded twice."""
    mine = start()
    with told_at(NOBODY):
        assert run(client, mine) == "suspended"
    run_sql(ledger_url, "UPDATE hailuo_waiter SET lease_until = 0", realm="emulator")
    assert sweep().resumed == ()  # it is not done
    clock.advance(1000)
    report = sweep()
    assert ([each.outcome for each in report.rows], report.resumed) == (["collected"], (str(mine),))
    assert str(mine) in report.to_markdown()
    assert run(client, mine).is_there()
    assert (fal.requests["media"], sweep().resumed) == (1, ())


def test_a_run_that_is_resumed_too_early_is_suspended_again(
    fal: FalEmulator, hook: str, client: SyncPrefectClient, start: Any
) -> None:
    """By a person, say, in the interface."""
    mine = start()
    assert run(client, mine) == "suspended"
    client.resume_flow_run(mine)
    assert run(client, mine) == "suspended"
    assert (state(client, mine), fal.requests["submit"]) == ("Suspended", 1)


def test_a_failure_resumes_too(
    fal: FalEmulator, clock: ManualClock, hook: str, client: SyncPrefectClient, start: Any
) -> None:
    """The run tells what went wrong, and buys nothing else."""
    fal.faults.add(refuse_content())
    mine = start()
    assert run(client, mine) == "suspended"
    clock.advance(1000)
    until("it is resumed", lambda: state(client, mine) == "Resuming")
    with pytest.raises(ContentPolicyError):
        run(client, mine)
    assert (state(client, mine), fal.requests["submit"]) == ("Failed", 1)


def test_nobodys_approval_is_given(fal: FalEmulator, client: SyncPrefectClient, start: Any) -> None:
    """A run that is suspended for something else stays so; so does one for another request."""

    @flow
    def approve() -> None:
        suspend_flow_run()

    deployment = approve.to_deployment("by-hand")
    assert not asyncio.iscoroutine(deployment)
    other = client.create_flow_run_from_deployment(UUID(str(deployment.apply()))).id
    with pytest.raises(Pause):
        run_flow(approve, flow_run=client.read_flow_run(other))
    mine = start()
    with told_at(NOBODY):
        assert run(client, mine) == "suspended"
    both = [str(other), str(mine)]
    assert resume(both, ("emulator", "another")) == []
    request = ("emulator", fal.submissions[0].request_id)
    assert resume([*both, "no id", str(UUID(int=7))], request) == [str(mine)]
    assert resume(both, request) == []
    assert state(client, other) == "Suspended"


def test_without_a_deployment_nothing_is_bought(fal: FalEmulator) -> None:
    """The error says what to do; so do those for a subflow, and for a task's thread."""
    with pytest.raises(ConfigurationError, match=r"flow\.serve\(\).*wait_for_video"):
        patient_video("A red fox.")

    @flow
    def parent() -> None:
        patient_video("A red fox.")

    with pytest.raises(ConfigurationError, match="A subflow cannot be suspended"):
        parent()
    assert not fal.submissions


def test_as_a_command_it_waits(
    tiny: FalEmulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no deployment, says so, and prints where the video is."""
    command = ["A red fox.", "--emulator", tiny.url, "--output", str(tmp_path)]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert Path(out.splitlines()[-1]).parent == tmp_path
    assert "it waits here" in err
