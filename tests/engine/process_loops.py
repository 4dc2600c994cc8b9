"""What the tests of the process's loop share: a loop, jobs for it, and programs that use it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import anyio
import pytest
from children import Child, run_python

from prefect_hailuo.engine.loop import Connections, Emit, ProcessLoop

PRELUDE = """\
import asyncio, logging, os, signal, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor
import anyio
from prefect_hailuo.engine.loop import process_loop

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

QUICK_SECONDS = 3.0

MOST_RUNS = 3


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


def run_program(code: str, *arguments: str, **options: Any) -> Child:
    """Run a program that knows the jobs above."""
    return run_python(PRELUDE + dedent(code), *arguments, **options)


def run_to_a_quick_end(code: str, **options: Any) -> Child:
    """Run a program that tells when its end begins, until it has ended quickly from there on.

    A busy machine makes one run slow; a delay of the loop's own makes all of them slow.
    """
    for _ in range(MOST_RUNS):
        child = run_program(code, **options)
        if child.ended_at - float(child.stdout) < QUICK_SECONDS:
            return child
    pytest.fail(f"Each of {MOST_RUNS} runs took {QUICK_SECONDS:g} s or more to end.")
