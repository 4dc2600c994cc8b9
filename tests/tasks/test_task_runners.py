"""Prefect's Dask and Ray task runners, with their own packages: several processes, one ledger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deployments import A_GENERATION, until
from file_server import smallest_video
from prefect.settings import PREFECT_API_URL
from psutil import NoSuchProcess  # type: ignore[import-untyped]
from runner_flows import CHUNKS, REFUSED, SHOTS, SINGLES
from talking import descendants, talking_to

from prefect_hailuo import FalCredentials, Hailuo02ProTextToVideo, generate_video
from prefect_hailuo.emulator import FalEmulator, ManualClock, refuse_content
from prefect_hailuo.errors import ContentPolicyError

KEY = "key-id-of-runners:key-secret-of-runners"


@dataclass(frozen=True)
class Run:
    """A flow that ran on a task runner, of whose workers one was killed while it waited.

    Args:
        arrived: What arrived in the flow.
        emulator: Where it bought.
        log: All that its processes printed.
    """

    arrived: dict[str, Any]
    emulator: FalEmulator
    log: str


RUNNERS = [pytest.param(each, marks=pytest.mark.campaign) for each in ("dask", "ray")]


@pytest.fixture(scope="module", params=RUNNERS)
def run(
    request: pytest.FixtureRequest, prefect_server: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """The flow, run to its end."""
    pytest.importorskip(f"prefect_{request.param}", reason="the extra `runners` is not installed")
    folder, clock = tmp_path_factory.mktemp(request.param), ManualClock()
    refusal = refuse_content(prompt=REFUSED, count=None)
    with FalEmulator(
        clock=clock, clip=smallest_video(), api_key=KEY, concurrency=100, faults=[refusal]
    ) as emulator:
        with (folder / "log").open("w") as log:
            process = start(request.param, emulator.url, folder, log)
            try:
                kill_a_worker_that_waits(process, emulator)
                while is_running(process):
                    clock.advance(A_GENERATION)
            finally:
                end(process)
        text = (folder / "log").read_text()
        assert process.returncode == 0, text
        yield Run(json.loads(text.splitlines()[-1]), emulator, text)


def start(runner: str, url: str, folder: Path, log: Any) -> subprocess.Popen[str]:
    """The flow, in a process of its own."""
    script = Path(__file__).with_name("runner_flows.py")
    environment = {
        **os.environ,
        "PREFECT_API_URL": PREFECT_API_URL.value() or "",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}",
        "PYTHONPATH": os.pathsep.join([str(script.parent), os.environ["PYTHONPATH"]]),
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, str(script), runner, url, KEY, str(folder)],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
    )


def is_running(process: subprocess.Popen[str]) -> bool:
    """Whether it still runs a moment later."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.2)
    return process.poll() is None


def end(process: subprocess.Popen[str]) -> None:
    """Leave nothing running."""
    children = [] if process.poll() is not None else descendants(process.pid)
    process.kill()
    for each in children:
        with suppress(NoSuchProcess):
            each.kill()
    process.wait()


def kill_a_worker_that_waits(process: subprocess.Popen[str], emulator: FalEmulator) -> None:
    """Kill it when all is known to be at fal, and wait until another waits in its place."""

    def both_wait() -> bool:
        assert process.poll() is None, "It ended too early."
        return len(emulator.submissions) == SHOTS and len(talking_to(emulator, process.pid)) == 2

    until("two workers wait for all videos", both_wait)
    until("their tickets are known", lambda: asked_about(emulator) >= SHOTS)
    killed, other = sorted(talking_to(emulator, process.pid))
    os.kill(killed, signal.SIGKILL)
    until("another waits", lambda: talking_to(emulator, process.pid) - {killed, other})


def asked_about(emulator: FalEmulator) -> int:
    """How many requests fal was asked about, at least: only who has a ticket can ask."""
    return emulator.requests["status"] + emulator.requests["stream"]


def test_every_video_is_bought_once(run: Run) -> None:
    """Twelve were wanted by several workers at once, and one of these was killed."""
    bodies = [each.body["prompt"] for each in run.emulator.submissions]
    bought = [prompt for prompt in bodies if prompt != REFUSED]
    assert sorted(bought) == sorted({f"Shot {number}." for number in range(SHOTS)})
    assert run.emulator.charged == SHOTS


def test_all_outcomes_arrive_in_the_flow(run: Run) -> None:
    """Whoever made a video, all that wanted it have the same file."""
    paths: dict[int, str] = {}
    for chunk, found in zip(CHUNKS, run.arrived["chunks"], strict=True):
        for number, path in zip(chunk, found, strict=True):
            assert paths.setdefault(number, path) == path
    assert len(set(paths.values())) == SHOTS
    assert run.arrived["singles"] == [paths[number] for number in SINGLES]
    assert all(Path(path).stat().st_size for path in paths.values())


def test_errors_arrive_by_their_kind(run: Run) -> None:
    """With what they know: whether money was spent, and the request."""
    assert run.arrived["failed"] == ["ContentPolicyError"]
    kind, billed, request_id = run.arrived["raised"]
    assert (kind, billed) == ("ContentPolicyError", "no")
    assert request_id.startswith("emulator-")


def test_the_key_is_in_no_log(run: Run) -> None:
    """Though the credentials went to each worker."""
    assert "Generate video" in run.log
    assert KEY.partition(":")[2] not in run.log


def test_no_error_is_its_own_cause(
    prefect_server: None, emulator: FalEmulator, credentials: FalCredentials
) -> None:
    """Dask sends an error with its causes, and would never come to the end of them."""
    emulator.faults.add(refuse_content(prompt=REFUSED))
    with pytest.raises(ContentPolicyError) as caught:
        generate_video(Hailuo02ProTextToVideo(prompt=REFUSED), credentials=credentials)
    assert caught.value.__cause__ is not caught.value
