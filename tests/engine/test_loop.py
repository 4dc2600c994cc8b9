"""One event loop for the process: who may call it, and how it answers."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio.to_thread
import pytest
from process_loops import count_to_three, run_program, thread_name

from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.loop import Connections, Emit, ProcessLoop, process_loop


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
