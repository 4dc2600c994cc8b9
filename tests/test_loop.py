"""One event loop for the process: who may call it, what a cancellation does, how it ends."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from types import FrameType
from typing import Any

import anyio
import anyio.to_thread
import pytest
from children import Child, run_python

from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.loop import Connections, Emit, ProcessLoop, StoppedError, process_loop


@pytest.fixture
def loop() -> Iterator[ProcessLoop]:
    """A loop of the test's own, to be ended in it."""
    started = ProcessLoop()
    yield started
    started.close()


async def thread_name(connections: Connections, emit: Emit) -> str:
    """A job that tells where it ran, after giving others a turn."""
    await anyio.sleep(0.01)
    return threading.current_thread().name


async def count_to_three(connections: Connections, emit: Emit) -> int:
    """A job that emits three events."""
    for number in (1, 2, 3):
        emit(number)
    return 3


class Waiting:
    """A job that waits for ever, and notes how it ended."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended: str | None = None

    async def __call__(self, connections: Connections, emit: Emit) -> None:
        emit("begun")
        self.begun.set()
        try:
            await anyio.sleep_forever()
        except BaseException as error:
            self.ended = type(error).__name__
            raise


async def buy(connections: Connections, emit: Emit) -> None:
    """A job in the middle of what must not be interrupted, as a submission must not."""
    emit("begun")
    with anyio.CancelScope(shield=True):
        await anyio.sleep(0.2)
        emit("bought")
    await anyio.sleep_forever()


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


# Who may call it


async def test_callers_on_several_event_loops_share_it() -> None:
    """Each of several event loops, in threads of their own, gets its answer from the one loop."""

    def caller() -> str:
        return asyncio.run(process_loop().arun(thread_name))

    here = await process_loop().arun(thread_name)
    names = await asyncio.gather(*(asyncio.to_thread(caller) for _ in range(8)))
    assert {here, *names} == {"prefect-hailuo"}


def test_event_loops_one_after_the_other_share_it() -> None:
    """Nothing is bound to a caller's loop: after it has closed, the next one is served as well."""
    assert [asyncio.run(process_loop().arun(count_to_three)) for _ in range(3)] == [3, 3, 3]


def test_events_are_handled_in_the_callers_thread_in_order(loop: ProcessLoop) -> None:
    """A synchronous caller handles every event itself, in order, before it has the answer."""
    handled: list[tuple[object, int]] = []
    loop.run(count_to_three, lambda event: handled.append((event, threading.get_ident())))
    assert handled == [(number, threading.get_ident()) for number in (1, 2, 3)]


async def test_events_are_handled_on_the_callers_loop_in_order(loop: ProcessLoop) -> None:
    """An asynchronous caller handles them on its own loop, one after the other."""
    handled: list[tuple[object, asyncio.AbstractEventLoop]] = []

    async def handle(event: object) -> None:
        await asyncio.sleep(0)
        handled.append((event, asyncio.get_running_loop()))

    await loop.arun(count_to_three, handle)
    assert handled == [(number, asyncio.get_running_loop()) for number in (1, 2, 3)]


def test_a_job_that_calls_the_loop_it_runs_on_is_told_so(loop: ProcessLoop) -> None:
    """It would wait for itself for ever, so it gets an error at once."""

    async def call_synchronously(connections: Connections, emit: Emit) -> int:
        return loop.run(count_to_three)

    async def call_asynchronously(connections: Connections, emit: Emit) -> int:
        return await loop.arun(count_to_three)

    for job in (call_synchronously, call_asynchronously):
        with pytest.raises(RuntimeError, match="the loop that it runs on"):
            loop.run(job)


