"""Where a contender's CPU time goes, by looking at its threads' stacks every few milliseconds.

What a thread has used since the last look goes to the functions that it is found in: threads that
wait use nothing. It costs a few per cent; a profiler that follows every call would double what it
measures.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

SAMPLE_SECONDS = 0.005
SWITCH_SECONDS = 0.0001
LINES = 60


class Sampler:
    """Samples from when it is started until it is stopped."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._switch_seconds = sys.getswitchinterval()
        self._used: dict[int, float] = {}
        self._alone: dict[str, float] = defaultdict(float)
        self._with_callees: dict[str, float] = defaultdict(float)

    def start(self) -> None:
        """Begin."""
        # Else the looks would mostly come when a thread gives way by itself, as before it waits.
        sys.setswitchinterval(SWITCH_SECONDS)
        self._look(count=False)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.join()
        sys.setswitchinterval(self._switch_seconds)

    def report(self, path: Path) -> None:
        """Write two lists: functions by their own time, and by their time with all they call."""
        path.write_text(
            f"{sum(self._alone.values()):.2f} s of CPU time\n"
            f"\nby itself\n{self._ranked(self._alone)}"
            f"\nwith what it calls\n{self._ranked(self._with_callees)}"
        )

    def _run(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            self._look(count=True)

    def _look(self, *, count: bool) -> None:
        known = {each.ident: each.native_id for each in threading.enumerate()}
        for thread, frame in sys._current_frames().items():
            try:
                used = time.clock_gettime(_clock_of(known[thread] or 0))
            except (KeyError, OSError):
                continue  # it has just ended
            seconds = used - self._used.get(thread, 0.0)
            self._used[thread] = used
            if count and seconds > 0 and thread != self._thread.ident:
                self._note(frame, seconds)

    def _note(self, innermost: FrameType, seconds: float) -> None:
        self._alone[_name(innermost)] += seconds
        names = set()
        frame: FrameType | None = innermost
        while frame is not None:
            names.add(_name(frame))
            frame = frame.f_back
        for name in names:
            self._with_callees[name] += seconds

    def _ranked(self, seconds: dict[str, float]) -> str:
        total = sum(self._alone.values()) or 1
        ranked = sorted(seconds.items(), key=lambda each: -each[1])[:LINES]
        return "".join(f"{each / total:6.1%}  {name}\n" for name, each in ranked)


def _clock_of(native_id: int) -> int:
    """The clock of a thread's CPU time, as Linux numbers them. Of a thread that has ended it is an
    error, where `time.pthread_getcpuclockid` crashes the process."""
    return (~native_id << 3) | 6


def _name(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    return f"{'/'.join(path.parts[-2:])}:{frame.f_code.co_name}"
