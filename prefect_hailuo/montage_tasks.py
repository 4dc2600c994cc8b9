"""The tasks that make something of videos: joined, side by side, the last picture of one.

They spend nothing. A rerun finds what they made by the content of its parts, which is what a cache
of Prefect's would be for; and unlike that, it sees whether the file is still there.
Every task has an asynchronous twin, named with an `a` in front, which works in a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from prefect_hailuo.endpoints import model_name
from prefect_hailuo.joining import join_files
from prefect_hailuo.montage import Clip, Recipe, make_clip, picture_of
from prefect_hailuo.split_screen import place_side_by_side
from prefect_hailuo.stills import last_picture
from prefect_hailuo.storage import Storage
from prefect_hailuo.video import Video

MAKES: dict[str, Any] = {"cache_policy": NO_CACHE}


@task(name="Join videos", **MAKES)
def join_videos(videos: Sequence[Video], *, storage: Storage = None, name: str = "joined") -> Clip:
    """Join videos into one clip, one after the other, without sound.

    Their pictures are copied as they are where all come from one model. Else they are coded once
    more, with the first one's size and rate; the clip's `reencoded` says why.

    Args:
        videos: In their order.
        storage: Where the clip is kept: a directory, a block, or `"block:<type>/<name>"`. By
            default, a directory in Prefect's home.
        name: What the clip's file name begins with.

    Raises:
        ConfigurationError: There are no videos, or PyAV is not installed.
        DownloadError: A file cannot be read as a video.
        StorageError: A video's file is not where it was stored, or the clip cannot be kept.

    Example:
        >>> from prefect_hailuo import Hailuo02ProTextToVideo, generate_videos
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> shots = [Hailuo02ProTextToVideo(prompt=f"Shot {n}.") for n in range(2)]
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     videos = generate_videos(shots, credentials=emulator.credentials()).videos
        >>> clip = join_videos(videos, storage="videos")
        >>> clip.duration_seconds, clip.reencoded
        (12.0, None)
    """
    return _logged(make_clip(videos, _joining(name), storage))


@task(name="Join videos", **MAKES)
async def ajoin_videos(
    videos: Sequence[Video], *, storage: Storage = None, name: str = "joined"
) -> Clip:
    """The asynchronous twin of `join_videos`."""
    return _logged(await run_sync(make_clip, videos, _joining(name), storage))


@task(name="Show videos side by side", **MAKES)
def show_side_by_side(
    videos: Sequence[Video],
    names: Sequence[str] | None = None,
    *,
    storage: Storage = None,
    name: str = "side by side",
) -> Clip:
    """Make a clip that plays videos beside each other, each below its name, without sound.

    It lasts as long as the longest of them; of the others, the last picture stays.

    Args:
        videos: From left to right, two at the least.
        names: What to write above each; by default, the models' names.
        storage: As for `join_videos`.
        name: What the clip's file name begins with.

    Raises:
        ConfigurationError: There are no videos, or PyAV or Pillow is not installed.
        DownloadError: A file cannot be read as a video.
        StorageError: A video's file is not where it was stored, or the clip cannot be kept.
        ValueError: There are fewer than two videos, or not as many names.
    """
    return _logged(make_clip(videos, _side_by_side(videos, names, name), storage))


@task(name="Show videos side by side", **MAKES)
async def ashow_side_by_side(
    videos: Sequence[Video],
    names: Sequence[str] | None = None,
    *,
    storage: Storage = None,
    name: str = "side by side",
) -> Clip:
    """The asynchronous twin of `show_side_by_side`."""
    recipe = _side_by_side(videos, names, name)
    return _logged(await run_sync(make_clip, videos, recipe, storage))


@task(name="Last frame", **MAKES)
def last_frame(video: Video, *, storage: Storage = None) -> Path | bytes:
    """The last picture of a video as a PNG, for a model that goes on from it.

    A generation from a picture is keyed by the picture's content. So it is made once, and kept: a
    rerun takes the same bytes, also after PyAV or Pillow was upgraded. Where the file has gone, it
    is made anew: by the same releases to the same bytes; another release may compress it to others,
    and what goes on from it would be another generation, and another purchase.

    Args:
        video: The video.
        storage: Where the picture is kept; as for `join_videos`.

    Returns:
        Its path; its content, where a storage block keeps it.

    Raises:
        ConfigurationError: PyAV or Pillow is not installed.
        DownloadError: The file cannot be read as a video.
        StorageError: The video's file is not where it was stored, or the picture cannot be kept.

    Example:
        >>> from prefect_hailuo import hailuo_02_pro_text_to_video
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     video = hailuo_02_pro_text_to_video("A lamp.", credentials=emulator.credentials())
        >>> last_frame(video, storage="videos").suffix
        '.png'
    """
    return picture_of(video, LAST, last_picture, storage)


@task(name="Last frame", **MAKES)
async def alast_frame(video: Video, *, storage: Storage = None) -> Path | bytes:
    """The asynchronous twin of `last_frame`."""
    return await run_sync(picture_of, video, LAST, last_picture, storage)


LAST = "last.png"


def _joining(name: str) -> Recipe:
    return Recipe(name, "joined", join_files)


def _side_by_side(videos: Sequence[Video], names: Sequence[str] | None, name: str) -> Recipe:
    shown = [model_name(each.endpoint) for each in videos] if names is None else list(names)
    return Recipe(name, f"side by side: {shown}", partial(_beside, shown))


def _beside(names: Sequence[str], files: Sequence[Path], target: Path) -> str:
    place_side_by_side(files, names, target)
    return "they are shown beside each other"


def _logged(clip: Clip) -> Clip:
    how = f"its pictures coded once more, for {clip.reencoded}" if clip.reencoded else "copied"
    with suppress(MissingContextError):  # called as a plain function
        get_run_logger().info("Clip of %s videos at %s: %s.", len(clip.parts), clip.place, how)
    return clip
