"""Clips made of videos: joined, or side by side; and the last picture of a video.

These tasks buy nothing. A clip is named after the content of its parts, and kept beside them. So a
rerun finds what was made before, at no cost, and makes it anew where the file has gone. A cache of
Prefect's would not see that the file has gone.

Every task has an asynchronous twin, named with an `a` in front, which works in a thread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from pydantic import BaseModel, ConfigDict, ValidationError

from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.errors import ConfigurationError, StorageError
from prefect_hailuo.media.coding import join_files, place_side_by_side
from prefect_hailuo.media.frames import last_picture
from prefect_hailuo.media.mp4 import has_manifest, measures
from prefect_hailuo.media.probe import probe
from prefect_hailuo.models.catalogue import model_name
from prefect_hailuo.models.key import KEY_CHARACTERS_IN_NAME, file_stem
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.orders import find_place
from prefect_hailuo.runs.storage import Storage, resolve_storage
from prefect_hailuo.storage.names import record_name
from prefect_hailuo.storage.place import Files, Place, file_sha256, temporary_name
from prefect_hailuo.ticket import Realm

T = TypeVar("T")

VERSION = 1
"""The version of how clips are made. It is in their names: another version makes other files."""

LAST = "last.png"

MAKES: dict[str, Any] = {"cache_policy": NO_CACHE}


class Clip(BaseModel):
    """A clip made of videos, and kept: a small, serializable value.

    Args:
        path: The local file; None where a storage block holds it.
        storage: The place that holds it.
        storage_key: Its name in that place.
        size: Bytes.
        sha256: The file's SHA-256, hexadecimal.
        width: Pixels.
        height: Pixels.
        duration_seconds: Seconds.
        frames_per_second: Frames per second.
        codec: Such as `h264`.
        audio_codec: Such as `aac`; None without a sound track, as for the next two.
        audio_channels: The sound's channels.
        audio_hz: The sound's samples a second.
        has_manifest: Whether the clip still carries a C2PA manifest, which told of its videos that
            a model made them. No clip that is made here does: say yourself what it is made of.
        parts: Where the videos are that it is made of, in their order.
        reencoded: Why its pictures were coded once more; None where they were copied as they are.
        realm: `emulator`, if the emulator made any of the videos.
        made_at: When it was made, UTC.
    """

    model_config = ConfigDict(frozen=True)

    path: Path | None
    storage: str
    storage_key: str
    size: int
    sha256: str
    width: int
    height: int
    duration_seconds: float
    frames_per_second: float
    codec: str
    audio_codec: str | None = None
    audio_channels: int | None = None
    audio_hz: int | None = None
    has_manifest: bool = False
    parts: list[str]
    reencoded: str | None
    realm: Realm
    made_at: datetime

    @property
    def place(self) -> str:
        """Where it is, for people to read."""
        return str(self.path) if self.path else f"{self.storage}/{self.storage_key}"


@task(name="Join videos", **MAKES)
def join_videos(videos: Sequence[Video], *, storage: Storage = None, name: str = "joined") -> Clip:
    """Join videos into one clip, one after the other, with their sound.

    Their pictures are copied as they are where all come from one model. Else they are coded once
    more, with the first one's size and rate; the clip's `reencoded` says why. Sound is copied where
    all videos have it in the same form; else it is coded in AAC, with silence for videos without.

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
    """Make a clip that plays videos beside each other, each below its name, with their sounds.

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
    """The last picture of a video as a PNG, for a model that continues from it.

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


@dataclass(frozen=True)
class Recipe:
    """How a clip is made of files.

    Args:
        name: What its file's name begins with.
        kind: Tells it from what else is made of the same videos.
        make: Makes the file; says why pictures were coded once more.
    """

    name: str
    kind: str
    make: Callable[[Sequence[Path], Path], str | None]


