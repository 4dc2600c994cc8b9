"""What following costs and how late ends are seen, in the simulation of a crowd."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.pacing import Size, simulate
from benchmarks.pacing_runs.scenarios import SCENARIOS
from prefect_hailuo.fal.follow import ASKED_A_SECOND, CROWD

ROOT = Path(__file__).parents[2]

COSTS = {"queued": 9, "short": 5, "constant": 12, "constant-half": 12, "slower": 9, "two": 12}
LATE_MEDIAN = {"no-streams": 15, "no-streams-short": 5}
LATE_95TH = {
    "parallel": 15,
    "no-streams": 60,
    "no-streams-short": 20,
    "drops": 5,
    "restart": 6,
    "waves": 60,
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_simulated_crowd_is_seen_to_its_end(name: str) -> None:
    """Whatever fal does: each is seen, at a cost that does not grow with the time that it waits;
    half of them at once, where fal has streams."""
    told = simulate(SCENARIOS[name], Size(count=600, streams=100))
    assert told["seen"] == 600
    assert told["requests"] <= COSTS.get(name, 20)
    assert told["late_95th_s"] <= LATE_95TH.get(name, 1)
    assert told["late_worst_share"] <= 1  # of a tenth of its own time, or 30 s
    assert told["late_median_s"] <= LATE_MEDIAN.get(name, 1)
    assert told["most_streams"] <= 100
    assert told["busiest_second"] <= ASKED_A_SECOND + CROWD + 1


@pytest.mark.parametrize("at_once", [10, 40, 100])
@pytest.mark.parametrize("spread", [0.02, 0.5])
def test_submitting_takes_a_while_and_all_are_seen_soon(at_once: int, spread: float) -> None:
    """Those who come first find no queue, and its pace is not taken from how fast they came."""
    scenario = replace(SCENARIOS["queued"], at_once=at_once, spread=spread)
    told = simulate(scenario, Size(count=600, submitted_in=10.0))
    assert told["seen"] == 600
    assert told["requests"] <= 12
    assert told["late_95th_s"] <= 1
    assert told["late_worst_s"] <= 120


QUEUES = ["queued", "short", "prior-half", "prior-twice", "slower", "others", "no-positions",
          "faster", "two"]  # fmt: skip


@pytest.mark.parametrize("name", QUEUES)
@pytest.mark.parametrize("submitted_in", [0.0, 10.0])
def test_two_thousand_in_the_queue_cost_little_and_are_seen_soon(
    name: str, submitted_in: float
) -> None:
    """At most a dozen requests each; half are seen within 2 s, nearly all within 10 s, and no video
    waits unseen for longer than a tenth of the time that it ran or 30 s."""
    told = simulate(SCENARIOS[name], Size(count=2000, submitted_in=submitted_in))
    assert told["seen"] == 2000
    assert told["requests"] <= 12
    assert told["late_median_s"] <= 2
    assert told["late_95th_s"] <= 10
    assert told["late_worst_share"] <= 1


@pytest.mark.parametrize("at_once", [2, 5, 20, 40])
@pytest.mark.parametrize("streams", [4, 512])
def test_whatever_the_account_runs_at_once(at_once: int, streams: int) -> None:
    """An account of 2 learns that its queue is slow, and one of 40 has enough with few streams."""
    scenario = replace(SCENARIOS["queued"], at_once=at_once)
    told = simulate(scenario, Size(count=400, streams=streams))
    assert told["seen"] == 400
    assert told["requests"] <= (13 if streams == 512 else 24)
    assert told["late_worst_share"] <= 1
    assert told["most_streams"] <= streams


def test_requests_grow_with_jobs_and_not_with_jobs_times_time() -> None:
    """Ten times as many wait ten times as long, and cost a few questions more each."""
    few, many = (simulate(SCENARIOS["queued"], Size(count)) for count in (500, 5000))
    assert many["requests"] <= few["requests"] + 4
    assert many["busiest_second"] <= 20


def test_the_command_prints_a_table_and_json() -> None:
    """What it measured is on the last line, by scenario."""
    command = [sys.executable, "-m", "benchmarks.pacing", "--json", "--count", "100"]
    run = [*command, "--scenario", "queued,drops"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert {name: each["seen"] for name, each in told.items()} == {"queued": 100, "drops": 100}
    assert "100 requests, 512 streams" in done.stdout
