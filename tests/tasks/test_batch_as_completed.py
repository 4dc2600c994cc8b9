"""The outcomes of a batch as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest
from batches import shots
from file_server import smallest_video
from prefect import flow
from prefect.context import TaskRunContext

from prefect_hailuo import (
    agenerate_videos_as_completed,
    generate_videos,
    generate_videos_as_completed,
)
from prefect_hailuo.emulator import FalEmulator, Submission
from prefect_hailuo.errors import MissingKeyError

pytestmark = pytest.mark.usefixtures("prefect_server")


def seconds_for(submission: Submission) -> float:
    """How long a generation takes: the first a tenth of a second, any other for ever."""
    return 10.0 if submission.body["prompt"] == "Shot 0." else 1e6


@pytest.fixture
def uneven() -> Iterator[FalEmulator]:
    """Makes the first at once, and never ends the second."""
    with FalEmulator(speed=100, durations=seconds_for, clip=smallest_video()) as started:
        yield started


def test_each_comes_when_it_is_known(uneven: FalEmulator, tmp_path: Path) -> None:
    """The first comes while the second is made; a break stops at once, and cancels nothing."""
    options: dict[str, Any] = {"credentials": uneven.credentials(), "storage": tmp_path}

    @flow
    def first_of_all() -> int:
        with closing(generate_videos_as_completed(shots(2), **options)) as outcomes:
            for outcome in outcomes:
                assert TaskRunContext.get() is None  # what is called here is no part of the batch
                return outcome.index
        return -1

    assert first_of_all() == 0
    assert (uneven.requests["submit"], uneven.requests["cancel"], uneven.charged) == (2, 0, 1)


async def test_the_twin_does_the_same(uneven: FalEmulator, tmp_path: Path) -> None:
    """In a coroutine."""
    options: dict[str, Any] = {"credentials": uneven.credentials(), "storage": tmp_path}

    @flow
    async def first_of_all() -> int:
        async with aclosing(agenerate_videos_as_completed(shots(2), **options)) as outcomes:
            async for outcome in outcomes:
                assert TaskRunContext.get() is None
                return outcome.index
        return -1

    assert await first_of_all() == 0
    assert (uneven.requests["submit"], uneven.requests["cancel"], uneven.charged) == (2, 0, 1)


def test_what_was_left_early_is_found_by_a_rerun(tiny: FalEmulator, tmp_path: Path) -> None:
    """Nothing is bought twice."""
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}
    for outcome in generate_videos_as_completed(shots(12), **options):
        assert outcome.video
        break
    assert len(generate_videos(shots(12), **options).videos) == 12
    assert (tiny.charged, tiny.requests["submit"]) == (12, 12)


def test_all_of_them_come_once(tiny: FalEmulator, tmp_path: Path) -> None:
    """And then it ends."""
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}
    indices = [each.index for each in generate_videos_as_completed(shots(12), **options)]
    assert sorted(indices) == list(range(12))


async def test_what_is_wrong_is_raised_where_they_are_awaited() -> None:
    """No key: of both twins."""
    with pytest.raises(MissingKeyError):
        list(generate_videos_as_completed(shots(1)))
    with pytest.raises(MissingKeyError):
        async for _ in agenerate_videos_as_completed(shots(1)):
            pass
