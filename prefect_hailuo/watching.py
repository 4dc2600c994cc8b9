"""Noticing that a flow run was cancelled, also where its tasks see nothing of it.

A task that is called directly is interrupted, but so it is when its worker is evicted: only
Prefect's API tells the two apart. A task that was started with `.submit()` or `.map()` is told
nothing at all. So while flow runs wait for videos, a thread asks the API about them.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.generation import Road
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.wishes import Run
from prefect_hailuo.loop import Connections, Emit, StoppedError, Watch, process_loop
from prefect_hailuo.runs import cancelled_runs

ASK_SECONDS = 2.0
"""How often Prefect's API is asked whether a flow run that waits was cancelled."""

LEAST_PAUSE_SECONDS = 1.0
"""How old an answer may be, when a thousand tasks are interrupted at once."""


@dataclass(frozen=True)
class Office:
    """An account and its ledger: what it takes to cancel there.

    Args:
        access: The account.
        ledger: Where its purchases are written down.
    """

    access: Access
    ledger: LedgerAddress


@dataclass(eq=False)
class Watched(Watch):
    """A job that a flow run waits for.

    Args:
        run: The flow run.
        office: Where to cancel, if anywhere.
    """

    run: Run
    office: Office | None
    cancels: list[Callable[[], object]] = field(default_factory=list)

    def started(self, cancel: Callable[[], object]) -> None:
        """Remember how to give the job up."""
        self.cancels.append(cancel)

    def interrupted(self) -> None:
        """Cancel at fal what the flow run wanted, if it is that which was cancelled."""
        watcher().interrupted(self)

    def give_up(self) -> None:
        """Give the job up."""
        for cancel in self.cancels:
            cancel()


class Watcher:
    """Asks Prefect about the flow runs that wait in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._watched: set[Watched] = set()
        self._thread: threading.Thread | None = None
        self._asked: dict[Run, tuple[float, bool]] = {}
        self._withdrawn: dict[tuple[Run, Office], float] = {}

    @contextmanager
    def watching(self, watched: Watched) -> Iterator[None]:
        """Watch a job for as long as it is waited for."""
        with self._lock:
            self._watched.add(watched)
            if self._thread is None and watched.run.ids:
                self._thread = threading.Thread(
                    target=self._watch, name="prefect-hailuo-watcher", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.discard(watched)

    def interrupted(self, watched: Watched) -> None:
        """Withdraw what an interrupted job's flow run wanted, if that was cancelled."""
        if self.is_cancelled(watched.run):
            self._withdraw(watched.run, watched.office)

    def is_cancelled(self, run: Run) -> bool:
        """Whether Prefect has a flow run cancelled; asked at most once a second."""
        if not run.ids:
            return False
        with self._asking:
            at, answer = self._asked.get(run, (-math.inf, False))
            if time.monotonic() - at > LEAST_PAUSE_SECONDS:
                try:
                    answer = bool(cancelled_runs(run.ids))
                except Exception:
                    answer = False  # who is not known to be cancelled wants its video
                self._asked[run] = (time.monotonic(), answer)
            return answer

    def _watch(self) -> None:
        while True:
            time.sleep(ASK_SECONDS)
            with self._lock:
                jobs = [each for each in self._watched if each.run.ids]
                if not jobs:
                    self._thread = None
                    self._asked.clear()
                    return
            for run in {each.run for each in jobs}:
                if self.is_cancelled(run):
                    self._give_up([each for each in jobs if each.run == run])

    def _give_up(self, jobs: list[Watched]) -> None:
        # First the ledger: from then on, nothing is bought for the run, here or elsewhere.
        for run, office in {(each.run, each.office) for each in jobs}:
            self._withdraw(run, office)
        for each in jobs:
            each.give_up()

    def _withdraw(self, run: Run, office: Office | None) -> None:
        if office is None:
            return

        async def job(connections: Connections, emit: Emit) -> None:
            await Road(office.access, office.ledger, connections).withdraw(run)

        with self._asking:
            if time.monotonic() - self._withdrawn.get((run, office), -math.inf) < ASK_SECONDS:
                return
            # What it misses, the flow's hook and the sweep find in the ledger.
            with suppress(Exception, StoppedError):
                process_loop().run(job)
                self._withdrawn[run, office] = time.monotonic()


_lock = threading.Lock()
_watcher: Watcher | None = None


def watcher() -> Watcher:
    """The watcher of this process. A forked child gets one of its own."""
    global _watcher
    with _lock:
        if _watcher is None:
            _watcher = Watcher()
        return _watcher


def _forget_parents_watcher() -> None:
    global _lock, _watcher
    _lock = threading.Lock()
    _watcher = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_watcher)
