"""The ground on which one contender plays one row: an emulator of fal, a folder, processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Literal

from benchmarks.surroundings import WORTHLESS_KEY, Surroundings
from prefect_hailuo.emulator import FalEmulator, Fault, Submission

Contender = Literal["fal_client", "prefect_hailuo"]

PROMPT = "A red fox crosses a snowy field at dawn."
OTHERS_PROMPT = "Somebody else's video, which keeps fal's only runner busy."
WORK_SECONDS = 3.0
"""How long the emulator works on a video: long enough to be killed in."""

SURELY_A_VIDEO_BYTES = 2**20
"""No other file that a contender writes is as long."""

MOST_RUNS = 4
"""After so many runs without success a scheduler, or its owner, gives up."""

RUN_SECONDS = 180.0
"""How long a run may take, or the moment that is waited for, on a machine that stalls."""

TICK_SECONDS = 0.001


class NotHitError(Exception):
    """What was to go wrong did not: the row says nothing."""


@dataclass
class Ground:
    """One contender's.

    Args:
        contender: Whose flow runs.
        surroundings: What all share.
        emulator: Stands for fal.
        folder: Its own.
    """

    contender: Contender
    surroundings: Surroundings
    emulator: FalEmulator
    folder: Path
    runs: int = 0
    proof: str = "nothing was to go wrong"
    video: bytes = b""
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def videos(self) -> Path:
        """Where the videos are to arrive."""
        return self.folder / "videos"

    def start(self) -> subprocess.Popen[bytes]:
        """Run the flow, in a process of its own."""
        self.runs += 1
        self.videos.mkdir(parents=True, exist_ok=True)
        program = Path(__file__).with_name(f"with_{self.contender}.py")
        with (self.folder / f"run-{self.runs}.log").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, str(program), PROMPT, str(self.videos)],
                cwd=self.folder,
                env=self.surroundings.environment(self.folder, self.emulator.url),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._children.append(child)
        return child

    def run_to_end(self) -> bool:
        """Run the flow until it succeeds, as a scheduler would; whether it did."""
        return any(ends_well(self.start()) for _ in range(self.runs, MOST_RUNS))

    def kill_when(self, reached: Callable[[], bool], point: str) -> None:
        """Run the flow, kill it at a point, and show that it was there still when it was dead.

        Raises:
            NotHitError: It ended first, or passed the point.
        """
        child = self.start()
        self.wait_until(lambda: reached() or child.poll() is not None, point)
        child.send_signal(signal.SIGKILL)
        code = child.wait()
        if code != -signal.SIGKILL or not reached():
            raise NotHitError(f"it was not killed {point} (exit code {code})")
        self.proof = f"SIGKILL {point}: {self.what_fal_saw()}"

    def go_wrong(self, *faults: Fault) -> bool:
        """Let things go wrong at fal, once, and run the flow until it succeeds.

        Raises:
            NotHitError: They did not.
        """
        self.emulator.faults.add(*faults)
        ended = self.run_to_end()
        struck = sum(self.emulator.faults.struck(fault) for fault in faults)
        if not struck:
            raise NotHitError("no fault struck")
        self.proof = f"{struck} fault(s) struck: {self.what_fal_saw()}"
        return ended

    def forget_results(self) -> None:
        """Clear Prefect's cache: every result that it persisted."""
        storage = self.folder / "prefect" / "storage"
        kept = len(list(storage.glob("*"))) if storage.exists() else 0
        if not kept:
            raise NotHitError("Prefect had no results to clear")
        rmtree(storage)
        self.proof = f"{kept} persisted result(s) of Prefect's were deleted"

    def submissions(self) -> list[Submission]:
        """What fal accepted from this contender, oldest first."""
        accepted = self.emulator.submissions
        return [each for each in accepted if each.body.get("prompt") == PROMPT]

    def state(self) -> str:
        """Where the only request is, in fal's words; or how many there are."""
        accepted = self.submissions()
        return accepted[0].state.value if len(accepted) == 1 else f"{len(accepted)} requests"

    def asked(self, *kinds: str) -> int:
        """How many requests of some kinds fal has seen."""
        return sum(self.emulator.requests[kind] for kind in kinds)

    def what_fal_saw(self) -> str:
        """The emulator's counters, for people."""
        seen = ", ".join(f"{count} {kind}" for kind, count in self.emulator.requests.items())
        return f"{self.state()}; {seen}"

    def is_downloading(self) -> bool:
        """Whether a part of a long video is there, and nowhere the whole."""
        return SURELY_A_VIDEO_BYTES < self.longest_file() < len(self.video)

    def longest_file(self) -> int:
        """The size of the longest file where the videos are to arrive; hidden ones count."""
        return max(_sizes(self.videos), default=0)

    def arrived(self) -> int:
        """How many whole videos are there; hidden files are nobody's videos."""
        files = [path for path in self.videos.rglob("[!.]*") if path.is_file()]
        return sum(path.read_bytes() == self.video for path in files)

    def charged(self) -> int:
        """What fal charged for, once everything that it accepted has ended."""
        done = "fal is done"
        self.wait_until(
            lambda: all(each.state.value == "COMPLETED" for each in self.submissions()), done
        )
        return self.emulator.charged

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for something to be so.

        Raises:
            NotHitError: It never was.
        """
        end = time.monotonic() + RUN_SECONDS
        while not true():
            if time.monotonic() > end:
                said = f"its last words: {self.last_words()}"
                raise NotHitError(f"waited {RUN_SECONDS:g} s in vain for: {what}; {said}")
            time.sleep(TICK_SECONDS)

    def last_words(self) -> str:
        """The last line that the last run printed."""
        log = (self.folder / f"run-{self.runs}.log").read_text(errors="replace")
        return log.strip().rpartition("\n")[2]

    def stop(self) -> None:
        """End whatever still runs."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
                child.wait()


def ends_well(child: subprocess.Popen[bytes]) -> bool:
    """Wait for a run; whether it succeeded."""
    with suppress(subprocess.TimeoutExpired):
        return child.wait(RUN_SECONDS) == 0
    child.kill()
    child.wait()
    return False


@contextmanager
def ground(
    contender: Contender, row: str, shared: Surroundings, padding: int, runners: int
) -> Iterator[Ground]:
    """Make a ground.

    Args:
        contender: Whose.
        row: Which row it is for.
        shared: What all share.
        padding: By how many bytes the video is made longer, so that its download takes a while.
        runners: How many requests fal works on at once.
    """
    video = shared.video + _free_box(padding)
    with FalEmulator(
        clip=video,
        realm="fal",
        api_key=WORTHLESS_KEY,
        concurrency=runners,
        durations=_work_seconds,
        certificate=shared.certificate,
        private_key=shared.private_key,
    ) as emulator:
        folder = shared.folder / f"{row}-{contender}"
        made = Ground(contender, shared, emulator, folder, video=video)
        try:
            yield made
        finally:
            made.stop()


def _work_seconds(submission: Submission) -> float:
    return WORK_SECONDS if submission.body.get("prompt") == PROMPT else 3600.0


def _free_box(size: int) -> bytes:
    """A box of an MP4 file that holds nothing, and that every reader skips."""
    return size.to_bytes(4, "big") + b"free" + bytes(size - 8) if size else b""


def _sizes(folder: Path) -> list[int]:
    sizes = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # it was moved in this moment
            sizes.append(path.stat().st_size)
    return sizes
