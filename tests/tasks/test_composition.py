"""Videos between other people's steps: one makes the prompts, one consumes the files."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task, unmapped
from test_joining import RED, colour_at, pictures, shot

from prefect_hailuo import Video, ahailuo_02_pro_text_to_video, hailuo_02_pro_text_to_video
from prefect_hailuo.emulator import FalEmulator

pytestmark = pytest.mark.usefixtures("prefect_server")

PRODUCTS = ["teapot", "lamp"]


@pytest.fixture
def red(tmp_path: Path) -> Iterator[FalEmulator]:
    """An emulator whose every video is red."""
    content = shot(tmp_path / "red.mp4", RED, frames=6).read_bytes()
    with FalEmulator(speed=1000, clip=content) as emulator:
        yield emulator


@task
def write_prompt(product: str) -> str:
    """Makes a prompt."""
    return f"A {product} turns."


@task
def publish(video: Video, folder: Path) -> Path:
    """Consumes a file."""
    assert video.path
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(video.path, folder / f"{video.prompt}mp4"))


@flow
def in_a_row(folder: Path, options: dict[str, Any]) -> list[Path]:
    """Futures are passed from step to step."""
    prompts = write_prompt.map(PRODUCTS)
    fixed: dict[str, Any] = {name: unmapped(value) for name, value in options.items()}
    videos = hailuo_02_pro_text_to_video.map(prompts, **fixed)
    return publish.map(videos, unmapped(folder)).result()


@flow
async def at_once(folder: Path, options: dict[str, Any]) -> list[Path]:
    """What one step returns is awaited, and passed to the next."""

    async def one(product: str) -> Path:
        video = await ahailuo_02_pro_text_to_video(write_prompt(product), **options)
        return publish(video, folder)

    return await asyncio.gather(*map(one, PRODUCTS))


def test_steps_pass_on_prompts_and_files(red: FalEmulator, tmp_path: Path) -> None:
    """In a synchronous and in an asynchronous flow, which buy each video once between them."""
    options: dict[str, Any] = {"credentials": red.credentials(), "storage": tmp_path / "videos"}
    published = in_a_row(tmp_path / "site", options)
    assert [each.name for each in published] == ["A teapot turns.mp4", "A lamp turns.mp4"]
    assert asyncio.run(at_once(tmp_path / "other", options)) == [
        tmp_path / "other" / each.name for each in published
    ]
    for path in [*published, *(tmp_path / "other").iterdir()]:
        assert {colour_at(picture, 30, 20) for _, picture in pictures(path)} == {RED}
    assert sorted(each.body["prompt"] for each in red.submissions) == [
        "A lamp turns.",
        "A teapot turns.",
    ]
