"""A contender's process: it gets ready, waits for the start signal, flies, and tells how it went.

Everything that is done once a process (imports, connections, a first pair of videos) is done
before the start signal: what is measured is the flight.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.flights.flight import ENDPOINT, FIRST_ENDPOINT, READY, Flight, Landing, Wanted
from benchmarks.flights.sampling import Sampler

CONTENDERS = {
    "ours-plain": "ours:plain",
    "ours-batch": "ours:batch",
    "ours-tasks": "ours:tasks",
    "floor": "bare_loop:fly",
    "floor-httpx": "bare_loop:fly_over_httpx",
    "floor-durable": "bare_loop:fly_durably",
    "fal-client-gather": "around_fal_client:gathered",
    "prefect-map": "prefect_around_fal_client:mapped",
    "prefect-gather": "prefect_around_fal_client:gathered",
    "empty-tasks": "empty_tasks:fly",
    "empty-tasks-persisted": "empty_tasks:fly_persisted",
}
"""Where each contender's function is: given a flight and what is wanted, how many arrived."""

FIRST_PAIR = 2

Fly = Callable[[Flight, Wanted], int]


def main() -> None:
    """The process."""
    flight = Flight.from_json(sys.argv[1])
    flight.videos.mkdir(parents=True, exist_ok=True)
    module, _, function = CONTENDERS[flight.contender].partition(":")
    fly: Fly = getattr(importlib.import_module(f"benchmarks.flights.{module}"), function)
    count_calls, settle = _prefects() if "prefect" in sys.modules else (lambda: (0, 0), int)
    fly(flight, Wanted.of(FIRST_PAIR, FIRST_ENDPOINT))
    settle()
    gc.collect()
    _say(READY)
    sys.stdin.readline()
    _say(json.dumps(asdict(_measured(flight, fly, count_calls, settle))))
    sys.stdout.flush()
    os._exit(0)  # what a library does at the interpreter's exit is nobody's flight


def _measured(
    flight: Flight,
    fly: Fly,
    count_calls: Callable[[], tuple[int, int]],
    settle: Callable[[], object],
) -> Landing:
    sampler = Sampler()
    if flight.profile:
        sampler.start()
    calls, events = count_calls()
    wall, cpu = time.perf_counter(), time.process_time()
    arrived = fly(flight, Wanted.of(flight.count, ENDPOINT))
    wall = time.perf_counter() - wall
    settle()
    cpu = time.process_time() - cpu
    calls_after, events_after = count_calls()
    if flight.profile:
        sampler.stop()
        sampler.report(Path(flight.profile))
    return Landing(arrived, wall, cpu, peak_mb(), calls_after - calls, events_after - events)


def _prefects() -> tuple[Callable[[], tuple[int, int]], Callable[[], object]]:
    from benchmarks.flights.prefect_traffic import Traffic

    traffic = Traffic()
    return traffic.counted, traffic.settle


def peak_mb() -> float:
    """The most memory that this process ever had, in megabytes."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
