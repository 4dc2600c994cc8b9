"""The loop of a process, when that forks, spawns, or ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor

import pytest
from process_loops import run_program, run_to_a_quick_end, thread_name

from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.loop import process_loop

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
                os._exit(0 if process_loop().run(ask) == 200 else 1)
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
    assert (child.stdout.split(), child.stderr) == (["0", "0", "200", "200"], "")


# The interpreter's exit

TRACEBACK = {
    "Traceback (most recent call last):",
    "During handling of the above exception, another exception occurred:",
    "asyncio.exceptions.CancelledError",
}


@pytest.mark.parametrize(
    ("code", "exit_code", "last_words"),
    [
        pytest.param("process_loop().run(answer); end()", 0, "", id="idle"),
        pytest.param("start_in_daemons(); end()", 0, "", id="busy"),
        pytest.param(
            "start_in_daemons(); end(); sys.exit(3)",
            3,
            "",
            marks=pytest.mark.campaign,
            id="sys.exit",
        ),
        pytest.param(
            "start_in_daemons(); end(); raise ValueError",
            1,
            "ValueError",
            marks=pytest.mark.campaign,
            id="exception",
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
    child = run_to_a_quick_end(code, flags=["-X", "dev", "-W", "error"])
    said = [line for line in child.stderr.splitlines() if line and not line.startswith(" ")]
    assert (child.code, said[-1:]) == (exit_code, [last_words] if last_words else [])
    assert set(said) <= {last_words, *TRACEBACK}


def test_it_ends_so_in_a_program_of_prefects_too() -> None:
    """Prefect has threads and an exit of its own; neither side disturbs the other."""
    child = run_to_a_quick_end("start_in_daemons(); end()", before="import prefect_hailuo.tasks\n")
    assert (child.code, child.stderr) == (0, "")


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
