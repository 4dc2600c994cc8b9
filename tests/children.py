"""What the tests share that start a Python of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import dedent

import prefect_hailuo

WITHOUT_PREFECT = f"""\
import sys, types
package = sys.modules["prefect_hailuo"] = types.ModuleType("prefect_hailuo")
package.__path__ = {list(prefect_hailuo.__path__)!r}
"""
"""Makes the package one without its Prefect face: most of it needs none, and is there at once."""

INTERRUPTIBLE = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
"""Lets Ctrl-C end the program, also where it is ignored, as in a shell's background jobs."""


@dataclass(frozen=True)
class Child:
    """How a program ended, and when, on the machine's monotonic clock."""

    code: int
    stdout: str
    stderr: str
    ended_at: float


FORKED = """import os, sys
exec(sys.argv[1])
for code in sys.argv[2:]:
    pid = os.fork()
    if not pid:
        exec(code)
        sys.exit()
    if os.waitpid(pid, 0)[1]:
        sys.exit(code)
"""


def run_forked(before: str, codes: Sequence[str]) -> str:
    """Run programs, each in a process that has run `before`, which is loaded once for all.

    Returns:
        What they printed.
    """
    done = subprocess.run(
        [sys.executable, "-c", FORKED, before, *codes], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(
    code: str, *arguments: object, flags: Sequence[str] = (), before: str = WITHOUT_PREFECT
) -> Child:
    """Run a program in a Python of its own, to its end."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", INTERRUPTIBLE + before + dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Child(done.returncode, done.stdout, done.stderr, time.monotonic())
