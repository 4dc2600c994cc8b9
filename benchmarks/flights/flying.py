"""Letting a contender fly, in a process of its own, and putting its figures together."""

from __future__ import annotations

import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.flights.flight import READY, Flight, Landing
from benchmarks.flights.prefect_server import SETTINGS, PrefectServer
from benchmarks.flights.rows import Entry, Figured, Figures, Row
from benchmarks.lean_fal.load import Load
from benchmarks.lean_fal.process import LeanFal
from benchmarks.staying_inside import ROOT, without_accounts

PAIR = Load(seconds=0.02)
"""How long the first videos take, which are made before the start signal."""

PATIENCE_SECONDS = 600.0
PATIENCE_TIMES_IDEAL = 4.0
"""When a run is given up: after so long, and so many times the ideal on top."""


WORST: Mapping[str, Callable[[Iterable[int]], int]] = {
    "arrived": min,
    "bought": max,
    "bought_differing": min,
}
"""A video that was lost or doubled in one run of three is no median."""


class CrashedError(Exception):
    """A contender did not land."""


@dataclass(frozen=True)
class Child:
    """A contender's process.

    Args:
        process: It.
        log: What it complains about.
    """

    process: subprocess.Popen[bytes]
    log: Path

    def start(self) -> None:
        """Give the start signal."""
        assert self.process.stdin  # noqa: S101
        with suppress(BrokenPipeError):  # it is gone, which the next line will tell
            self.process.stdin.write(b"go\n")
            self.process.stdin.flush()

    def hear(self, beginning: str) -> str:
        """Its next line that begins so; what libraries print in between is passed over.

        Raises:
            CrashedError: There is none.
        """
        assert self.process.stdout  # noqa: S101
        for line in self.process.stdout:
            if line.startswith(beginning.encode()):
                return line.decode()
        raise CrashedError(self._end())

    def last_words(self) -> str:
        """The last line of its complaints."""
        return self.log.read_text(errors="replace").strip().rpartition("\n")[2]

    def _end(self) -> str:
        code = self.process.wait()
        how = "given up" if code == -signal.SIGKILL else f"exit code {code}"
        return f"{how}: {self.last_words()}"


@dataclass(frozen=True)
class Airfield:
    """What the flights of a benchmark share.

    Args:
        fal: The server that stands for fal.
        prefect: Starts the Prefect server when it is first called.
        folder: Where contenders may write.
        say: Told how it goes.
        profiles: Where a profile of every run's CPU time goes; None for nowhere.
    """

    fal: LeanFal
    prefect: Callable[[], PrefectServer]
    folder: Path
    say: Callable[[str], None]
    profiles: Path | None = None

    def profile_of(self, contender: str, count: int) -> str:
        """Where the profile of a run goes; the last of several stays."""
        return str(self.profiles / f"{contender}-{count}.txt") if self.profiles else ""


def fly_row(row: Row, field: Airfield, *, repeats: int | None, with_peers: bool) -> Figured:
    """Let all contenders of a row fly in turn, several times; the medians of their figures."""
    runs: dict[str, list[Figures]] = {}
    entries = [entry for entry in row.entries if with_peers or not entry.is_peer]
    for turn in range(repeats or row.repeats):
        for entry in entries:
            if turn == 0 or repeats or not entry.is_slow:
                field.say(f"{row.name}: {entry.label}, turn {turn + 1}")
                runs.setdefault(entry.label, []).append(fly(entry, row.load, field))
    return {label: medians(figures) for label, figures in runs.items()}