def test_one_jobs_exit_leaves_the_others_alone(loop: ProcessLoop) -> None:
    """`sys.exit` in a job, say by a storage block, is its own caller's error and nobody else's."""

    async def leave(connections: Connections, emit: Emit) -> None:
        await anyio.to_thread.run_sync(sys.exit, 3)

    with ThreadPoolExecutor() as pool:
        other = pool.submit(loop.run, thread_name)
        with pytest.raises(RuntimeError, match=r"SystemExit\(3\)"):
            loop.run(leave)
        assert other.result() == loop.run(thread_name) == "prefect-hailuo"


def test_fifty_threads_that_start_it_at_once_share_one() -> None:
    """All get their answers, from one thread."""
    child = run_program(
        """
        with ThreadPoolExecutor(50) as pool:
            together = threading.Barrier(50)
            ask = lambda _: (together.wait(), process_loop().run(answer))[1]
            print(sum(pool.map(ask, range(50))))
        print([thread.name for thread in threading.enumerate()].count("prefect-hailuo"))
        """
    )
    assert (child.stdout.split(), child.stderr) == ([str(50 * 42), "1"], "")


def test_two_hundred_jobs_leave_no_descriptor_open(
    loop: ProcessLoop, emulator: FalEmulator
) -> None:
    """Callers of either colour, their event loops and their requests give back what they take."""

    async def ask(connections: Connections, emit: Emit) -> None:
        await connections.http.get(emulator.url)

    loop.run(ask)
    before = descriptors()
    for number in range(100):
        loop.run(count_to_three if number % 10 else ask)
        asyncio.run(loop.arun(count_to_three if number % 10 else ask))
    assert descriptors() == before


def descriptors() -> int:
    """How many file descriptors this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


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


# Forks


def ask_loop() -> tuple[str, int]:
    """Asked in a child of multiprocessing's."""
    return process_loop().run(thread_name), os.getpid()


def test_a_spawned_process_has_a_loop_of_its_own() -> None:
    """Prefect's `ProcessPoolTaskRunner` always spawns."""
    assert ask_loop() == ("prefect-hailuo", os.getpid())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        name, pid = pool.submit(ask_loop).result(30)
    assert name == "prefect-hailuo" and pid != os.getpid()
    assert ask_loop() == ("prefect-hailuo", os.getpid())


def test_a_forked_process_has_a_loop_of_its_own() -> None:
    """multiprocessing's children, forked after the parent's loop began, have one each."""
    child = run_program(
        """
        from multiprocessing import get_context

        def ask(number):
            return process_loop().run(answer), os.getpid()

        parents = ask(0)
        with get_context("fork").Pool(2) as pool:
            answers = pool.map(ask, range(10), chunksize=5)
        print({answer for answer, _ in answers}, parents in answers, ask(0) == parents)
        """
    )
    assert (child.stdout, child.stderr) == ("{42} False True\n", "")


def test_a_fork_while_jobs_are_under_way_harms_neither_side(emulator: FalEmulator) -> None:
    """Forked from any thread, parent and child go on, the parent's job and connections too."""
    child = run_program(
        """
        async def ask(connections, emit):
            emit("begun")
            await anyio.sleep(0.3)
            return (await connections.http.get(sys.argv[1])).status_code

        def fork_and_ask():
            pid = os.fork()
            if pid == 0:
                os._exit(0 if process_loop().run(ask) == 405 else 1)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        process_loop().run(ask)  # there is a connection now, which both sides know
        begun = threading.Event()
        with ThreadPoolExecutor() as pool:
            under_way = pool.submit(process_loop().run, ask, lambda event: begun.set())
            begun.wait()
            children = [fork_and_ask(), pool.submit(fork_and_ask).result()]
            print(*children, under_way.result(), process_loop().run(ask))
        """,
        emulator.url,
    )
    assert (child.stdout.split(), child.stderr) == (["0", "0", "405", "405"], "")


# The interpreter's exit

TRACEBACK = {
    "Traceback (most recent call last):",
    "During handling of the above exception, another exception occurred:",
    "asyncio.exceptions.CancelledError",
}

