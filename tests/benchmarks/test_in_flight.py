"""The benchmark of thousands in flight: every row runs, and what it tells is what was measured.

The rows are run in miniature; in full: `python -m benchmarks.in_flight`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL

from benchmarks.flights.flying import Airfield, fly_row, medians
from benchmarks.flights.rows import (
    EMPTY,
    FAL_CLIENT,
    FLOOR,
    FLOOR_DURABLE,
    FLOOR_HTTPX,
    OURS,
    OURS_TENFOLD,
    ROWS,
    Entry,
    Row,
)
from benchmarks.flights.sampling import Sampler
from benchmarks.flights.telling import DOCUMENTS, MET, as_json, misstatements, said_of_goals, table
from benchmarks.in_flight import main
from benchmarks.lean_fal.process import lean_fal

ROOT = Path(__file__).parents[2]
MINIATURE = ("--repeats", "1", "--scale", "0.004", "--hurry", "100", "--single-seconds", "0.3")
ROW_NAMES = [row.name for row in ROWS]

Told = dict[str, dict[str, Any]]


def start(*options: str) -> subprocess.Popen[str]:
    """The benchmark in miniature."""
    command = [sys.executable, "-m", "benchmarks.in_flight", "--json", *MINIATURE, *options]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def outcome(benchmark: subprocess.Popen[str]) -> tuple[str, Told]:
    """What it printed, and the rows of the last line."""
    out, errors = benchmark.communicate(timeout=220)
    text, _, last = out.strip().rpartition("\n")
    assert last.startswith("["), errors
    return text, {each["row"]: each for each in json.loads(last)}


@pytest.fixture(scope="module")
def miniature(prefect_server: None) -> tuple[str, Told]:
    """All rows, the first with its peers and a server that runs already; in three processes at
    once, for much of it is waiting."""
    alone = ("--skip-peers", "--api-url", str(PREFECT_API_URL.value()), "--rows")
    with lean_fal() as elsewhere:
        parts = [
            start("--rows", ROW_NAMES[0], "--url", elsewhere.url),
            start(*alone, ",".join(ROW_NAMES[1:4])),
            start(*alone, ",".join(ROW_NAMES[4:])),
        ]
        outcomes = [outcome(part) for part in parts]
    told = {name: row for _, rows in outcomes for name, row in rows.items()}
    return "".join(printed for printed, _ in outcomes), told


@pytest.mark.campaign
@pytest.mark.parametrize("row", ROWS, ids=ROW_NAMES)
def test_every_row_flies(row: Row, miniature: tuple[str, Told]) -> None:
    """It is printed; in its figures every video was bought once, and arrived; its goal is judged
    by them, whichever way it goes at this size."""
    printed, told = miniature
    mine = told[row.name]
    assert row.title in printed
    assert set(mine) == {"row", "figures", "goal", "met"}
    assert (mine["goal"], mine["met"]) == (row.goal, row.met(mine["figures"]))
    for entry in row.entries:
        if not entry.is_peer:
            figures = mine["figures"][entry.label]
            bought = 0 if entry.label == EMPTY else figures["videos"]
            assert (figures.get("failed"), figures["arrived"]) == (None, figures["videos"])
            assert (figures["bought"], figures["bought_differing"]) == (bought, bought)


@pytest.mark.campaign
def test_the_figures_are_sound(miniature: tuple[str, Told]) -> None:
    """Nobody beats the ideal; empty tasks ask fal nothing; ten times as many are so many."""
    _, told = miniature
    assert told["plain-1000"]["figures"][OURS]["wall_over_ideal"] >= 1
    assert told["tasks-1000"]["figures"][EMPTY]["requests"] == 0
    assert told["tasks-1000"]["figures"][OURS]["events"] > 1
    assert told["batch-1000"]["figures"][OURS]["prefect_calls"] > 0
    growth = told["growth"]["figures"]
    assert growth[OURS_TENFOLD]["videos"] == 10 * growth[OURS]["videos"]
    assert told["single"]["figures"][OURS]["seen_worst_s"] > 0


@pytest.mark.campaign
def test_peers_fly_in_turn(miniature: tuple[str, Told]) -> None:
    """Next to ours, the bare loops and fal's own client; a floor costs four requests each."""
    figures = miniature[1]["plain-1000"]["figures"]
    floors = [FLOOR, FLOOR_HTTPX, FLOOR_DURABLE]
    assert list(figures) == [OURS, *floors, FAL_CLIENT]
    assert {figures[each]["requests"] for each in floors} == {4}
    assert figures[FAL_CLIENT]["requests"] > 3


