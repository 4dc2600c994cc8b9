"""Cancelling flow runs by Prefect's API, where no runner is there to interrupt them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from deployments import A_GENERATION, until
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelling

from prefect_hailuo import FalCredentials, Hailuo02ProTextToVideo, generate_video
from prefect_hailuo.emulator import FalEmulator, ManualClock, delay
from prefect_hailuo.engine.loop import StoppedError
from prefect_hailuo.tasks.sweep import sweep

pytestmark = pytest.mark.usefixtures("prefect_server")

FOX = Hailuo02ProTextToVideo(prompt="A red fox.")
OWL = Hailuo02ProTextToVideo(prompt="An owl.")

buy = generate_video.with_options(retries=2, retry_condition_fn=lambda *_: True)


@pytest.fixture
def clock() -> ManualClock:
    """Stands still until it is advanced."""
    return ManualClock()


@pytest.fixture
def emulator(clock: ManualClock) -> Iterator[FalEmulator]:
    """An emulator whose generations last until the test lets them end."""
    with FalEmulator(clock=clock, clip="plain") as started:
        yield started


class Run:
    """A flow that buys, in a thread of its own.

    Args:
        credentials: Of the emulator.
        storage: Where its video goes.
        wanted: What it buys.
    """

    def __init__(
        self, credentials: FalCredentials, storage: Path, wanted: Hailuo02ProTextToVideo = FOX
    ) -> None:
        self.ids: list[UUID] = []
        self.buy = partial(buy, wanted, credentials=credentials, storage=str(storage))
        self.result = in_a_thread(flow(name="buyer")(self._flow))

    def _flow(self) -> Any:
        self.ids.append(this_run())
        return self.buy()

    def cancel(self) -> None:
        """Cancel it, and wait until it has ended."""
        cancel(self.ids[0])
        assert isinstance(self.result.exception(30), StoppedError)


def in_a_thread(work: Callable[[], Any]) -> Future[Any]:
    """Do something elsewhere, with Prefect's settings as they are here."""
    with_one_thread = ThreadPoolExecutor(1)
    future = with_one_thread.submit(copy_context().run, work)
    with_one_thread.shutdown(wait=False)
    return future


def this_run() -> UUID:
    """The id of the flow run that this code runs in."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    return context.flow_run.id


def cancel(run: UUID) -> None:
    """Cancel a flow run, as the interface does."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())


def requested(emulator: FalEmulator, many: int = 1) -> None:
    """Wait until fal has requests, and somebody follows each."""
    until("fal has them", lambda: len(emulator.submissions) == many)
    until("they are followed", lambda: emulator.requests["stream"] >= many)


def test_what_somebody_else_wants_is_not_cancelled(
    emulator: FalEmulator, clock: ManualClock, credentials: FalCredentials, tmp_path: Path
) -> None:
    """Two wait for one video, one of them outside of any flow: it gets it."""
    run = Run(credentials, tmp_path / "one")
    requested(emulator)
    storage = str(tmp_path / "two")
    other = in_a_thread(partial(generate_video, FOX, credentials=credentials, storage=storage))
    until("both follow it", lambda: emulator.requests["stream"] == 2)
    run.cancel()
    assert emulator.requests["cancel"] == 0
    clock.advance(A_GENERATION)
    assert other.result(30).is_there()
    assert emulator.charged == 1


