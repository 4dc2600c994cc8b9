"""What a cancellation does to the jobs of the process's loop, and how it stops."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

import anyio
import pytest
from process_loops import Waiting, buy, count_to_three

from prefect_hailuo.engine.loop import ProcessLoop, StoppedError


class Terminated(BaseException):
    """What Prefect's `TerminationSignal` is: raised by a signal handler."""


@contextmanager
def alarm_terminates() -> Iterator[None]:
    """Have the handler of the alarm signal raise in the main thread, wherever that is then."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGALRM, terminate)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Cancelling


def test_a_handlers_error_cancels_the_job_and_surfaces(loop: ProcessLoop) -> None:
    """What the caller cannot handle ends the job: nothing goes on that nobody listens to."""
    waiting = Waiting()

    def fail(event: object) -> None:
        raise LookupError(event)

    with pytest.raises(LookupError, match="begun"):
        loop.run(waiting, fail)
    assert waiting.ended == "CancelledError"


async def test_an_asynchronous_handlers_error_does_so_too(loop: ProcessLoop) -> None:
    """The same for a caller that awaits."""
    waiting = Waiting()

    async def fail(event: object) -> None:
        raise LookupError(event)

    with pytest.raises(LookupError, match="begun"):
        await loop.arun(waiting, fail)
    assert waiting.ended == "CancelledError"


async def test_cancelling_the_caller_cancels_the_job(loop: ProcessLoop) -> None:
    """A cancelled task, and one whose time is up, end their jobs before they go on."""
    cancelled, late = Waiting(), Waiting()
    task = asyncio.create_task(loop.arun(cancelled))
    await asyncio.to_thread(cancelled.begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TimeoutError), anyio.fail_after(0.1):
        await loop.arun(late)
    assert (cancelled.ended, late.ended) == ("CancelledError", "CancelledError")


async def test_what_is_shielded_is_finished_before_the_cancellation_surfaces(
    loop: ProcessLoop,
) -> None:
    """A purchase under way ends, and its event is handled, before the caller sees the cancel."""
    handled: list[object] = []

    async def handle(event: object) -> None:
        handled.append(event)
        if event == "begun":
            task.cancel()

    task = asyncio.create_task(loop.arun(buy, handle))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handled == ["begun", "bought"]


def test_what_is_shielded_is_finished_before_a_signal_surfaces(loop: ProcessLoop) -> None:
    """The same for a signal handler that raises while a synchronous caller waits."""
    handled: list[object] = []

    def handle(event: object) -> None:
        handled.append(event)
        if event == "begun":
            signal.setitimer(signal.ITIMER_REAL, 0.05)

    with pytest.raises(Terminated), alarm_terminates():
        loop.run(buy, handle)
    assert handled == ["begun", "bought"]


def test_a_handlers_error_does_not_take_the_place_of_a_signal(loop: ProcessLoop) -> None:
    """Prefect retries after an ordinary error, and so would buy anew what was just cancelled."""

    def fail_at_last(event: object) -> None:
        if event == "bought":
            raise LookupError
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    with pytest.raises(Terminated), alarm_terminates():
        loop.run(buy, fail_at_last)


async def test_nor_the_place_of_a_cancellation(loop: ProcessLoop) -> None:
    """The same for a caller that awaits."""

    async def fail_at_last(event: object) -> None:
        if event == "begun":
            task.cancel()
        else:
            raise LookupError

    task = asyncio.create_task(loop.arun(buy, fail_at_last))
    with pytest.raises(asyncio.CancelledError):
        await task


# Stopping


def test_stopping_is_no_ordinary_error(loop: ProcessLoop) -> None:
    """Whoever waits when the loop ends gets a BaseException, which Prefect does not retry."""
    assert not issubclass(StoppedError, Exception)
    waiting, awaiting = Waiting(), Waiting()
    with ThreadPoolExecutor() as pool:
        callers = [
            pool.submit(loop.run, waiting),
            pool.submit(lambda: asyncio.run(loop.arun(awaiting))),
        ]
        waiting.begun.wait()
        awaiting.begun.wait()
        loop.close()
        assert [type(caller.exception(5)) for caller in callers] == [StoppedError] * 2


async def test_nothing_starts_once_it_is_stopping(loop: ProcessLoop) -> None:
    """A job for a loop that ends is refused, and never called."""
    loop.close()
    with pytest.raises(StoppedError):
        await asyncio.to_thread(loop.run, Waiting())
    with pytest.raises(StoppedError):
        await loop.arun(pytest.fail)  # type: ignore[arg-type]


def test_whoever_calls_while_it_stops_gets_an_answer_or_that(loop: ProcessLoop) -> None:
    """However the moments fall, there is no third way out, and nobody waits for ever."""

    def call_on_and_on() -> BaseException:
        while True:
            try:
                assert loop.run(count_to_three) == 3
            except BaseException as error:
                return error

    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(call_on_and_on) for _ in range(8)]
        time.sleep(0.1)
        loop.close()
        assert {type(caller.result(5)) for caller in callers} == {StoppedError}