@pytest.mark.parametrize(
    "spoilt",
    [{"arrived": 999}, {"bought": 1001}, {"bought_differing": 999}, {"failed": "exit code 1"}],
    ids=str,
)
def test_who_loses_or_doubles_a_video_reached_nothing(spoilt: dict[str, Any]) -> None:
    """However fast it was."""
    row = ROWS[0]
    counts = dict.fromkeys(("videos", "arrived", "bought", "bought_differing"), 1000)
    fast = {**counts, "wall_over_ideal": 1.0}
    assert as_json(row, {OURS: fast})["met"] is True
    figured = {OURS: {**fast, **spoilt}}
    assert as_json(row, figured)["met"] is False
    assert "NOT MET" in str(table(row, figured).caption)


def test_a_video_lost_in_one_run_is_lost() -> None:
    """The figures are medians, but not those of what must never happen."""
    counts = dict.fromkeys(("videos", "arrived", "bought", "bought_differing"), 1000)
    runs = [{**counts, "wall_s": float(n)} for n in (1, 2, 9)]
    runs[1]["arrived"] = 999
    told = medians(runs)
    assert (told["wall_s"], told["arrived"], told["runs"]) == (2, 999, 3)


def test_a_contender_that_fails_is_told(tmp_path: Path) -> None:
    """Its row says why, and is not met; the others fly on."""
    with lean_fal() as fal:
        field = Airfield(fal, lambda: pytest.fail("not needed"), tmp_path, lambda _: None)
        nobody = Row("r", "t", "g", lambda _: True, (Entry(OURS, "nobody", 1, is_peer=False),))
        figured = fly_row(nobody, field, repeats=2, with_peers=True)
    assert "KeyError: 'nobody'" in figured[OURS]["failed"]
    assert as_json(nobody, figured)["met"] is False


def test_a_profile_finds_who_is_busy(tmp_path: Path) -> None:
    """CPU time goes to the function that used it, not to one that waited meanwhile."""
    sampler = Sampler()
    sampler.start()
    waiting = threading.Thread(target=time.sleep, args=(0.3,))
    waiting.start()
    be_busy(0.3)
    waiting.join()
    sampler.stop()
    sampler.report(tmp_path / "profile.txt")
    first = (tmp_path / "profile.txt").read_text().partition("by itself\n")[2].split("\n")[0]
    assert first.endswith("benchmarks/test_in_flight.py:be_busy")


def test_a_profile_outlives_threads(tmp_path: Path) -> None:
    """A thread that ends in the moment in which it is looked at does not end the profile."""
    sampler = Sampler()
    sampler.start()
    for _ in range(300):
        threading.Thread(target=be_busy, args=(0.001,)).start()
    be_busy(0.3)
    sampler.stop()
    sampler.report(tmp_path / "profile.txt")
    assert float((tmp_path / "profile.txt").read_text().split()[0]) > 0.25


def be_busy(seconds: float) -> None:
    """Use CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_published_tables_have_every_row(document: str) -> None:
    """In their order, and no others; each with its verdict."""
    assert list(said_of_goals(document)) == [row.title for row in ROWS]


def test_a_document_that_says_something_else_of_a_goal_fails() -> None:
    """A goal that was reached and is called missed, or the other way round; and a video lost."""
    row = next(each for each in ROWS if each.name == "single")
    counts = dict.fromkeys(("videos", "arrived", "bought", "bought_differing"), 1)
    few = {OURS: {**counts, "requests": 4, "seen_worst_s": 0.0}}
    many = {OURS: {**counts, "requests": 40, "seen_worst_s": 0.0}}
    lost = {OURS: {**few[OURS], "arrived": 0}}
    assert all(said_of_goals(document)[row.title] == MET for document in DOCUMENTS)
    assert misstatements({row: few}) == []
    assert [line.partition(":")[0] for line in misstatements({row: many})] == list(DOCUMENTS)
    assert all("0 arrived" in line for line in misstatements({row: lost}))


def test_a_busy_server_is_told() -> None:
    """Where the server itself may have been what was waited for, the table says so."""
    counts = dict.fromkeys(("videos", "arrived", "bought", "bought_differing"), 1000)
    figured = {OURS: {**counts, "wall_over_ideal": 1.0, "server_share": 0.8}}
    assert "may have been the limit" in str(table(ROWS[0], figured).caption)


def test_an_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt row is an error, not a shorter table."""
    with pytest.raises(SystemExit, match="2"):
        main(["--rows", "plain-1000,tsaks"])
    assert "there is no row tsaks" in capsys.readouterr().err
