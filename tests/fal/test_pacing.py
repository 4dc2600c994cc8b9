"""When to ask how a request stands: the policy as a table, and what it costs in the simulation."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pacing import Size, simulate
from benchmarks.pacing_runs.scenarios import SCENARIOS
from prefect_hailuo.fal.follow import (
    ASKED_A_SECOND,
    CROWD,
    FEW,
    LONGEST_UNHEARD_SECONDS,
    MOST_SAMPLES,
    Durations,
    Known,
    Plan,
    plan,
)

ROOT = Path(__file__).parents[2]
EQUAL = [60.0] * 20
VARIED = [float(each) for each in range(20, 220, 2)]


def few(**known: Any) -> Known:
    """A request among few; it runs, unless it is said."""
    return Known(**{"state": "running", **known})


def crowd(**known: Any) -> Known:
    """One of a crowd."""
    return Known(**{"state": "running", "crowded": True, **known})


TABLE: dict[str, tuple[Known, list[float], Plan]] = {
    "alone: listen": (few(state="unseen", listen_in=0), [], Plan(0, "listen")),
    "alone, no stream: ask": (few(state="unseen"), [], Plan(0, "ask")),
    "alone, the stream dropped: ask first": (few(dropped=True, listen_in=1), [], Plan(0, "ask")),
    "then rest, and listen again": (few(listen_in=2), [], Plan(2, "listen")),
    "alone, no stream, young: soon": (few(waited=1), [], Plan(1, "ask")),
    "alone, no stream, old: every ten seconds": (few(waited=900), [], Plan(10, "ask")),
    "many come back: ask": (crowd(state="unseen", listen_in=0), [], Plan(0, "ask")),
    "far from its turn: leave it alone": (
        crowd(state="queued", until_turn=500, listen_in=0),
        [],
        Plan(450, "ask"),
    ),
    "so far that a result could be lost: look": (
        crowd(state="queued", until_turn=90_000, listen_in=0),
        [],
        Plan(LONGEST_UNHEARD_SECONDS, "ask"),
    ),
    "its turn is foreseen: think again then": (
        crowd(state="queued", until_turn=50, listen_in=0),
        EQUAL,
        Plan(20, "plan"),
    ),
    "its end is known: ask right after": (crowd(ran=20, listen_in=0), EQUAL, Plan(40, "ask")),
    "its end is not: listen": (crowd(ran=50, listen_in=0), VARIED, Plan(1.0, "listen")),
    "a stream to be had in a moment": (crowd(ran=90, listen_in=1.5), VARIED, Plan(1.5, "listen")),
    "none can have ended yet: wait": (crowd(within_reach=1), VARIED, Plan(30, "plan")),
    "no stream, may end at any time: ask": (
        crowd(ran=150, within_reach=150, unheard=29.5),
        VARIED,
        Plan(0.0, "ask"),
    ),
    "nobody can listen: a few are asked, so that others learn": (
        crowd(waited=40, ran=20, scout=True),
        [],
        Plan(8, "ask"),
    ),
    "others listen and will tell: wait for them": (
        crowd(ran=50, taught=True),
        [],
        Plan(60, "plan"),
    ),
    "others tell nothing for too long: ask": (
        crowd(ran=50, taught=True, unheard=LONGEST_UNHEARD_SECONDS),
        [],
        Plan(0, "ask"),
    ),
}


@pytest.mark.parametrize(("known", "observed", "planned"), TABLE.values(), ids=list(TABLE))
def test_the_policy(known: Known, observed: list[float], planned: Plan) -> None:
    """What is done next follows from what is known, and from nothing else."""
    assert plan(known, Durations(120, observed)) == planned


@pytest.mark.parametrize("listen_in", [0.0, 5.0, inf])
@pytest.mark.parametrize("observed", [[], EQUAL, VARIED, [1.0, 9.0] * 4])
@pytest.mark.parametrize("crowded", [True, False])
def test_nobody_spins_and_nobody_is_forgotten(
    listen_in: float, observed: list[float], crowded: bool
) -> None:
    """However long a request is without news, a pause is neither nothing nor for ever, but where
    something is asked or listened to after it."""
    durations = Durations(120, observed)
    for seconds in (0.0, 0.3, 2.0, 59.0, 61.0, 500.0, 5e3, 1e5):
        for state in ("queued", "running"):
            known = Known(
                state,
                until_turn=seconds if state == "queued" else 0.0,
                ran=seconds,
                unheard=seconds / 2,
                waited=seconds,
                within_reach=seconds,
                listen_in=listen_in,
                crowded=crowded,
            )
            planned = plan(known, durations)
            assert planned.then != "plan" or planned.pause >= 1.0
            assert 0 <= planned.pause <= max(LONGEST_UNHEARD_SECONDS, seconds)


def test_the_catalogue_is_believed_until_a_few_were_seen() -> None:
    """Then the observed ones count, the latest of them only."""
    durations = Durations(100, [5.0] * (FEW - 1))
    assert durations.left(0, 0.5) == 100
    durations.add(5.0)
    assert durations.left(0, 0.5) == 5
    for _ in range(MOST_SAMPLES):
        durations.add(7.0)
    assert (durations.left(0, 0.0), durations.observed) == (7, MOST_SAMPLES)


def test_a_thin_tail_is_no_knowledge() -> None:
    """What has run longer than nearly all before may end at any time, not when the longest did."""
    durations = Durations(100, [*[10.0] * 50, 2000.0])
    assert durations.left(20, 0.25) < 10


COSTS = {"queued": 8, "short": 5, "constant": 4.5, "constant-half": 4.5, "slower": 9, "two": 9}
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
    assert told["late_worst_s"] <= 400
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
    assert told["requests"] <= 8
    assert told["late_95th_s"] <= 1
    assert told["late_worst_s"] <= 120


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
