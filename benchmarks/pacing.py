"""When to ask how a request stands: the package's policy against a fal that is made up.

    python -m benchmarks.pacing
    python -m benchmarks.pacing --scenario queued,constant,drops --count 10000

No connection is opened and no time is waited: the rule of `prefect_hailuo.fal.follow` is
driven on virtual time, against a queue that gives positions and streams as fal does. Requests
are what each generation costs in all: POST, questions, streams, result, download. "Seen late" is
the time from the end of a request until the process knows of it.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.pacing_runs.queue import Request, SimulatedQueue
from benchmarks.pacing_runs.scenarios import EXPECTED_SECONDS, SCENARIOS, Scenario
from benchmarks.pacing_runs.timeline import Timeline
from benchmarks.pacing_runs.waiting import Process, Waiter
from prefect_hailuo.fal.follow import Durations, Queue
from prefect_hailuo.fal.messages import InQueue

COLUMNS = {
    "scenario": "scenario",
    "requests": "requests a generation",
    "questions": "of them questions",
    "streams": "of them streams",
    "late_median_s": "seen late, median",
    "late_95th_s": "95th",
    "late_worst_s": "worst",
    "late_worst_share": "worst, of what may be",
    "most_streams": "streams at once",
    "frames": "frames a generation",
    "busiest_second": "questions, busiest second",
    "cpu_s": "CPU",
}


@dataclass(frozen=True)
class Size:
    """How large a simulation is.

    Args:
        count: How many requests.
        streams: How many streams there may be.
        seed: Of all chance.
        submitted_in: Seconds that submitting takes.
    """

    count: int = 100_000
    streams: int = 512
    seed: int = 1
    submitted_in: float = 0.0


def simulate(scenario: Scenario, size: Size) -> dict[str, Any]:
    """Run one scenario; its figures."""
    began = time.process_time()
    timeline, chance = Timeline(), random.Random(size.seed)  # noqa: S311 - no secret
    queue = SimulatedQueue(timeline, scenario, chance)
    process = Process(timeline, queue, scenario, size.streams, chance)
    expected = EXPECTED_SECONDS * scenario.prior
    queues = [Queue(Durations(expected)) for _ in range(2 if scenario.second_by else 1)]
    _submit(process, scenario, size, queues)
    timeline.run()
    figures = process.tally.told(queue.frames)
    return {"scenario": scenario.title, **figures, "cpu_s": time.process_time() - began}


def _submit(process: Process, scenario: Scenario, size: Size, queues: list[Queue]) -> None:
    requests = [
        Request(n, each) for n, each in enumerate(scenario.durations(size.count, size.seed))
    ]

    def submit(request: Request) -> None:
        position = process.queue.submit(request)
        if not scenario.restart:
            waited = queues[request.number % len(queues)]
            told = position if scenario.positions else None
            waiting = waited.enter(process.time.now, InQueue(queue_position=told))
            Waiter(process, waiting, waited, request)

    for request in requests:
        process.time.after(size.submitted_in * request.number / size.count, submit, request)
    total = sum(request.seconds for request in requests) / (scenario.at_once or size.count)
    for step in range(scenario.steps_back):
        process.time.after(total * step / scenario.steps_back, process.queue.step_back)
    if scenario.restart:
        process.time.run(until=total / 2)
        _reattach(process, requests, queues)


def _reattach(process: Process, requests: list[Request], queues: list[Queue]) -> None:
    now = process.time.now
    for request in requests:
        waited = queues[request.number % len(queues)]
        request.ended_at = now if request.completed else 0.0
        Waiter(process, waited.enter(now, age=now), waited, request)


def table(told: Sequence[dict[str, Any]], size: Size) -> Table:
    """The figures of all scenarios."""
    drawn = Table(title=f"{size.count:,} requests, {size.streams} streams")
    for name, title in COLUMNS.items():
        drawn.add_column(title, justify="left" if name == "scenario" else "right")
    for each in told:
        drawn.add_row(*(_cell(name, each[name]) for name in COLUMNS))
    return drawn


def _cell(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" + (" s" if name.endswith("_s") or "late" in name else "")
    return str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _parser().parse_args(arguments)
    gc.disable()  # it would look through hundreds of thousands of objects, again and again
    size = Size(options.count, options.streams, options.seed, options.submitted_in)
    told = {name: simulate(SCENARIOS[name], size) for name in options.scenario}
    Console(width=170, highlight=False).print(table(list(told.values()), size))
    if options.json:
        sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pacing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    listed = "; ".join(f"{name}: {each.title}" for name, each in SCENARIOS.items())
    add("--scenario", type=_names, default=["queued"], metavar="NAME,…|all", help=listed)
    add("--count", type=int, default=Size.count)
    add("--streams", type=int, default=Size.streams)
    add("--seed", type=int, default=Size.seed)
    add("--submitted-in", type=float, default=10.0, help="seconds that submitting takes")
    add("--json", action="store_true", help="print all figures as the last line of the output")
    return parser


def _names(text: str) -> list[str]:
    names = list(SCENARIOS) if text == "all" else text.split(",")
    if unknown := set(names) - set(SCENARIOS):
        raise argparse.ArgumentTypeError(f"there is no scenario {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
