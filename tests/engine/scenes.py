"""The scene of a crash: a ledger, an emulator whose time stands still, a gate before it, workers.

A plugin that `conftest.py` loads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pytest
from databases import Row, address_of, holding, reading, run_sql
from file_server import smallest_video
from gate import Gate
from nursery import Errand
from workers import Nursery, Outcome, Worker, Workers, is_whole, open_nursery, wait_until

from prefect_hailuo.emulator import FalEmulator, ManualClock, State
from prefect_hailuo.ledger.ledger import Ledger

CONTENT = smallest_video(bytes(3 << 20))
"""Longer than the pieces in which a download is written."""

SETTLING_SECONDS = 0.25
"""How long a process is watched not to go on, where nothing else tells that it waits."""

MOST_MISSES = 20
"""How often a moment of less than a millisecond may be missed on a busy machine."""

STRANGER = "Somebody else's."

OURS = Errand(key="", queue_url="", platform_url="", ledger_url="", folder="", report="").prompt


class Evidence(NamedTuple):
    """What is known at a moment of a key that one process or another wants.

    Args:
        fates: The fates of its attempts.
        tickets: How many requests the ledger knows by their ids.
        posts: How many POSTs had all their bytes out.
        accepted: How many requests fal accepted.
        charged: How many it charged for.
    """

    fates: tuple[str, ...]
    tickets: int
    posts: int
    accepted: int
    charged: int


@dataclass(frozen=True)
class Scene:
    """All that a crash needs."""

    ledger_url: str
    ask: Callable[[str], list[Row]]
    emulator: FalEmulator
    clock: ManualClock
    gate: Gate
    workers: Workers
    misses: list[Worker] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the video is to be."""
        return Path(self.workers.errand.folder)

    @property
    def rows(self) -> list[Row]:
        """The attempts of the key that was asked for last."""
        last = "SELECT key FROM hailuo_attempt ORDER BY intended_at DESC LIMIT 1"
        return self.ask(f"SELECT * FROM hailuo_attempt WHERE key = ({last}) ORDER BY number")  # noqa: S608

    @property
    def states(self) -> list[State]:
        """How its requests stand at fal."""
        ours = [one for one in self.emulator.submissions if one.body["prompt"] != STRANGER]
        return [one.state for one in ours[len(self.misses) :]]

    def evidence(self) -> Evidence:
        """What is known now."""
        rows = self.rows
        return Evidence(
            tuple(row["fate"] for row in rows),
            sum(row["request_id"] is not None for row in rows),
            self.gate.count("POST") - len(self.misses),
            len(self.states),
            self.emulator.charged - len(self.misses),
        )

    def miss(self, worker: Worker) -> None:
        """A worker was too quick to be stopped where it should: let it end, take another key."""
        worker.thaw()
        assert self.got(self.collect(worker))
        self.misses.append(worker)
        assert len(self.misses) < MOST_MISSES
        take = len(self.misses)
        folder = self.folder.with_name(f"videos-{take}")
        self.workers.errand = replace(self.workers.errand, take=take, folder=str(folder))

    def wait_for_fate(self, fate: str) -> None:
        """Wait until the ledger says it of the latest attempt."""
        wait_until(lambda: [row["fate"] for row in self.rows][-1:] == [fate], fate)

    def locked(self) -> AbstractContextManager[None]:
        """Keep everybody else from writing to the ledger, but not from reading it."""
        if self.ledger_url.startswith("sqlite"):
            return holding(self.ledger_url)
        return holding(self.ledger_url, "LOCK TABLE hailuo_generation IN EXCLUSIVE MODE")

    def wait_for_a_writer(self) -> None:
        """Wait until somebody waits for the ledger's lock."""
        if not self.ledger_url.startswith("sqlite"):
            waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            waiting += "AND wait_event_type = 'Lock'"
            wait_until(lambda: self.ask(waiting), "a writer")
        time.sleep(SETTLING_SECONDS)

    def end_leases(self) -> None:
        """Do what time does."""
        run_sql(self.ledger_url, "UPDATE hailuo_attempt SET lease_until = 0")

    def finish_work(self) -> None:
        """Let fal complete everything."""
        self.clock.advance(1000)

    def collect(self, worker: Worker) -> Outcome:
        """What a worker comes back with; fal works meanwhile."""
        while worker.is_alive:
            if any(state is not State.COMPLETED for state in self.states):
                self.clock.advance(5)
            time.sleep(0.01)
        return worker.outcome()

    def rerun(self, **changes: object) -> Outcome:
        """What a new process comes back with, once the lease of the dead one has ended."""
        self.end_leases()
        return self.collect(self.workers.start(**changes))

    def rerun_at_once(self) -> Outcome:
        """The same, while nothing happens at fal."""
        self.end_leases()
        return self.workers.start().outcome()

    def drafts(self) -> list[Path]:
        """Downloads that are under way, or were left behind."""
        return [each for each in self.folder.glob(".download.mp4.*") if each.exists()]

    def kept(self, kind: str = "mp4") -> list[Path]:
        """What is in its place."""
        return list(self.folder.glob(f"[!.]*.{kind}"))

    def got(self, outcome: Outcome) -> bool:
        """Whether somebody came back with the video, and it is there and whole."""
        assert outcome.error is None, outcome
        return is_whole(outcome.video, CONTENT)


def on_ledger(url: str, consenting_to: int | None = None) -> None:
    """Make the ledger's tables; and allow one purchase in place of an attempt, if asked to."""

    async def use() -> None:
        ledger = Ledger(address_of(url))
        try:
            await ledger.claims.latest("no such key")
            if consenting_to is not None:
                [key] = {row["key"] for row in rows}
                assert await ledger.claims.consent(key, consenting_to)
        finally:
            await ledger.close()

    rows = run_sql(url, "SELECT key FROM hailuo_attempt") if consenting_to else []
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, use()).result()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where workers come from."""
    with open_nursery(tmp_path_factory.mktemp("reports")) as opened:
        yield opened


@pytest.fixture
def workers(
    nursery: Nursery, each_ledger: str, gate: Gate, tmp_path: Path, still_fal: FalEmulator
) -> Iterator[Workers]:
    """Workers who want the same video, by way of the gate and of each ledger."""
    errand = Errand(
        key=still_fal.api_key,
        queue_url=gate.url,
        platform_url=f"{gate.url}/platform/v1",
        ledger_url=address_of(each_ledger).url.get_secret_value(),
        folder=str(tmp_path / "videos"),
        report="",
    )
    hired = Workers(nursery, errand)
    yield hired
    hired.dismiss()


@pytest.fixture
def clock() -> ManualClock:
    """fal's time."""
    return ManualClock()


@pytest.fixture
def still_fal(clock: ManualClock) -> Iterator[FalEmulator]:
    """An emulator that plays fal itself, one video at a time."""
    with FalEmulator(
        clock=clock, concurrency=1, clip=CONTENT, durations=10, realm="fal"
    ) as started:
        yield started


@pytest.fixture
def gate(still_fal: FalEmulator) -> Iterator[Gate]:
    """The way to fal."""
    with Gate(still_fal.url) as opened:
        yield opened


@pytest.fixture
def scene(
    each_ledger: str,
    still_fal: FalEmulator,
    clock: ManualClock,
    gate: Gate,
    workers: Workers,
) -> Iterator[Scene]:
    """The scene, with the ledger's tables made."""
    on_ledger(each_ledger)
    with reading(each_ledger) as ask:
        yield Scene(each_ledger, ask, still_fal, clock, gate, workers)