def make_clip(videos: Sequence[Video], recipe: Recipe, storage: Storage = None) -> Clip:
    """A clip made of videos; the one that is there already, if it is.

    Args:
        videos: In their order.
        recipe: What is made of them.
        storage: Where the clip is kept; by default, the default directory.

    Raises:
        ConfigurationError: There are no videos.
        DownloadError: A file cannot be read as a video.
        StorageError: A video's file is not where it was stored, or the clip cannot be kept.
    """
    if not videos:
        raise ConfigurationError("There are no videos to make a clip of.", cure="Pass some.")
    realm: Realm = "emulator" if any(each.made_by_emulator for each in videos) else "fal"
    place = _usable(storage, realm)
    name = f"{file_stem(recipe.name, _digest(videos, recipe))}.mp4"
    parts = [each.place for each in videos]
    if found := _in_place(place, lambda kept: _find(kept, name)):
        here = {"path": place.path_of(name), "storage": place.label, "storage_key": name}
        return found.model_copy(update={**here, "parts": parts})
    with local_files(videos, place) as files, _draft(place, name) as draft:
        why = recipe.make(files, draft)
        clip = Clip(
            path=place.path_of(name),
            storage=place.label,
            storage_key=name,
            size=draft.stat().st_size,
            sha256=file_sha256(draft),
            **measures(probe(draft)),
            has_manifest=_carries_manifest(draft),
            parts=parts,
            reencoded=why,
            realm=realm,
            made_at=datetime.now(timezone.utc),
        )
        _in_place(place, lambda kept: _keep(kept, draft, clip))
    return clip


def _carries_manifest(path: Path) -> bool:
    with path.open("rb") as file:
        return has_manifest(file)


def picture_of(
    video: Video, ending: str, make: Callable[[Path], bytes], storage: Storage = None
) -> Path | bytes:
    """A picture taken from a video: made once, kept, and found again.

    Args:
        video: The video.
        ending: The end of the picture's name, such as `last.png`.
        make: Makes it.
        storage: Where it is kept; by default, the default directory.

    Returns:
        Its path; its content, where a storage block keeps it.

    Raises:
        DownloadError: The file cannot be read as a video.
        StorageError: The video's file is not where it was stored, or the picture cannot be kept.
    """
    place = _usable(storage, video.realm)
    stem = video.storage_key.removesuffix(".mp4")
    name = f"{stem}-{video.sha256[:KEY_CHARACTERS_IN_NAME]}-{ending}"
    picture = _in_place(place, lambda kept: kept.read(name))
    if picture is None:
        with local_files([video], place) as (file,):
            made = picture = make(file)
        _in_place(place, lambda kept: kept.write(name, made))
    return place.path_of(name) or picture


@contextmanager
def local_files(videos: Sequence[Video], place: Place) -> Iterator[list[Path]]:
    """The videos' files on this machine, for as long as they are needed.

    Args:
        videos: The videos.
        place: A place that may hold them, besides the places that they name.

    Raises:
        StorageError: One is not where it was stored, or is not as it was.
    """
    with TemporaryDirectory(prefix="hailuo-") as folder:
        yield [_local(n, each, place, Path(folder)) for n, each in enumerate(videos)]


def _local(number: int, video: Video, place: Place, folder: Path) -> Path:
    path, content = video.path, None
    if path is None:
        source = place if place.label == video.storage else find_place(video.storage)
        if source is not None:
            content = _in_place(source, lambda kept: kept.read(video.storage_key))
    if content is not None:
        path = folder / f"{number}.mp4"
        path.write_bytes(content)
    with suppress(OSError):
        if path is not None and file_sha256(path) == video.sha256:
            return path
    raise StorageError(
        f"{video.place} is not there any more, or is not what was stored.",
        cure="Generate it again as it was: it is copied or downloaded once more, and not bought.",
    )


def _digest(videos: Sequence[Video], recipe: Recipe) -> str:
    identity = [VERSION, recipe.kind, *(each.sha256 for each in videos)]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _find(kept: Files, name: str) -> Clip | None:
    record = kept.read(record_name(name))
    if record is None:
        return None
    try:
        clip = Clip.model_validate_json(record)
    except ValidationError:
        return None  # written anew, with the clip
    return clip if kept.holds(name, clip.sha256) else None


def _keep(kept: Files, file: Path, clip: Clip) -> None:
    kept.keep(file, clip.storage_key)
    kept.write(record_name(clip.storage_key), clip.model_dump_json(indent=2).encode())


@contextmanager
def _draft(place: Place, name: str) -> Iterator[Path]:
    """A temporary file."""
    draft = place.workspace / temporary_name(name)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _in_place(place: Place, job: Callable[[Files], T]) -> T:
    async def work(connections: Connections, emit: Emit) -> T:
        return await place.work(job)

    return process_loop().run(work)


def _usable(storage: Storage, realm: Realm) -> Place:
    """A place that was checked: only then does a block tell a missing file from a fault."""
    place = resolve_storage(storage, realm)

    async def check(connections: Connections, emit: Emit) -> None:
        await place.check()

    process_loop().run(check)
    return place
