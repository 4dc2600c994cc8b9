"""How long imports take, each in a fresh interpreter, in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping

from benchmarks.flights.rows import OURS, Figured
from benchmarks.staying_inside import ROOT, without_accounts

STATEMENTS: Mapping[str, str] = {
    "import prefect": "import prefect",
    "from prefect import flow, task": "from prefect import flow, task",
    OURS: "import prefect_hailuo",
}
MEASURED = """\
import time
wall, cpu = time.perf_counter(), time.process_time()
{statement}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def import_times(times: int, say: Callable[[str], None]) -> Figured:
    """The medians, and by how much ours is above `import prefect` in the same turn.

    Args:
        times: How often; the median passes over the first, which reads the disk and may compile.
        say: Told how it goes.
    """
    turns = []
    for turn in range(times):
        say(f"import, turn {turn + 1}")
        try:
            turns.append({label: _measure(each) for label, each in STATEMENTS.items()})
        except subprocess.CalledProcessError as error:
            return {OURS: {"failed": str(error)}}
    return {label: _figures(label, turns) for label in STATEMENTS}


def _figures(
    label: str, turns: list[dict[str, tuple[float, float]]]
) -> dict[str, float | int | str]:
    wall, cpu = (statistics.median(turn[label][n] for turn in turns) for n in (0, 1))
    walls, cpus = (
        statistics.median(turn[label][n] - turn["import prefect"][n] for turn in turns)
        for n in (0, 1)
    )
    in_ms = {"import_ms": wall, "import_cpu_ms": cpu, "more_ms": walls, "more_cpu_ms": cpus}
    return {"runs": len(turns), **{name: round(s * 1000, 1) for name, s in in_ms.items()}}


def _measure(statement: str) -> tuple[float, float]:
    program = MEASURED.format(statement=statement)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=without_accounts(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall, cpu = done.stdout.split()
    return float(wall), float(cpu)
