"""What costs nothing and passes by itself does not end a video of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from batches import carry, kinds, shots
from file_server import smallest_video

from prefect_hailuo.clock import SystemClock
from prefect_hailuo.emulator import FalEmulator, refuse
from prefect_hailuo.errors import Billed, RateLimitedError, UnreachableError
from prefect_hailuo.fal.retry import SubmissionRetry

MANY = 60


def test_fal_wants_fewer_at_once(tiny: FalEmulator, tmp_path: Path) -> None:
    """Those that were refused with 429 are submitted later; each is bought once."""
    tiny.faults.add(refuse("submit", 429, headers={"Retry-After": "1"}, nth=3, count=20))
    assert kinds(carry(tiny, shots(MANY), storage=tmp_path)) == ["video"] * MANY
    assert tiny.charged == MANY


async def test_fal_is_out_of_reach_for_a_while() -> None:
    """It was there before; when somebody answers again, it goes on."""
    tries: list[object] = []

    async def bring() -> str:
        if len(tries) < 2:
            raise UnreachableError("No connection stood.", billed=Billed.NO)
        return "video"

    retry = SubmissionRetry(SystemClock())
    retry.note_reached()
    assert await retry.run(bring, tries.append) == "video"


async def test_what_may_have_been_bought_is_not_tried_again() -> None:
    """Only what is known to have cost nothing is."""
    retry = SubmissionRetry(SystemClock())
    retry.note_reached()
    with pytest.raises(RateLimitedError):
        await retry.run(_refused_though_it_may_be_paid_for, print)


def test_where_nobody_was_ever_reached_it_is_said_at_once(tmp_path: Path) -> None:
    """The address may be wrong, which does not pass."""
    with FalEmulator(clip=smallest_video()) as gone:
        pass
    assert kinds(carry(gone, shots(5), storage=tmp_path)) == ["UnreachableError"] * 5


async def _refused_though_it_may_be_paid_for() -> None:
    raise RateLimitedError("Too many.", billed=Billed.UNKNOWN)