PRELUDE = """\
import asyncio, logging, os, signal, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor
import anyio
from prefect_hailuo.loop import process_loop

# Python warns of a fork beside threads from 3.12 on; that it goes well is what is shown here.
warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
# In development mode asyncio tells of every slow step, and this machine may be busy.
logging.getLogger("asyncio").setLevel(logging.ERROR)

async def answer(connections, emit):
    await anyio.sleep(0.01)
    return 42

async def forever(connections, emit):
    emit("begun")
    await anyio.sleep_forever()

def end(number=None):
    print(time.monotonic(), flush=True)
    if number:
        os.kill(os.getpid(), number)

def interrupt_soon(event):
    threading.Timer(0.1, end, [signal.SIGINT]).start()

async def ainterrupt_soon(event):
    interrupt_soon(event)

def start_in_daemons():
    begun = threading.Barrier(3)

    async def say(event):
        begun.wait()

    for target in (
        lambda: process_loop().run(forever, lambda event: begun.wait()),
        lambda: asyncio.run(process_loop().arun(forever, say)),
    ):
        threading.Thread(target=target, daemon=True).start()
    begun.wait()
"""


def run_program(code: str, *arguments: str, **options: Any) -> Child:
    """Run a program that knows the jobs above."""
    return run_python(PRELUDE + dedent(code), *arguments, **options)


@pytest.mark.parametrize(
    ("code", "exit_code", "last_words"),
    [
        pytest.param("process_loop().run(answer); end()", 0, "", id="idle"),
        pytest.param("start_in_daemons(); end()", 0, "", id="busy"),
        pytest.param("start_in_daemons(); end(); sys.exit(3)", 3, "", id="sys.exit"),
        pytest.param(
            "start_in_daemons(); end(); raise ValueError", 1, "ValueError", id="exception"
        ),
        pytest.param(
            "process_loop().run(forever, interrupt_soon)",
            -signal.SIGINT,
            "KeyboardInterrupt",
            id="Ctrl-C",
        ),
        pytest.param(
            "asyncio.run(process_loop().arun(forever, ainterrupt_soon))",
            -signal.SIGINT,
            "KeyboardInterrupt",
            id="Ctrl-C, awaiting",
        ),
        pytest.param("start_in_daemons(); end(signal.SIGTERM)", -signal.SIGTERM, "", id="SIGTERM"),
    ],
)
def test_the_interpreter_ends_quickly_and_quietly(
    code: str, exit_code: int, last_words: str
) -> None:
    """However a program ends, the loop adds no delay, no noise and no other exit code."""
    child = run_program(code, flags=["-X", "dev", "-W", "error"])
    said = [line for line in child.stderr.splitlines() if line and not line.startswith(" ")]
    assert (child.code, said[-1:]) == (exit_code, [last_words] if last_words else [])
    assert set(said) <= {last_words, *TRACEBACK}
    assert child.ended_at - float(child.stdout) < 3


def test_it_ends_so_in_a_program_of_prefects_too() -> None:
    """Prefect has threads and an exit of its own; neither side disturbs the other."""
    child = run_program("start_in_daemons(); end()", before="import prefect_hailuo\n")
    assert (child.code, child.stderr) == (0, "")
    assert child.ended_at - float(child.stdout) < 3


def test_a_purchase_under_way_is_finished_before_the_interpreter_ends() -> None:
    """Exit waits a little for what is shielded, so that what it buys is not lost."""
    child = run_program(
        """
        begun = threading.Event()

        async def buy(connections, emit):
            emit("begun")
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.2)
                print("bought", flush=True)
            await anyio.sleep_forever()

        def wait_for_it():
            process_loop().run(buy, lambda event: begun.set())

        threading.Thread(target=wait_for_it, daemon=True).start()
        begun.wait()
        """
    )
    assert (child.stdout, child.stderr, child.code) == ("bought\n", "", 0)
