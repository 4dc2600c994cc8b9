"""How a cancelled flow run's task ends, so that Prefect calls the run Cancelled.

A cancelled run's job ends in many ways: it is given up, fal says that the request was cancelled,
the ledger refuses to buy. As an ordinary error, Prefect would retry the task. As an error of any
kind, Prefect would call the flow run Failed or Crashed, and an automation may start it once more,
unless the signal by which the runner ends a cancelled run has arrived. So whoever waited for such
a job waits for that signal too.
"""

from __future__ import annotations

import threading
import time

from prefect_hailuo.errors import RequestCancelledError, RunCancelledError
from prefect_hailuo.ledger.wishes import Run
from prefect_hailuo.runs import is_supervised
from prefect_hailuo.watching import watcher

SIGNAL_SECONDS = 15.0
"""How long the signal is waited for where it arrives: in the main thread, which it interrupts.
A runner that gets no events asks every 10 s whether runs were cancelled."""

OTHERS_SIGNAL_SECONDS = 3.0
"""The same in other threads, which are never interrupted, and which the main thread waits for."""


def was_cancelled(run: Run, error: BaseException) -> bool:
    """Whether a job ended because its flow run was cancelled."""
    if isinstance(error, RequestCancelledError | RunCancelledError):
        watcher().ask(run, time.monotonic())
    return watcher().cancelled_since(run) is not None


def seconds_to_signal(run: Run) -> float:
    """How long the signal for a cancelled run may still be on its way."""
    since = watcher().cancelled_since(run)
    if since is None or not is_supervised():
        return 0.0
    is_main = threading.current_thread() is threading.main_thread()
    patience = SIGNAL_SECONDS if is_main else OTHERS_SIGNAL_SECONDS
    return max(0.0, since + patience - time.monotonic())
