"""A batch that is killed at any point and run again, and batches that race."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from json import loads
from pathlib import Path

import pytest
from batch_worker import carrying
from batches import files
from databases import run_sql
from file_server import smallest_video
from workers import wait_until

from prefect_hailuo.emulator import FalEmulator, delay

MANY = 24


@pytest.fixture
def busy() -> Iterator[FalEmulator]:
    """Makes eight at once, half a second each, and is slow to answer."""
    with FalEmulator(speed=100, durations=50, concurrency=8, clip=smallest_video()) as started:
        started.faults.add(delay("submit", 0.05, count=None))
        yield started


MOMENTS = {
    "the first is accepted": ("submit", 1),
    "half of them are": ("submit", MANY // 2),
    "the first is made": ("result", 1),
    "half of them are downloaded": ("media", MANY // 2),
}


SAMPLE = {
    ("the first is accepted", "sqlite"),
    ("half of them are", "postgresql"),
    ("the first is made", "sqlite"),
    ("half of them are downloaded", "postgresql"),
}
"""Each moment on one database; on the other in the campaign."""

POINTS = [
    pytest.param(*point, marks=() if point in SAMPLE else pytest.mark.campaign)
    for point in product(MOMENTS, ("sqlite", "postgresql"))
]


@pytest.mark.parametrize(("moment", "each_ledger"), POINTS, indirect=["each_ledger"])
def test_killed_and_run_again_each_is_bought_once(
    moment: str, busy: FalEmulator, each_ledger: str, tmp_path: Path
) -> None:
    """The process is gone without a word; the next one goes on with the same batch."""
    kind, number = MOMENTS[moment]
    with carrying(busy.url, each_ledger, tmp_path, 0, MANY) as process:
        wait_until(lambda: busy.requests[kind] >= number or process.poll() is not None, moment)
        assert process.poll() is None
        process.kill()
        process.wait()
    run_sql(each_ledger, "UPDATE hailuo_attempt SET lease_until = 0", realm="emulator")
    with carrying(busy.url, each_ledger, tmp_path, 0, MANY) as process:
        assert loads(process.communicate(timeout=100)[0]) == paths(tmp_path, 0, MANY)
    assert (busy.charged, files(tmp_path)) == (MANY, MANY)


def test_two_processes_share_what_both_want(
    busy: FalEmulator, each_ledger: str, tmp_path: Path
) -> None:
    """Batches that overlap, at the same time: the ledger keeps shards from buying twice."""
    with (
        carrying(busy.url, each_ledger, tmp_path, 0, 16) as one,
        carrying(busy.url, each_ledger, tmp_path, 8, MANY) as other,
    ):
        assert loads(one.communicate(timeout=100)[0]) == paths(tmp_path, 0, 16)
        assert loads(other.communicate(timeout=100)[0]) == paths(tmp_path, 8, MANY)
    assert (busy.charged, len(busy.submissions)) == (MANY, MANY)


def paths(folder: Path, first: int, last: int) -> list[str]:
    """Where the videos are, whose names begin with their prompts."""
    found = [next(iter(folder.glob(f"shot-{n}-*.mp4")), folder) for n in range(first, last)]
    assert folder not in found
    return [str(each) for each in found]
