"""Cancelled flow runs: how the package notices one, and how its tasks then end.

A task that is called directly is interrupted when its flow run is cancelled, but also when its
worker is evicted: only Prefect's API tells the two apart. A task that was started with `.submit()`
or `.map()` is not interrupted at all. So while flow runs wait for videos, one thread (`Watcher`)
asks the API about them, and cancels at fal what they wanted. A thousand tasks that are interrupted
at once lead to one question.

A cancelled run's job may end in several ways: it is given up, fal says that the request was
cancelled, or the ledger refuses to buy. If the task raised that as an ordinary error, Prefect would
retry the task, or call the flow run Failed or Crashed, and an automation might start it again. So
the task first waits for the signal by which Prefect's runner ends a cancelled run.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectNotFound

from prefect_hailuo.engine.loop import Connections, Emit, StoppedError, Watch, process_loop
from prefect_hailuo.engine.road import withdraw
from prefect_hailuo.engine.session import Account, Session
from prefect_hailuo.errors import RequestCancelledError, RunCancelledError
from prefect_hailuo.ledger.attempt import Run

QUESTION_SECONDS = 5.0
"""How long Prefect's API may take to say how a flow run stands."""

CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)

STARTED_FOR = "PREFECT__FLOW_RUN_ID"
"""Where a runner, and so every worker, tells a process which flow run it was started for."""


def current_run() -> Run:
    """The flow run that this code runs in, and the one that its process was started for.

    Example:
        >>> current_run()
        Run(flow_run_id=None, root_flow_run_id=None)
    """
    flow_run_id = _flow_run_id()
    root = os.environ.get(STARTED_FOR) or flow_run_id
    return Run(flow_run_id, root) if flow_run_id else Run()


def is_in_a_run() -> bool:
    """Whether Prefect runs this code as a flow or a task.

    Example:
        >>> is_in_a_run()
        False
    """
    return bool(TaskRunContext.get() or FlowRunContext.get())


def name_of_run() -> str:
    """A name for this flow run; outside of any, for this task run.

    Example:
        >>> name_of_run()
        ''
    """
    task = TaskRunContext.get()
    return _flow_run_id() or (str(task.task_run.id) if task else "")


def is_supervised() -> bool:
    """Whether a runner will end this process when its flow run is cancelled.

    Example:
        >>> is_supervised()
        False
    """
    return bool(os.environ.get(STARTED_FOR))


def cancelled_runs(flow_runs: Collection[str]) -> set[str]:
    """Which of some flow runs Prefect's API calls cancelled, or about to be cancelled.

    A run that the API does not know is not among them: its video is still wanted.

    Args:
        flow_runs: Ids of flow runs.

    Raises:
        Exception: The API could not be asked; of what kind, Prefect does not say.
    """
    # A client of our own: the flow's ends with the flow, and its threads may outlive that.
    with get_client(sync_client=True, httpx_settings={"timeout": QUESTION_SECONDS}) as client:
        # One by one: with newer releases of FastAPI, the server refuses the client's bulk query.
        return {each for each in flow_runs if _state_of(client, each) in CANCELLED}


def _state_of(client: SyncPrefectClient, flow_run: str) -> StateType | None:
    try:
        return client.read_flow_run(UUID(flow_run)).state_type
    except ObjectNotFound:
        return None


def _flow_run_id() -> str | None:
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if flow is not None and flow.flow_run is not None:
        return str(flow.flow_run.id)
    if task is not None and task.task_run.flow_run_id is not None:
        return str(task.task_run.flow_run_id)
    return None


ASK_SECONDS = 2.0
"""How often Prefect's API is asked whether a flow run that waits was cancelled."""

SETTLING_SECONDS = 8.0
"""How long an interrupted job waits until Prefect has answered and fal has been told; Prefect kills
a cancelled process after 30 s, and a submission under way may need the rest."""


@dataclass(eq=False)
class Watched(Watch):
    """A job that a flow run waits for.

    Args:
        run: The flow run.
        account: Where to cancel, if anywhere.
    """

    run: Run
    account: Account | None
    cancels: list[Callable[[], object]] = field(default_factory=list)

    def started(self, cancel: Callable[[], object]) -> None:
        """Remember how to give the job up."""
        self.cancels.append(cancel)

    def interrupted(self, at: float) -> None:
        """Cancel at fal what the flow run wanted, if the flow run was cancelled."""
        watcher().ask(self.run, at)

    def give_up(self) -> None:
        """Give the job up."""
        for cancel in self.cancels:
            cancel()


