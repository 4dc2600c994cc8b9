"""The benchmark against fal's own client: it runs, it is honest, and it cannot leave this machine.

Two rows are run here; all of them: `python -m benchmarks.bought_once`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from benchmarks.bought_once import main
from benchmarks.outcomes import NotHit, Outcome, Played, as_json
from benchmarks.rows import ROWS
from benchmarks.surroundings import WORTHLESS_KEY, Surroundings

ROOT = Path(__file__).parents[2]
KEPT = Outcome(charged=1, videos=1, runs=1, ended_well=True, proof="")


@pytest.mark.campaign
def test_two_rows(prefect_server: None) -> None:
    """Where fal's client in a task with retries pays twice, this package pays once."""
    run = ("dropped", "killed-running")
    options = ["--rows", ",".join(run), "--json", "--api-url", str(PREFECT_API_URL.value())]
    command = [sys.executable, "-m", "benchmarks.bought_once", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table, _, last_line = done.stdout.strip().rpartition("\n")
    told = {each["row"]: each for each in json.loads(last_line)}
    for name in run:
        theirs, ours = told[name]["figures"].values()
        assert (ours["charged"], ours["videos"], told[name]["met"]) == (1, 1, True)
        assert (theirs["charged"], theirs["videos"]) == (2, 1)
    assert "4 charged, 2 arrived" in table
    assert "2 charged, 2 arrived" in table


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


def test_the_measured_table_has_every_row() -> None:
    """The table that was printed once is in the benchmark's README, row by row."""
    measured = (ROOT / "benchmarks" / "README.md").read_text()
    assert [row.title for row in ROWS if row.title not in measured] == []


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
