"""The rows of the table: who flies, how far, and what is to be reached, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.lean_fal.load import Load

OURS = "prefect-hailuo"
OURS_TENFOLD = "prefect-hailuo, ten times as many"
FLOOR = "floor: aiohttp alone"
FLOOR_HTTPX = "floor: aiohttp, POSTs by httpx"
FLOOR_DURABLE = "floor: the same, all written down"
FAL_CLIENT = "fal_client, gather"
PREFECT_MAP = "Prefect sync .map, fal_client"
PREFECT_GATHER = "Prefect async gather, fal_client"
EMPTY = "empty Prefect tasks"
EMPTY_PERSISTED = "empty Prefect tasks, persisted"

Figures = Mapping[str, Any]
Figured = Mapping[str, Figures]
"""Figures by contender."""


@dataclass(frozen=True)
class Entry:
    """A contender in a row.

    Args:
        label: How the table names it.
        contender: Which of `flights.child.CONTENDERS`.
        count: How many videos.
        in_prefect: Whether it needs a Prefect server.
        is_slow: Whether it takes minutes, so that once is enough unless more is asked for.
        is_peer: Whether it is only there to compare with, and the goal does without it.
    """

    label: str
    contender: str
    count: int
    in_prefect: bool = False
    is_slow: bool = False
    is_peer: bool = True


@dataclass(frozen=True)
class Row:
    """A row.

    Args:
        name: What `--rows` calls it.
        title: What the table calls it, and the documents.
        goal: What is to be reached, in words.
        met: The same in code; asked only if every video was bought once and arrived.
        entries: Who flies, in turn.
        load: What the server makes of it.
        repeats: How often each flies, unless it is said.
    """

    name: str
    title: str
    goal: str
    met: Callable[[Figured], bool]
    entries: tuple[Entry, ...] = ()
    load: Load = field(default_factory=Load)
    repeats: int = 1

    def scaled(self, scale: float, hurry: float) -> Row:
        """A smaller row, to try it out.

        Args:
            scale: What the counts are multiplied by.
            hurry: What the durations are divided by.
        """
        entries = tuple(replace(e, count=_share(e.count, scale)) for e in self.entries)
        at_once = self.load.at_once and max(2, _share(self.load.at_once, scale))
        load = replace(self.load, seconds=self.load.seconds / hurry, at_once=at_once)
        return replace(self, entries=entries, load=load)


def _share(count: int, scale: float) -> int:
    return max(1, round(count * scale))


def _growth(figured: Figured) -> float:
    few, many = (figured[label]["client_cpu_ms"] for label in (OURS, OURS_TENFOLD))
    return float(many / few - 1)


def _ours(contender: str, count: int, *, in_prefect: bool = False) -> Entry:
    return Entry(OURS, contender, count, in_prefect, is_peer=False)


TEN_SECONDS = Load(seconds=10)
TWO_MINUTES = Load(seconds=120)
ONE_MINUTE = Load(seconds=60)
HEAVY_TAIL = Load(seconds=5, spread=1.0, at_once=40)
"""Half take less than 5 s, one in twenty more than 26 s, the longest of 2,000 some minutes."""
EIGHT_MINUTES = Load(seconds=480)

PLAIN_1000 = Row(
    "plain-1000",
    "1,000 × 10 s, no Prefect, ledger on",
    "≤ 1.15 × ideal",
    lambda f: f[OURS]["wall_over_ideal"] <= 1.15,
    (
        _ours("ours-plain", 1000),
        Entry(FLOOR, "floor", 1000),
        Entry(FLOOR_HTTPX, "floor-httpx", 1000),
        Entry(FLOOR_DURABLE, "floor-durable", 1000),
        Entry(FAL_CLIENT, "fal-client-gather", 1000, is_slow=True),
    ),
    TEN_SECONDS,
    repeats=3,
)
BATCH_1000 = Row(
    "batch-1000",
    "1,000 × 10 s, generate_videos in a flow",
    "≤ 1.25 × ideal; ≤ 0.1 Prefect calls and events a generation",
    lambda f: (
        f[OURS]["wall_over_ideal"] <= 1.25 and f[OURS]["prefect_calls"] + f[OURS]["events"] <= 0.1
    ),
    (
        _ours("ours-batch", 1000, in_prefect=True),
        Entry(FLOOR, "floor", 1000),
        Entry(FLOOR_HTTPX, "floor-httpx", 1000),
        Entry(FLOOR_DURABLE, "floor-durable", 1000),
        Entry(PREFECT_MAP, "prefect-map", 1000, in_prefect=True),
    ),
    TEN_SECONDS,
    repeats=3,
)
TASKS_1000 = Row(
    "tasks-1000",
    "1,000 × 10 s, a task run each, asyncio.gather",
    "client CPU ≤ 2 × that of empty Prefect tasks",
    lambda f: f[OURS]["client_cpu_ms"] <= 2 * f[EMPTY]["client_cpu_ms"],
    (
        _ours("ours-tasks", 1000, in_prefect=True),
        Entry(EMPTY, "empty-tasks", 1000, in_prefect=True, is_peer=False),
        Entry(EMPTY_PERSISTED, "empty-tasks-persisted", 1000, in_prefect=True),
        Entry(PREFECT_GATHER, "prefect-gather", 1000, in_prefect=True, is_slow=True),
    ),
    TEN_SECONDS,
    repeats=3,
)
BATCH_10000 = Row(
    "batch-10000",
    "10,000 × 120 s, one process, generate_videos",
    "≤ 1.15 × ideal, peak memory ≤ 400 MB, no more than 1,000 sockets",
    lambda f: (
        f[OURS]["wall_over_ideal"] <= 1.15
        and f[OURS]["peak_memory_mb"] <= 400
        and f[OURS]["sockets"] <= 1000
    ),
    (
        _ours("ours-batch", 10_000, in_prefect=True),
        Entry(FLOOR, "floor", 10_000),
        Entry(FLOOR_HTTPX, "floor-httpx", 10_000),
        Entry(FLOOR_DURABLE, "floor-durable", 10_000),
    ),
    TWO_MINUTES,
)
QUEUE_2000 = Row(
    "queue-2000",
    "2,000 queued, 40 run at once, heavy tail",
    "≤ 8 requests a generation in all; completion seen within 1 s (median) and 5 s (95th)",
    lambda f: (
        f[OURS]["requests"] <= 8 and f[OURS]["seen_median_s"] <= 1 and f[OURS]["seen_95th_s"] <= 5
    ),
    (_ours("ours-plain", 2000), Entry(FLOOR, "floor", 2000)),
    HEAVY_TAIL,
)
SINGLE = Row(
    "single",
    "one 8 minute video, alone",
    "≤ 12 requests; seen within 1 s",
    lambda f: f[OURS]["requests"] <= 12 and f[OURS]["seen_worst_s"] <= 1,
    (_ours("ours-plain", 1), Entry(FAL_CLIENT, "fal-client-gather", 1)),
    EIGHT_MINUTES,
)
GROWTH = Row(
    "growth",
    "10,000 × 60 s against 1,000 × 60 s",
    "client CPU a generation grows by no more than 20 %",
    lambda f: _growth(f) <= 0.2,
    (
        _ours("ours-plain", 1000),
        Entry(OURS_TENFOLD, "ours-plain", 10_000, is_peer=False),
    ),
    ONE_MINUTE,
)
IMPORT = Row(
    "import",
    "import prefect_hailuo over import prefect",
    "≤ 50 ms more",
    lambda f: f[OURS]["more_ms"] <= 50,
    repeats=10,
)

ROWS = (
    PLAIN_1000,
    BATCH_1000,
    TASKS_1000,
    BATCH_10000,
    QUEUE_2000,
    SINGLE,
    GROWTH,
    IMPORT,
)
"""In the order of the table."""
