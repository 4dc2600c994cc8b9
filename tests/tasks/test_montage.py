"""Clips made of stored videos, as tasks."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
from memory_blocks import AsyncMemory
from PIL import Image
from prefect import flow
from test_joining import BLUE, RED, Colour, colour_at, pictures, shot

from prefect_hailuo import (
    Clip,
    Hailuo02ProTextToVideo,
    Video,
    ajoin_videos,
    alast_frame,
    ashow_side_by_side,
    generate_video,
    join_videos,
    last_frame,
    show_side_by_side,
)
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import ConfigurationError, StorageError

pytestmark = pytest.mark.usefixtures("prefect_server")


def stored(folder: Path, colour: Colour, prompt: str, storage: Any = None) -> Video:
    """A video of one colour, bought and stored."""
    file = shot(folder / "colour.mp4", colour, frames=6)
    storage = folder / "videos" if storage is None else storage
    with FalEmulator(speed=1000, clip=file.read_bytes()) as emulator:
        owl = Hailuo02ProTextToVideo(prompt=prompt)
        return generate_video(owl, credentials=emulator.credentials(), storage=storage)


@pytest.fixture
def videos(tmp_path: Path) -> list[Video]:
    """A red one and a blue one."""
    return [stored(tmp_path, RED, "A red owl."), stored(tmp_path, BLUE, "A blue owl.")]


def test_a_clip_is_kept_with_its_record(videos: list[Video], tmp_path: Path) -> None:
    """It lies in the place, whole, beside a record of what it is made of."""
    clip = join_videos(videos, storage=tmp_path / "videos", name="Two owls!")
    assert clip.path and clip.path.parent == tmp_path / "videos"
    assert clip.path.name.startswith("two-owls-")
    assert clip.parts == [each.place for each in videos]
    assert (clip.duration_seconds, clip.reencoded, clip.realm) == (0.5, None, "emulator")
    assert [colour_at(each, 30, 20) for _, each in pictures(clip.path)] == [RED] * 6 + [BLUE] * 6
    assert Clip.model_validate_json(clip.path.with_suffix(".json").read_bytes()) == clip
    assert not list((tmp_path / "videos").glob(".*"))  # no draft is left


def test_a_clip_is_found_again(videos: list[Video], tmp_path: Path) -> None:
    """The same videos in the same order are the same clip; in another, another."""
    first = join_videos(videos, storage=tmp_path / "videos")
    assert join_videos(videos, storage=tmp_path / "videos") == first
    assert join_videos(videos[::-1], storage=tmp_path / "videos").path != first.path


def test_a_clip_that_has_gone_is_made_anew(videos: list[Video], tmp_path: Path) -> None:
    """So is one that was damaged, or whose record was."""
    first = join_videos(videos, storage=tmp_path / "videos")
    assert first.path
    for harm in (
        first.path.unlink,
        lambda: first.path.write_bytes(b"cut"),
        lambda: first.path.with_suffix(".json").write_text("{"),
    ):
        harm()
        again = join_videos(videos, storage=tmp_path / "videos")
        assert again.made_at > first.made_at and again.sha256 == first.sha256
        assert again.path and len(pictures(again.path)) == 12


def test_a_storage_block_keeps_clips_too(tmp_path: Path) -> None:
    """Videos are fetched from it, and the clip is handed to it."""
    block = AsyncMemory()
    videos = [stored(tmp_path, c, f"{c} owl.", block) for c in (RED, BLUE)]
    clip = join_videos(videos, storage=block)
    assert clip.path is None and clip.storage.startswith("block:")
    with av.open(BytesIO(block._files[clip.storage_key])) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
    assert join_videos(videos, storage=block) == clip
    picture = last_frame(videos[0], storage=block)
    assert isinstance(picture, bytes) and picture in block._files.values()


def test_a_part_that_has_gone_is_named(videos: list[Video], tmp_path: Path) -> None:
    """Nothing is made of what is not there, or is not what was stored."""
    assert videos[1].path
    videos[1].path.write_bytes(b"something else")
    with pytest.raises(StorageError, match="is not there any more") as caught:
        join_videos(videos, storage=tmp_path / "clips")
    assert videos[1].place in caught.value.message and "Generate it again" in caught.value.cure
    assert not list((tmp_path / "clips").iterdir())
    with pytest.raises(ConfigurationError, match="no videos"):
        join_videos([], storage=tmp_path)


def test_names_stand_above_and_are_part_of_what_it_is(videos: list[Video], tmp_path: Path) -> None:
    """By default they are the models'; other names are another clip."""
    clip = show_side_by_side(videos, storage=tmp_path / "videos")
    assert (clip.width, clip.duration_seconds) == (1920, 0.25)
    assert clip.path and clip.path.name.startswith("side-by-side-")
    assert show_side_by_side(videos, storage=tmp_path / "videos") == clip
    assert show_side_by_side(videos, ["a", "b"], storage=tmp_path / "videos").path != clip.path


def test_the_last_frame_is_made_once_and_kept(videos: list[Video], tmp_path: Path) -> None:
    """What is kept is taken as it is, for a generation from it is keyed by its bytes."""
    path = last_frame(videos[0], storage=tmp_path / "videos")
    assert isinstance(path, Path) and path.parent == tmp_path / "videos"
    assert colour_at(Image.open(path), 30, 20) == RED
    path.write_bytes(b"as another release of Pillow made it")
    assert last_frame(videos[0], storage=tmp_path / "videos") == path
    assert path.read_bytes().startswith(b"as another")


async def test_the_asynchronous_twins_do_the_same(videos: list[Video], tmp_path: Path) -> None:
    """In an asynchronous flow, with the same files at the end."""

    @flow
    async def clips() -> tuple[Clip, Clip, Path | bytes]:
        options: dict[str, Any] = {"storage": tmp_path / "videos"}
        joined = await ajoin_videos(videos, **options)
        beside = await ashow_side_by_side(videos, **options)
        return joined, beside, await alast_frame(videos[0], **options)

    @flow
    def again() -> tuple[Clip, Clip, Path | bytes]:
        options: dict[str, Any] = {"storage": tmp_path / "videos"}
        joined = join_videos(videos, **options)
        return joined, show_side_by_side(videos, **options), last_frame(videos[0], **options)

    assert await clips() == again()