def test_what_nobody_wants_any_more_is_cancelled_once(
    emulator: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """When the last of those who wait for it is cancelled."""
    first = Run(credentials, tmp_path / "one")
    requested(emulator)
    second = Run(credentials, tmp_path / "two")
    until("both follow it", lambda: emulator.requests["stream"] == 2)
    first.cancel()
    assert emulator.requests["cancel"] == 0
    second.cancel()
    assert (emulator.requests["cancel"], len(emulator.submissions)) == (1, 1)


def test_what_completes_all_the_same_is_collected_by_the_sweep(
    emulator: FalEmulator, clock: ManualClock, credentials: FalCredentials, tmp_path: Path
) -> None:
    """The model was at work and paid no heed: its video was paid for, and is kept."""
    run = Run(credentials, tmp_path)
    requested(emulator)
    run.cancel()
    clock.advance(A_GENERATION)
    assert [row.outcome for row in sweep(credentials=[credentials]).rows] == ["collected"]
    again = generate_video(FOX, credentials=credentials, storage=str(tmp_path))
    assert again.is_there()
    assert (len(emulator.submissions), emulator.charged) == (1, 1)


def test_what_completes_all_the_same_is_collected_by_a_later_run(
    emulator: FalEmulator, clock: ManualClock, credentials: FalCredentials, tmp_path: Path
) -> None:
    """Another flow run attaches to a request that fal was asked to cancel."""
    run = Run(credentials, tmp_path)
    requested(emulator)
    run.cancel()
    later = Run(credentials, tmp_path)
    until("it is followed again", lambda: emulator.requests["stream"] == 2)
    clock.advance(A_GENERATION)
    assert later.result.result(30).is_there()
    assert (len(emulator.submissions), emulator.charged) == (1, 1)


def test_a_cancel_during_the_submission_is_sent_once_there_is_a_ticket(
    emulator: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """fal has accepted, and not yet answered."""
    emulator.faults.add(delay("submit", 5.0))
    run = Run(credentials, tmp_path)
    until("fal has it", lambda: emulator.submissions)
    run.cancel()
    assert (emulator.requests["cancel"], len(emulator.submissions)) == (1, 1)


def test_what_was_taken_from_the_queue_is_bought_anew(
    emulator: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """Also where fal's answer to the cancellation comes later than the cancelled result."""
    fal = credentials.get_client()
    for each in (OWL, OWL):  # it takes their place in the queue
        fal.submit(each.endpoint.id, each.body())
    emulator.faults.add(delay("cancel", 1.0))
    run = Run(credentials, tmp_path)
    until("it is in the queue", lambda: emulator.requests["stream"])
    run.cancel()
    again = Run(credentials, tmp_path)
    until("it is bought anew", lambda: len(emulator.submissions) == 4)
    again.cancel()


def test_a_cancelled_subflow_takes_nothing_from_its_parent(
    emulator: FalEmulator, clock: ManualClock, credentials: FalCredentials, tmp_path: Path
) -> None:
    """Only what the subflow wanted is cancelled; the parent buys on."""
    subflows: list[UUID] = []
    mine = partial(buy, credentials=credentials, storage=str(tmp_path))

    @flow
    def subflow() -> None:
        subflows.append(this_run())
        mine(FOX)

    @flow
    def parent() -> Any:
        with suppress(StoppedError):
            subflow()
        return mine(OWL)

    result = in_a_thread(parent)
    requested(emulator)
    cancel(subflows[0])
    requested(emulator, 2)
    assert emulator.requests["cancel"] == 1
    clock.advance(A_GENERATION)
    assert result.result(30).prompt == "An owl."


def test_a_run_goes_on_while_prefect_cannot_be_asked(
    emulator: FalEmulator, clock: ManualClock, credentials: FalCredentials, tmp_path: Path
) -> None:
    """Prefect's API is out of reach for two questions: nothing is cancelled."""
    gate = Gate()
    until("nobody asks past the gate", lambda: "prefect-hailuo-watcher" not in threads())
    with temporary_settings({PREFECT_API_URL: gate.url, PREFECT_CLIENT_MAX_RETRIES: 0}):
        run = Run(credentials, tmp_path)
        requested(emulator)
        gate.shut = True
        until("it was asked in vain", lambda: gate.refused >= 2)
        gate.shut = False
        clock.advance(A_GENERATION)
        assert run.result.result(60).is_there()
    assert (emulator.requests["cancel"], emulator.charged) == (0, 1)


def threads() -> set[str]:
    """The names of this process's threads."""
    return {each.name for each in threading.enumerate()}


class Gate:
    """Passes connections on to Prefect's API, unless it is shut.

    It is never closed: what Prefect has left to tell of the test's runs, it tells at its very end.
    """

    def __init__(self) -> None:
        api = urlsplit(PREFECT_API_URL.value() or "")
        self.shut = False
        self.refused = 0
        self._behind = (str(api.hostname), api.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{api.path}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            came, _ = self._listener.accept()
            if self.shut:
                self.refused += 1
                came.close()
            else:
                with suppress(OSError):
                    self._join(came, socket.create_connection(self._behind))

    def _join(self, one: socket.socket, other: socket.socket) -> None:
        for source, sink in ((one, other), (other, one)):
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while (data := source.recv(65536)) and not self.shut:
                sink.sendall(data)
        for each in (source, sink):  # closed, it would not wake who reads it in another thread
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
