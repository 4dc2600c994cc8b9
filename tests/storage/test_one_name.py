"""One name, several writers: what somebody else put there is not written over."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import anyio
import httpx
import pytest
from prefect.filesystems import RemoteFileSystem
from roads import generate, names, path_of, record_of

from prefect_hailuo import Video
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import StorageError
from prefect_hailuo.runs.storage import StorageBlock
from prefect_hailuo.storage.download import Downloads
from prefect_hailuo.storage.place import Directory, DirectoryFiles, Place
from prefect_hailuo.storage.store import VideoStore

WRITERS = 12

PLACES: dict[str, Callable[[Path], Place]] = {
    "directory": Directory,
    "memory://": lambda _: StorageBlock(RemoteFileSystem(basepath=f"memory://{uuid4()}")),
}


def no_links(*_: object, **__: object) -> None:
    """A file system without a second name for a file."""
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without"])
def test_of_many_writers_one_gets_the_name(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are told, and leave nothing; whoever reads finds the whole of one."""
    if not links:
        monkeypatch.setattr(os, "link", no_links)

    def write(number: int) -> bool:
        files = DirectoryFiles(tmp_path)
        return files.write("clip.json", bytes([number]) * 100_000, over=False)

    with ThreadPoolExecutor(WRITERS) as pool:
        written = list(pool.map(write, range(WRITERS)))
    assert sorted(written) == [False] * (WRITERS - 1) + [True]
    assert (tmp_path / "clip.json").read_bytes() == bytes([written.index(True)]) * 100_000
    assert names(tmp_path) == ["clip.json"]


@pytest.mark.parametrize("make", PLACES.values(), ids=list(PLACES))
async def test_a_name_that_is_taken_stays_as_it_is(
    tmp_path: Path, make: Callable[[Path], Place]
) -> None:
    """Of a file as of a small one; asked to, a place writes over it."""
    place, file = make(tmp_path / "place"), tmp_path / "file"
    await place.check()
    for content, over, done in (
        (b"one", False, True),
        (b"two", False, False),
        (b"two", True, True),
    ):
        file.write_bytes(content)
        assert await place.write("a/b.json", content, over=over) is done
        assert await place.keep(file, "a/b.mp4", over=over) is done
        expected = hashlib.sha256(content if done else b"one").hexdigest()
        assert await place.holds("a/b.mp4", expected) and await place.holds("a/b.json", expected)


async def copies_at_once(video: Video, place: Place, folder: Path) -> list[Video]:
    """As many videos of one name as there are writers, kept at the same time in one place."""
    sources: list[tuple[Video, Directory]] = []
    for number in range(WRITERS):
        source, content = Directory(folder / str(number)), bytes([number]) * 50_000
        await source.write(video.storage_key, content)
        own = {"request_id": f"r{number}", "sha256": hashlib.sha256(content).hexdigest()}
        sources.append((video.model_copy(update=own), source))
    kept: list[Video] = []
    async with httpx.AsyncClient() as http, anyio.create_task_group() as tasks:
        store = VideoStore(Downloads(http), place)

        async def copy(one: Video, source: Directory) -> None:
            if copied := await store.copy(one, source, video.storage_key):
                kept.append(copied)

        for each in sources:
            tasks.start_soon(copy, *each)
    return kept


@pytest.mark.parametrize("make", PLACES.values(), ids=list(PLACES))
async def test_each_of_many_writers_keeps_its_video_and_its_record(
    emulator: FalEmulator, tmp_path: Path, make: Callable[[Path], Place]
) -> None:
    """As two ledgers may have bought the same input: both were paid for, and both are there."""
    video = await anyio.to_thread.run_sync(generate, emulator, tmp_path / "first")
    place = make(tmp_path / "place")
    await place.check()
    kept = await copies_at_once(video, place, tmp_path)
    assert len({each.storage_key for each in kept}) == WRITERS
    assert video.storage_key in {each.storage_key for each in kept}
    for each in kept:
        record = await place.read(each.storage_key.removesuffix(".mp4") + ".json")
        assert record is not None and json.loads(record)["request_id"] == each.request_id
        assert await place.holds(each.storage_key, each.sha256)


async def test_one_video_that_many_keep_at_once_has_one_name(
    emulator: FalEmulator, tmp_path: Path
) -> None:
    """As two batches that share it may: the second finds its own record. In a directory, where a
    file is there at once; fsspec's memory shows it empty before it is written."""
    video = await anyio.to_thread.run_sync(generate, emulator, tmp_path / "first")
    source, place = Directory(tmp_path / "first"), Directory(tmp_path / "place")
    await place.check()
    kept: set[str] = set()
    async with httpx.AsyncClient() as http, anyio.create_task_group() as tasks:
        store = VideoStore(Downloads(http), place)

        async def copy() -> None:
            copied = await store.copy(video, source, video.storage_key)
            assert copied is not None
            kept.add(copied.storage_key)

        for _ in range(WRITERS):
            tasks.start_soon(copy)
    assert kept == {video.storage_key}
    assert await place.holds(video.storage_key, video.sha256)


@pytest.mark.parametrize("template", ["{slug}-{key}.mp4", "{model}/{key}.mp4"])
def test_a_file_that_nobody_recorded_is_not_written_over(
    emulator: FalEmulator,
    tmp_path: Path,
    lose_ledger: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    template: str,
) -> None:
    """Whose it is, nobody knows: the video is kept beside it, and found there again."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_NAME_TEMPLATE", template)
    first = generate(emulator, tmp_path)
    lose_ledger()
    for record in tmp_path.rglob("*.json"):
        record.unlink()
    path_of(first).write_bytes(b"somebody's own")
    second = generate(emulator, tmp_path)
    assert path_of(first).read_bytes() == b"somebody's own"
    assert second.is_there() and second.path != first.path
    assert second.request_id in record_of(second).read_text()
    assert generate(emulator, tmp_path) == second
    assert emulator.charged == 2


def test_the_same_file_without_its_record_is_taken(
    tiny: FalEmulator, tmp_path: Path, lose_ledger: Callable[[], None]
) -> None:
    """Equal content is no other's: its record is written, and it stays."""
    first = generate(tiny, tmp_path)
    lose_ledger()
    record_of(first).unlink()
    before = path_of(first).stat().st_ino
    second = generate(tiny, tmp_path)
    assert (second.path, path_of(second).stat().st_ino) == (first.path, before)
    assert second.request_id in record_of(second).read_text()
    assert (second.sha256, tiny.charged) == (first.sha256, 2)


async def test_two_names_that_are_taken_are_an_error(emulator: FalEmulator, tmp_path: Path) -> None:
    """Nothing is written over even then, and the error names both."""
    video = await anyio.to_thread.run_sync(generate, emulator, tmp_path / "first")
    place, apart = Directory(tmp_path / "place"), f"-{video.request_id.lower()}.mp4"
    for name in (video.storage_key, video.storage_key.removesuffix(".mp4") + apart):
        await place.write(name, b"somebody's own")
    async with httpx.AsyncClient() as http:
        store = VideoStore(Downloads(http), place)
        with pytest.raises(StorageError, match="another file of the name"):
            await store.copy(video, Directory(tmp_path / "first"), video.storage_key)
    left = [path.read_bytes() for path in (tmp_path / "place").glob("*.mp4")]
    assert left == [b"somebody's own"] * 2