@dataclass(frozen=True)
class Answer:
    """What Prefect said of a run; what was to be done about it has been done.

    Args:
        asked_at: When it was asked, on the machine's monotonic clock.
        cancelled: Which of the run's ids are cancelled; None where it could not be asked.
    """

    asked_at: float
    cancelled: frozenset[str] | None


NO_ANSWER = Answer(-math.inf, None)
NOT_CANCELLED: frozenset[str] = frozenset()


class Watcher:
    """Asks Prefect about the flow runs that wait in this process."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._hurry = threading.Event()
        self._watched: set[Watched] = set()
        self._thread: threading.Thread | None = None
        self._answers: dict[Run, Answer] = {}
        self._cancelled_since: dict[Run, float] = {}

    @contextmanager
    def watching(self, watched: Watched) -> Iterator[None]:
        """Watch a job for as long as it is waited for."""
        with self._news:
            self._watched.add(watched)
            if self._thread is None and watched.run.ids:
                self._start()
        try:
            yield
        finally:
            with self._news:
                self._watched.discard(watched)

    def ask(self, run: Run, at: float) -> frozenset[str] | None:
        """Which of a run's ids Prefect has cancelled, and has had at an instant or later.

        What they wanted is then withdrawn. An answer from before that instant does not count: less
        time lies between a cancellation and the interruption than between two questions.

        Args:
            run: A run of which a job is being watched.
            at: The instant, on the machine's monotonic clock.

        Returns:
            None if Prefect cannot be asked: a run not known to be cancelled wants its video.
        """
        if not run.ids:
            return NOT_CANCELLED
        deadline = time.monotonic() + SETTLING_SECONDS
        with self._news:
            while (answer := self._answers.get(run, NO_ANSWER)).asked_at < at:
                self._hurry.set()
                if not self._news.wait(deadline - time.monotonic()):
                    return None
        return answer.cancelled

    def cancelled_since(self, run: Run) -> float | None:
        """When a run was first known to be cancelled, on the monotonic clock; None if it is not."""
        with self._news:
            return self._cancelled_since.get(run)

    def _start(self) -> None:
        # Prefect's settings, and so its API's address, may be in the caller's context.
        self._thread = threading.Thread(
            target=copy_context().run,
            args=[self._watch],
            name="prefect-hailuo-watcher",
            daemon=True,
        )
        self._thread.start()

    def _watch(self) -> None:
        while runs := self._runs():
            for run in runs:
                self._look_after(run)

    def _runs(self) -> set[Run]:
        """The runs to ask about, when it is time to; none when nobody waits any more."""
        self._hurry.wait(ASK_SECONDS)
        self._hurry.clear()
        with self._news:
            runs = {each.run for each in self._watched if each.run.ids}
            if not runs:
                self._thread = None
                self._answers.clear()
                self._cancelled_since.clear()
            return runs

    def _look_after(self, run: Run) -> None:
        asked_at = time.monotonic()
        cancelled = _ask_prefect(run)
        if cancelled:
            self._stop(run, cancelled, asked_at)
        with self._news:
            if cancelled == NOT_CANCELLED:
                self._cancelled_since.pop(run, None)
            self._answers[run] = Answer(asked_at, cancelled)
            self._news.notify_all()

    def _stop(self, run: Run, cancelled: frozenset[str], at: float) -> None:
        with self._news:
            self._cancelled_since.setdefault(run, at)
            jobs = [each for each in self._watched if each.run == run]
        # First the ledger: from then on, nothing is bought for the run, here or elsewhere.
        for account in {each.account for each in jobs if each.account is not None}:
            _withdraw(run.only(cancelled), account)
        for each in jobs:
            each.give_up()


def _ask_prefect(run: Run) -> frozenset[str] | None:
    try:
        return frozenset(cancelled_runs(run.ids))
    except Exception:
        return None


def _withdraw(run: Run, account: Account) -> None:
    async def job(connections: Connections, emit: Emit) -> None:
        await withdraw(run, Session(account.access, account.ledger, connections))

    # What it misses is done the next time; after the last, by the flow's hook or the sweep.
    with suppress(Exception, StoppedError):
        process_loop().run(job)


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


SIGNAL_SECONDS = 15.0
"""How long the main thread waits for the signal, which interrupts it. A runner that gets no events
asks every 10 s whether runs were cancelled."""

OTHERS_SIGNAL_SECONDS = 3.0
"""How long other threads wait: they are never interrupted, and the main thread waits for them."""


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
