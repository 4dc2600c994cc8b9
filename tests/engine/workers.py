"""Real processes that fetch a video, to be killed, frozen, thawed, and asked what they got."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from children import WITHOUT_PREFECT
from nursery import Errand, written

from prefect_hailuo.models.video import Video

PATIENCE_SECONDS = 120.0


def wait_until(happened: Callable[[], object], what: str = "") -> None:
    """Wait until something has happened; it is an error if it does not."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < until, f"It never happened: {what or happened}"
        time.sleep(0.005)


@dataclass(frozen=True)
class Outcome:
    """What a worker came back with: a video, or the name of an error and its message."""

    video: Video | None = None
    error: str | None = None
    message: str = ""


@dataclass(frozen=True)
class Worker:
    """A process on an errand."""

    pid: int
    errand: Errand

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, 0)
            return True
        return False

    @property
    def is_ready(self) -> bool:
        """Whether it only waits for the starting shot."""
        return Path(self.errand.report).with_suffix(".ready").exists()

    def kill(self) -> None:
        """End it on the spot: it sees nothing of it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.is_alive, "killed")

    def freeze(self) -> None:
        """Stop it where it is, unless it has ended."""
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(self.pid, signal.SIGSTOP)
            wait_until(lambda: self._state() in "Tt", "frozen")

    def thaw(self) -> None:
        """Let it go on."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def outcome(self) -> Outcome:
        """Wait for its end: what it came back with."""
        wait_until(lambda: not self.is_alive, f"ended {self.errand}")
        report = Path(self.errand.report)
        log = report.with_suffix(".log").read_text()
        assert report.exists(), f"It ended without a report: {log}"
        assert not log, log
        told = json.loads(report.read_text())
        if "video" in told:
            return Outcome(Video.model_validate(told["video"]))
        return Outcome(None, told["error"], told["message"])

    def _state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]


class Nursery:
    """Starts workers, a few milliseconds each."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._count = 0

    def start(self, errand: Errand) -> Worker:
        """Send a worker on an errand; where its report goes is decided here."""
        self._count += 1
        sent = replace(errand, report=str(self._folder / f"{self._count}.json"))
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(written(sent))
        self._process.stdin.flush()
        return Worker(int(self._process.stdout.readline()), sent)


@contextmanager
def open_nursery(folder: Path) -> Iterator[Nursery]:
    """A nursery; at the end it starts no more."""
    program = f"{WITHOUT_PREFECT}\nimport nursery\nnursery.fork_workers()"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        yield Nursery(process, folder)


class Workers:
    """The workers of one test; whoever is left at its end is killed.

    Args:
        nursery: Starts them.
        errand: What each is sent for, unless told otherwise.
    """

    def __init__(self, nursery: Nursery, errand: Errand) -> None:
        self._nursery = nursery
        self.errand = errand
        self._started: list[Worker] = []

    def start(self, **changes: object) -> Worker:
        """Send one more."""
        worker = self._nursery.start(replace(self.errand, **changes))  # type: ignore[arg-type]
        self._started.append(worker)
        return worker

    def dismiss(self) -> None:
        """Kill whoever is left."""
        for worker in self._started:
            worker.kill()


def is_whole(video: Video | None, content: bytes) -> bool:
    """Whether a video is in its place, and is what fal served."""
    if video is None or video.path is None or not video.path.exists():
        return False
    kept = video.path.read_bytes()
    return kept == content and hashlib.sha256(kept).hexdigest() == video.sha256
