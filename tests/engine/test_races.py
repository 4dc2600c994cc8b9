"""Many at once want the same video, or more than a budget allows: it is bought as often as it may.

A cold start: nobody has opened the ledger before, so that its tables are made in the race, too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from databases import address_of, run_sql
from file_server import smallest_video
from nursery import Errand, generating
from workers import Nursery, Outcome, Workers, is_whole, wait_until

from prefect_hailuo import Video
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.loop import process_loop

PROCESSES = (8, pytest.param(50, marks=pytest.mark.campaign))
CALLERS = 20

PRICE_USD = "0.48"


@pytest.fixture
def errand(each_ledger: str, fal: FalEmulator, tmp_path: Path) -> Errand:
    """A video; nobody begins before the starting shot."""
    return Errand(
        key=fal.api_key,
        queue_url=fal.url,
        platform_url=f"{fal.url}/platform/v1",
        ledger_url=address_of(each_ledger).url.get_secret_value(),
        folder=str(tmp_path / "videos"),
        report="",
    )


@pytest.fixture
def race(
    nursery: Nursery, errand: Errand, tmp_path: Path
) -> Iterator[Callable[..., list[Outcome]]]:
    """Sends out that many processes, each with changes to its errand, to begin at one moment."""
    shot = tmp_path / "shot"
    workers = Workers(nursery, errand)

    def run(*changes: dict[str, object]) -> list[Outcome]:
        started = [workers.start(starting_shot=str(shot), **each) for each in changes]
        wait_until(lambda: all(worker.is_ready for worker in started), "ready")
        shot.touch()
        return [worker.outcome() for worker in started]

    yield run
    workers.dismiss()


@pytest.mark.parametrize("processes", PROCESSES)
def test_many_processes_and_one_key_are_one_charge(
    processes: int, race: Callable[..., list[Outcome]], fal: FalEmulator, each_ledger: str
) -> None:
    """One POST, one attempt, and a video for each."""
    outcomes = race(*[{}] * processes)
    assert [one.error for one in outcomes] == [None] * processes
    assert all(is_whole(one.video, smallest_video()) for one in outcomes)
    assert (fal.requests["submit"], fal.charged) == (1, 1)
    assert run_sql(each_ledger, "SELECT number, fate FROM hailuo_attempt") == [
        {"number": 1, "fate": "stored"}
    ]


@pytest.mark.parametrize("processes", PROCESSES)
def test_many_processes_and_a_budget_for_one_are_one_charge(
    processes: int, race: Callable[..., list[Outcome]], fal: FalEmulator
) -> None:
    """As many different videos, and money for one of them."""
    outcomes = race(*({"take": take, "total_usd": PRICE_USD} for take in range(processes)))
    assert Counter(one.error for one in outcomes) == {None: 1, "BudgetError": processes - 1}
    assert (fal.requests["submit"], fal.charged) == (1, 1)


def test_twenty_threads_are_one_charge(errand: Errand, fal: FalEmulator) -> None:
    """Twenty threads of one process."""

    def fetch(_: int) -> Video:
        return process_loop().run(generating(errand.order()))

    with ThreadPoolExecutor(CALLERS) as threads:
        videos = list(threads.map(fetch, range(CALLERS)))
    assert all(is_whole(video, smallest_video()) for video in videos)
    assert (fal.requests["submit"], fal.charged) == (1, 1)


async def test_twenty_coroutines_are_one_charge(errand: Errand, fal: FalEmulator) -> None:
    """Twenty coroutines of one event loop."""
    jobs = [process_loop().arun(generating(errand.order())) for _ in range(CALLERS)]
    videos = await asyncio.gather(*jobs)
    assert all(is_whole(video, smallest_video()) for video in videos)
    assert (fal.requests["submit"], fal.charged) == (1, 1)
