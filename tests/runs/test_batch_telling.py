"""What Prefect is told of a batch: little, however many it holds."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from batches import shots
from file_server import smallest_video
from prefect import flow
from prefect.runtime import flow_run
from test_artifacts import artifacts_of

from prefect_hailuo import Hailuo02ProTextToVideo, VideoOutcomes, generate_videos
from prefect_hailuo.emulator import FalEmulator, refuse_content, refuse_without_credit
from prefect_hailuo.runs.cancellation import ASK_SECONDS
from prefect_hailuo.runs.cards import MOST_FAILURES

pytestmark = pytest.mark.usefixtures("prefect_server")

MANY = 300


def run_batch(
    emulator: FalEmulator, folder: Path, inputs: list[Any], **options: Any
) -> tuple[VideoOutcomes, dict[str, dict[str, Any]]]:
    """A batch in a flow run, and that run's artifacts by type."""

    @flow
    def catalogue() -> tuple[VideoOutcomes, str]:
        mine = emulator.credentials()
        outcomes = generate_videos(inputs, credentials=mine, storage=folder, **options)
        return outcomes, str(flow_run.id)

    outcomes, run_id = catalogue()
    return outcomes, artifacts_of(run_id)


def test_a_batch_has_one_progress_and_one_summary(tiny: FalEmulator, tmp_path: Path) -> None:
    """The progress complete, the summary with money and failures, each with its cure."""
    tiny.faults.add(refuse_content(prompt="A <b>bad</b> fox | 1."))
    inputs = [*shots(9), Hailuo02ProTextToVideo(prompt="A <b>bad</b> fox | 1.")]
    _, shown = run_batch(tiny, tmp_path, inputs)
    assert set(shown) == {"progress", "markdown"}
    progress, summary = shown["progress"], shown["markdown"]
    assert (progress["data"], progress["key"]) == (100.0, f"{summary['key']}-progress")
    assert summary["description"].startswith("9 of 10 done, 1 failed; 10 bought for nothing")
    text = summary["data"]
    assert text.startswith("**Made by the emulator")
    for line in ("| Done | 9 |", "| Failed | 1 |", "| Spent | nothing (at fal, about $4.32) |"):
        assert line in text
    [failed] = [line for line in text.splitlines() if line.startswith("| 10 |")]
    assert failed.startswith("| 10 | A \\<b\\>bad\\</b\\> fox \\| 1. | ContentPolicyError |")
    assert "Rephrase the prompt" in failed


def test_a_rerun_is_shown_as_what_it_is(tiny: FalEmulator, tmp_path: Path) -> None:
    """Under the same name: nothing was bought, all were there."""
    _, first = run_batch(tiny, tmp_path, shots(3))
    _, second = run_batch(tiny, tmp_path, shots(3))
    assert second["markdown"]["key"] == first["markdown"]["key"]
    assert second["markdown"]["description"].startswith("3 of 3 done (3 were there); 0 bought")


def test_artifacts_can_be_switched_off(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the setting that switches off those of single videos."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_ARTIFACTS", "false")
    assert run_batch(tiny, tmp_path, shots(2))[1] == {}


def test_failures_are_logged_up_to_a_bound(
    tiny: FalEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred of them are no hundred lines, nor are ten alike; the outcomes have them all."""
    tiny.faults.add(refuse_without_credit(count=None))
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        outcomes, _ = run_batch(tiny, tmp_path, shots(100))
    lines = [each.getMessage() for each in caplog.records if each.name == "prefect.task_runs"]
    assert len(outcomes.failed) == 100
    assert 1 <= sum(line.startswith("Input ") for line in lines) <= MOST_FAILURES
    assert any("failed in the same way as" in line for line in lines)
    assert lines[0] == "A batch of 100 inputs."
    assert any(line.startswith("The batch has ended: 0 of 100 done, 100 failed") for line in lines)
    assert len(lines) < MOST_FAILURES + 10


@pytest.fixture
def prefects_requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """What this process asks of Prefect's API."""
    counted: Counter[str] = Counter()
    for transport in (httpx.HTTPTransport, httpx.AsyncHTTPTransport):
        _count(transport, counted, monkeypatch)
    yield counted


def _count(transport: Any, counted: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    send = next(
        name for name in vars(transport) if name in ("handle_request", "handle_async_request")
    )
    sent = getattr(transport, send)

    def note(self: Any, request: httpx.Request) -> Any:
        if request.url.path.startswith("/api/"):
            counted[request.url.path] += 1
        return sent(self, request)

    monkeypatch.setattr(transport, send, note)


@pytest.mark.campaign
def test_hundreds_in_flight_cost_prefect_next_to_nothing(
    prefects_requests: Counter[str], tmp_path: Path
) -> None:
    """All at once, in seconds; less than a tenth of a call of its API for each."""
    begun = time.monotonic()
    with FalEmulator(speed=100, durations=100, concurrency=MANY, clip=smallest_video()) as emulator:
        outcomes, _ = run_batch(emulator, tmp_path, shots(MANY))
        assert len(outcomes.videos) == emulator.charged == MANY
        took_seconds = time.monotonic() - begun
    # Whether the run was cancelled is asked by the clock, however many it carries.
    asked = sum(n for path, n in prefects_requests.items() if path.startswith("/api/flow_runs/"))
    assert asked <= took_seconds / ASK_SECONDS + 10
    assert sum(prefects_requests.values()) - asked < MANY / 10, prefects_requests
