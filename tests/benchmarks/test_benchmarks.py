"""The benchmark against fal's own client: honest, published as it is, and only on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from benchmarks.bought_once import main
from benchmarks.outcomes import CONTENDERS, NotHit, Outcome, Played, as_json, misstatements
from benchmarks.published import published
from benchmarks.rows import ROWS
from benchmarks.surroundings import WORTHLESS_KEY, Surroundings

ROOT = Path(__file__).parents[2]
KEPT = Outcome(charged=1, videos=1, runs=1, ended_well=True, proof="")


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_what_the_documents_publish_is_so(prefect_server: None) -> None:
    """Every row is hit, and what was charged and arrived is what the documents say of it."""
    options = ["--check", "--json", "--api-url", str(PREFECT_API_URL.value())]
    command = [sys.executable, "-m", "benchmarks.bought_once", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.strip().rpartition("\n")[2])
    assert [(each["row"], each["met"]) for each in told] == [(row.name, True) for row in ROWS]


def as_published() -> Played:
    """What came of the rows where all is as the documents say."""
    counted = published("docs/exactly-once.md", "what happened, once")
    return {
        (row.name, contender): Outcome(int(cell.split()[0]), 1, 1, ended_well=True, proof="")
        for row in ROWS
        for contender, cell in zip(CONTENDERS, counted[row.title], strict=True)
    }


def test_documents_that_say_what_came_of_it_pass() -> None:
    """All of it, the sums too; and of a few rows, what is said of these."""
    played = as_published()
    assert misstatements(ROWS, played) == []
    few = {at: each for at, each in played.items() if at[0] in ("dropped", "undisturbed")}
    assert misstatements(ROWS, few) == []


@pytest.mark.parametrize(
    "other",
    [
        NotHit("it was not killed while queued"),
        Outcome(charged=2, videos=1, runs=2, ended_well=True, proof=""),
        Outcome(charged=1, videos=0, runs=4, ended_well=False, proof=""),
    ],
    ids=["not hit", "charged twice", "nothing arrived"],
)
def test_documents_that_say_something_else_fail(other: Outcome | NotHit) -> None:
    """Each that does: what it says, and what is so."""
    wrong = misstatements(ROWS, as_published() | {("killed-queued", "prefect_hailuo"): other})
    for document in ("benchmarks/README.md", "docs/exactly-once.md"):
        assert any(line.startswith(f"{document}: 'killed while queued'") for line in wrong), wrong


def test_a_row_that_was_not_run_says_so() -> None:
    """It has no figures, and kept no promise."""
    told = as_json(ROWS, {("dropped", "prefect_hailuo"): KEPT})
    assert [each["met"] for each in told] == [None] * len(ROWS)
    assert told[0]["figures"] == {"fal_client": "not run", "prefect_hailuo": "not run"}


def test_a_row_in_which_nothing_went_wrong_counts_for_nothing() -> None:
    """A kill that missed is no proof, whichever contender it missed."""
    missed = NotHit("it was not killed while running")
    played: Played = {("dropped", "fal_client"): missed, ("dropped", "prefect_hailuo"): KEPT}
    told = {each["row"]: each["met"] for each in as_json(ROWS, played)}
    assert told["dropped"] is False


@pytest.mark.parametrize(
    "broken",
    [
        Outcome(charged=2, videos=1, runs=1, ended_well=True, proof=""),
        Outcome(charged=1, videos=0, runs=1, ended_well=True, proof=""),
        Outcome(charged=1, videos=1, runs=4, ended_well=False, proof=""),
    ],
    ids=["bought twice", "nothing arrived", "the flow failed"],
)
def test_a_broken_promise_is_told(broken: Outcome) -> None:
    """One charge, one video and a flow that succeeds: short of any of these, the goal is missed."""
    played: Played = {("dropped", "fal_client"): KEPT, ("dropped", "prefect_hailuo"): broken}
    told = {each["row"]: each["met"] for each in as_json(ROWS, played)}
    assert told["dropped"] is False


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help names every row."""
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert all(row.name in printed for row in ROWS)


def test_an_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt row is an error, not a shorter table."""
    with pytest.raises(SystemExit, match="2"):
        main(["--rows", "dropped,druck"])
    assert "there is no row druck" in capsys.readouterr().err


def test_the_published_tables_have_every_row() -> None:
    """In their order, and no others but the sums."""
    titles = [row.title for row in ROWS]
    assert list(published("docs/exactly-once.md", "what happened, once")) == titles
    assert list(published("benchmarks/README.md", "What happened, once"))[:-1] == titles


def test_no_flow_gets_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real key, another profile and proxies of this machine stay out of the flows' processes."""
    mine = {"FAL_KEY": "my:own", "FAL_KEY_ID": "my", "PREFECT_API_KEY": "p", "https_proxy": "http"}
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    shared = Surroundings(tmp_path, "http://127.0.0.1:1/api", tmp_path, tmp_path, b"")
    environment = shared.environment(tmp_path, "https://127.0.0.1:2")
    assert {name: environment.get(name) for name in mine} == {
        "FAL_KEY": WORTHLESS_KEY,
        "FAL_KEY_ID": None,
        "PREFECT_API_KEY": None,
        "https_proxy": None,
    }


@pytest.mark.campaign
def test_no_process_leaves_this_machine() -> None:
    """The benchmark's process and its children refuse to connect to any other host."""
    leave = "import socket; socket.create_connection(('192.0.2.1', 443), 0.1)"  # reserved: nobody
    program = (
        "import subprocess, sys\n"
        "from benchmarks.surroundings import stay_inside\n"
        "stay_inside()\n"
        f"subprocess.run([sys.executable, '-c', {leave!r}], check=False)\n"
        f"{leave}\n"
    )
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, env=bare, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.count("ConnectionRefusedError: A test tried") == 2
