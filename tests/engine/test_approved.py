"""After an approval nothing is bought but what was shown, also where the world moved meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from picture_ground import plain_picture, saved
from prefect import flow
from roads import generate
from test_batch_flow import answer, runs_of
from test_joining import RED
from test_joining import shot as film

from flows.batch import batch
from flows.storyboard import storyboard
from prefect_hailuo import (
    Hailuo02ProTextToVideo,
    buying_only,
    estimate,
    generate_videos,
    submit_video,
)
from prefect_hailuo.emulator import FalEmulator, fail_inside
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.flows.report import BatchSummary
from prefect_hailuo.flows.scenes import Scene
from prefect_hailuo.tasks import approval

FOX: dict[str, Any] = {"prompt": "A fox.", "model": "hailuo-02-pro"}
OWL = Hailuo02ProTextToVideo(prompt="An owl.")


@pytest.fixture(autouse=True)
def quickly(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect is asked often whether somebody answered."""
    monkeypatch.setattr(approval, "POLL_SECONDS", 0.2)


async def approved(name: str, happen: Callable[[], Any], **options: Any) -> BatchSummary:
    """A batch that a person approves after something happened."""

    with ThreadPoolExecutor(1) as pool:
        answering = pool.submit(answer, name, "buy", happen)
        summary: BatchSummary = await batch.with_options(flow_run_name=name)(
            approve_above_usd=0.1, report=False, on_failed="return", **options
        )
        answering.result(60)
    return summary


async def test_a_picture_that_changed_is_not_bought(tiny: FalEmulator, tmp_path: Path) -> None:
    """Its content was another one when a person said yes; the rest of the batch is made."""
    path = Path(saved(tmp_path, plain_picture()))
    still = {"prompt": "It moves.", "model": "hailuo-2.3-pro-image", "image_url": str(path)}
    summary = await approved(
        f"picture {tmp_path.name}",
        lambda: path.write_bytes(plain_picture(shade=12)),
        rows=[FOX, still],
        credentials=tiny.credentials(),
    )
    assert (summary.done, summary.failed, tiny.charged) == (1, 1, 1)
    assert "not among what was approved" in summary.failures[0]


async def test_what_was_under_way_is_not_bought_anew(tiny: FalEmulator, tmp_path: Path) -> None:
    """It counted nothing in the plan; that it failed at no cost meanwhile is no yes."""
    mine = tiny.credentials()
    tiny.faults.add(fail_inside(prompt=OWL.prompt))
    submit_video(OWL, credentials=mine)

    def fails() -> None:
        with pytest.raises(HailuoError):
            generate(tiny, tmp_path, OWL)

    rows = [FOX, {**FOX, "prompt": OWL.prompt}]
    summary = await approved(f"owl {tmp_path.name}", fails, rows=rows, credentials=mine)
    assert (summary.done, summary.failed, tiny.charged) == (1, 1, 1)
    assert "not among what was approved" in summary.failures[0]


def test_a_flow_of_ones_own_can_be_held_to_it(tiny: FalEmulator, tmp_path: Path) -> None:
    """By the names that an estimate gives; also tasks that it submits."""
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}

    @flow
    def campaign() -> list[int]:
        planned = estimate([OWL], credentials=options["credentials"])
        with buying_only(planned.purchases):
            shots = [generate_videos.submit([OWL, (OWL, 2)], **options)]
            return [len(each.result().videos) for each in shots]

    assert (campaign(), tiny.charged) == ([1], 1)


async def test_a_subflow_lifts_nothing(tiny: FalEmulator) -> None:
    """It has nothing approved, or something else: what its caller was held to holds for it too."""
    mine = tiny.credentials()
    options: dict[str, Any] = {"credentials": mine, "report": False, "on_failed": "return"}
    with buying_only(estimate([OWL], credentials=mine).purchases):
        free = await batch(["A fox.", OWL.prompt], model="hailuo-02-pro", **options)
        with buying_only(estimate([(OWL, 2)], credentials=mine).purchases):
            other = generate_videos([(OWL, 2)], credentials=mine)
    assert (free.done, free.failed, len(other.failed), tiny.charged) == (1, 1, 1, 1)
    assert "not among what was approved" in free.failures[0]


async def test_a_shard_buys_what_its_parent_was_allowed(tiny: FalEmulator, tmp_path: Path) -> None:
    """A person approved it in another flow run, whose record says what."""
    name, mine = f"parent {tmp_path.name}", tiny.credentials()
    await approved(name, lambda: None, rows=[FOX], credentials=mine)
    rows = [FOX, {**FOX, "take": 2}]
    shard = await batch(
        rows=rows,
        approved_in=runs_of(name)[0]["id"],
        credentials=mine,
        report=False,
        on_failed="return",
    )
    assert (shard.done, shard.failed, tiny.charged) == (1, 1, 1)


async def test_a_shard_without_its_parents_record_buys_nothing(tiny: FalEmulator) -> None:
    """Nobody knows what was approved there, so nothing was."""
    mine = tiny.credentials()
    shard = await batch(rows=[FOX], approved_in=uuid4(), credentials=mine, on_failed="return")
    assert (shard.done, shard.failed, tiny.charged) == (0, 1, 0)
    assert "not among what was approved" in shard.failures[0]


async def test_what_a_bound_allows_is_recorded_for_shards(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs too little to ask anybody: the shards may buy that, and nothing dearer."""
    name, mine = f"bound {tmp_path.name}", tiny.credentials()
    told: list[dict[str, Any]] = []

    async def note(deployment: str | None, parameters: list[dict[str, Any]]) -> list[Any]:
        told.extend(parameters)
        return []

    monkeypatch.setattr(sys.modules["prefect_hailuo.flows.batch"], "run_shards", note)
    parent = batch.with_options(flow_run_name=name)
    saved_as = f"bound-{uuid4().hex}"
    await mine.save(saved_as)
    await parent(rows=[FOX], approve_above_usd=1, shards=2, credentials=saved_as, report=False)
    run = runs_of(name)[0]["id"]
    assert {str(each["approved_in"]) for each in told} == {run}
    rows = [{**FOX, "take": take} for take in range(12)]
    shard = await batch(
        rows=rows, approved_in=run, credentials=mine, report=False, on_failed="return"
    )
    assert (shard.done, shard.failed, tiny.charged) == (1, 11, 1)


async def test_an_approved_storyboard_goes_on_from_its_own_pictures(tmp_path: Path) -> None:
    """Nobody knew these pictures when they approved: they come of what was approved."""
    content = film(tmp_path / "red.mp4", RED, size=(400, 304), frames=6).read_bytes()
    scenes: list[str | Scene] = ["A fox.", Scene(prompt="It runs.", continues=True)]
    name = f"board {tmp_path.name}"
    with FalEmulator(speed=1000, clip=content) as emulator, ThreadPoolExecutor(1) as pool:
        answering = pool.submit(answer, name, "buy")
        board = await storyboard.with_options(flow_run_name=name)(
            scenes,
            storage=str(tmp_path / "v"),
            credentials=emulator.credentials(),
            approve_above_usd=0.5,
        )
        answering.result(60)
        assert (len(board.videos), emulator.charged) == (2, 2)