def fly(entry: Entry, load: Load, field: Airfield) -> Figures:
    """Let a contender fly once; `{"failed": why}` if it crashed."""
    folder = Path(tempfile.mkdtemp(prefix=f"{entry.contender}-", dir=field.folder))
    try:
        return _fly(entry, load, field, folder)
    except (CrashedError, OSError, RuntimeError, ValueError) as error:
        return {"failed": str(error)}  # and on with the next
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fly(entry: Entry, load: Load, field: Airfield, folder: Path) -> Figures:
    server = field.prefect() if entry.in_prefect else None
    profile = field.profile_of(entry.contender, entry.count)
    flight = Flight(entry.contender, entry.count, field.fal.url, str(folder), profile)
    ideal = load.ideal_seconds(entry.count)
    field.fal.begin(PAIR)
    with _child(flight, server, PATIENCE_SECONDS + PATIENCE_TIMES_IDEAL * ideal) as child:
        child.hear(READY)
        if server:
            server.settle()
        field.fal.begin(load)
        cpu_before = server.cpu_seconds() if server else None
        child.start()
        landing = Landing(**json.loads(child.hear("{")))
        complaint = child.last_words() if landing.arrived != entry.count else None
    theirs = field.fal.figures()
    if server:
        server.settle()
    cpu_after = server.cpu_seconds() if server else None
    spent = None if cpu_before is None or cpu_after is None else cpu_after - cpu_before
    figures = _figures(entry.count, ideal, landing, theirs, spent)
    return {**figures, "complaint": complaint} if complaint else figures


@contextmanager
def _child(flight: Flight, server: PrefectServer | None, patience: float) -> Iterator[Child]:
    log = Path(flight.folder) / "stderr.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.flights.child", flight.as_json()],
            cwd=ROOT,
            env=_environment(Path(flight.folder), server),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    timer = threading.Timer(patience, process.kill)
    timer.start()
    try:
        yield Child(process, log)
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def _environment(folder: Path, server: PrefectServer | None) -> dict[str, str]:
    prefects = {"PREFECT_HOME": str(folder / "prefect"), **SETTINGS}
    if server:
        prefects["PREFECT_API_URL"] = server.api_url
    return {**without_accounts(), **prefects}


def _figures(
    count: int,
    ideal: float,
    landing: Landing,
    theirs: Mapping[str, Any],
    prefect_seconds: float | None,
) -> Figures:
    seen, told = theirs["seen_late"], theirs["told_late"]
    requests = sum(theirs["requests"].values())
    return {
        "videos": count,
        "arrived": landing.arrived,
        "bought": theirs["submitted"],
        "bought_differing": theirs["distinct"],
        "ideal_s": ideal,
        "wall_s": landing.wall_seconds,
        "wall_over_ideal": landing.wall_seconds / ideal if theirs["submitted"] else None,
        "client_cpu_ms": landing.cpu_seconds / count * 1000,
        "peak_memory_mb": landing.memory_mb,
        "requests": requests / count,
        **{f"requests_{kind}": n / count for kind, n in sorted(theirs["requests"].items())},
        "seen_median_s": seen.get("median"),
        "seen_95th_s": seen.get("p95"),
        "seen_worst_s": seen.get("worst"),
        "told_median_s": told.get("median"),
        "told_95th_s": told.get("p95"),
        "told_worst_s": told.get("worst"),
        "sockets": theirs["most_sockets"],
        "prefect_server_cpu_ms": None if prefect_seconds is None else prefect_seconds / count * 1e3,
        "prefect_calls": landing.prefect_calls / count,
        "events": landing.prefect_events / count,
        "server_share": theirs["server_share"],
        "server_busiest_second": theirs["server_busiest_second"],
    }


def medians(runs: Sequence[Figures]) -> Figures:
    """The middle of several runs' figures; the first failure, if one failed."""
    failed = [run for run in runs if "failed" in run]
    if failed:
        return failed[0]
    names = dict.fromkeys(name for run in runs for name in run)
    median = {name: _middle([run.get(name) for run in runs]) for name in names}
    worst = {name: worse(run[name] for run in runs) for name, worse in WORST.items()}
    return {**median, **worst, "runs": len(runs)}


def _middle(values: Sequence[float | str | None]) -> float | str | None:
    numbers = [value for value in values if isinstance(value, int | float)]
    words = [value for value in values if isinstance(value, str)]
    return round(statistics.median(numbers), 4) if numbers else next(iter(words), None)
