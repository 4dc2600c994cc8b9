"""Prefect's storage blocks as places: every kind keeps, finds and holds, or is refused in time."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from children import run_python
from memory_blocks import (
    AsyncMemory,
    Faltering,
    Forgetful,
    ReadOnly,
    Slow,
    SyncMemory,
    Unwritable,
    Uploading,
)
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.filesystems import LocalFileSystem, RemoteFileSystem
from pydantic import SecretStr

from prefect_hailuo import FalCredentials, Hailuo02ProTextToVideo, Video
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.events import Reused
from prefect_hailuo.engine.loop import Connections, Emit, ignore, process_loop
from prefect_hailuo.errors import Billed, ConfigurationError, StorageError
from prefect_hailuo.runs.execution import generating
from prefect_hailuo.runs.orders import make_order
from prefect_hailuo.runs.storage import Storage, StorageBlock, resolve_storage, says_absent
from prefect_hailuo.storage.place import Directory

Handle = Callable[[object], None]

FOX = Hailuo02ProTextToVideo(prompt="A red fox crosses a snowy field.")


KINDS: dict[str, Callable[[], Block]] = {
    "asynchronous": AsyncMemory,
    "synchronous": SyncMemory,
    "uploading": Uploading,
    "memory://": lambda: RemoteFileSystem(basepath=f"memory://{uuid4()}"),
}
each_kind = pytest.mark.parametrize("make", KINDS.values(), ids=list(KINDS))


def generate(credentials: FalCredentials, storage: Storage, tell: Handle = ignore) -> Video:
    """The fox's video, from its place or a new one."""
    order = make_order(FOX, credentials=credentials, storage=storage)
    return process_loop().run(generating(order).job, tell)


# What every block can do


@each_kind
def test_a_block_keeps_a_video_and_finds_it_again(
    emulator: FalEmulator, credentials: FalCredentials, make: Callable[[], Block]
) -> None:
    """The second time it is found, with its record, and nothing is bought."""
    block, events = make(), list[object]()
    video = generate(credentials, block)
    assert generate(credentials, block, events.append) == video
    assert (events, emulator.charged) == ([Reused(video)], 1)
    assert (video.path, video.storage) == (None, StorageBlock(block).label)


@each_kind
async def test_a_block_holds_only_what_is_unharmed(make: Callable[[], Block]) -> None:
    """A changed file and a missing one are not held; a missing small file is None."""
    place, sha256 = StorageBlock(make()), hashlib.sha256(b"a video").hexdigest()
    await place.check()
    await place.write("clip.mp4", b"a video")
    await place.write("changed.mp4", b"a vide0")
    names = ("clip.mp4", "changed.mp4", "missing.mp4")
    assert [await place.holds(name, sha256) for name in names] == [True, False, False]
    assert await place.read("clip.mp4") == b"a video"
    assert await place.read("missing.json") is None


def test_what_is_harmed_in_a_block_is_downloaded_again(
    emulator: FalEmulator, credentials: FalCredentials
) -> None:
    """As in a directory: that costs a download and no other video."""
    block = SyncMemory()
    video = generate(credentials, block)
    whole, block._files[video.storage_key] = block._files[video.storage_key], b"half"
    assert generate(credentials, block) == video
    assert (block._files[video.storage_key], emulator.charged) == (whole, 1)


def test_a_block_that_takes_files_is_given_the_file(
    emulator: FalEmulator, credentials: FalCredentials
) -> None:
    """The video is uploaded from the disk, never held in memory; small files are written."""
    block = Uploading()
    video = generate(credentials, block)
    assert [path for call, path in block._calls if call == "upload"] == [video.storage_key]
    assert len(block._files[video.storage_key]) == video.size
    assert video.storage_key not in [path for call, path in block._calls if call == "write"]


def test_nothing_temporary_is_left(
    tmp_path: Path,
    emulator: FalEmulator,
    credentials: FalCredentials,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not on this machine either, where the file was made ready.

    The process's own directory is empty, and goes when the process ends: see
    `test_what_is_on_its_way_into_a_block_is_nobody_elses`.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    generate(credentials, SyncMemory())
    [own] = temporary.iterdir()
    assert list(own.iterdir()) == []


# Off the loop


def test_blocks_are_called_off_the_loop(emulator: FalEmulator, credentials: FalCredentials) -> None:
    """Prefect's blocks wait for their answers, which must not hold the other jobs up."""
    block = SyncMemory()
    generate(credentials, block)
    assert block._threads and "prefect-hailuo" not in block._threads


def test_slow_blocks_do_not_delay_other_jobs(tmp_path: Path) -> None:
    """However many calls of blocks are under way, a directory's worker threads stay free."""

    async def job(connections: Connections, emit: Emit) -> float:
        slow, directory, took = StorageBlock(Slow()), Directory(tmp_path), 60.0
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(slow.write, f"{number}.json", b"{}")
            await anyio.sleep(0.05)
            began = time.monotonic()
            await directory.write("clip.json", b"{}")
            took = time.monotonic() - began
            tasks.cancel_scope.cancel()
        return took

    assert process_loop().run(job) < 0.5


# Refused before anything is bought


@pytest.mark.parametrize("block_class", [Unwritable, Forgetful])
def test_a_block_that_cannot_keep_anything_buys_nothing(
    emulator: FalEmulator, credentials: FalCredentials, block_class: type[Block]
) -> None:
    """A small file is written and read back first, so the error comes for free."""
    with pytest.raises(StorageError, match="nothing was bought") as caught:
        generate(credentials, block_class())
    assert StorageBlock(block_class()).label in caught.value.message
    assert (caught.value.billed, emulator.requests["submit"]) == (Billed.NO, 0)


def test_a_fault_that_passes_is_not_taken_for_a_missing_video(
    emulator: FalEmulator, credentials: FalCredentials
) -> None:
    """A block says in no common way why it raises, so one failure to read buys nothing anew."""
    block = Faltering()
    video = generate(credentials, block)
    for _ in range(3):
        block._failures = 1
        assert generate(credentials, block) == video
    assert emulator.charged == 1


def test_a_block_that_stores_no_files_is_refused() -> None:
    """The error names the block, and what to pass instead."""
    blocks: list[Block] = [Secret[str](value=SecretStr("x")), ReadOnly()]
    for block in blocks:
        name = type(block).__name__
        with pytest.raises(
            ConfigurationError, match=rf"{re.escape(name)} cannot store files.*S3Bucket"
        ):
            resolve_storage(block, "fal")


# By name


def test_a_local_file_system_is_a_directory(tmp_path: Path) -> None:
    """Prefect's block for this machine keeps files that have a path, as a directory does."""
    place = resolve_storage(LocalFileSystem(basepath=str(tmp_path / "a" / ".." / "b")), "fal")
    assert isinstance(place, Directory)
    assert place.label == Directory(tmp_path / "b").label


@pytest.mark.usefixtures("prefect_server")
def test_a_saved_block_is_found_by_its_name(tmp_path: Path) -> None:
    """`block:<type>/<name>` is that block, and its label."""
    RemoteFileSystem(basepath=f"memory://{uuid4()}").save("bucket", overwrite=True)
    LocalFileSystem(basepath=str(tmp_path)).save("folder", overwrite=True)
    bucket = resolve_storage("block:remote-file-system/bucket", "fal")
    assert bucket.label == "block:remote-file-system/bucket"
    folder = resolve_storage("block:local-file-system/folder", "fal")
    assert folder.label == Directory(tmp_path).label


@pytest.mark.usefixtures("prefect_server")
def test_a_saved_block_keeps_videos(emulator: FalEmulator, credentials: FalCredentials) -> None:
    """By its name too, it is written to and read from."""
    RemoteFileSystem(basepath=f"memory://{uuid4()}").save("videos", overwrite=True)
    video = generate(credentials, "block:remote-file-system/videos")
    assert video.storage == "block:remote-file-system/videos"
    assert generate(credentials, "block:remote-file-system/videos") == video
    assert emulator.charged == 1


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("name", ["local-file-system/none", "no-such-type/none", "none", ""])
def test_a_block_that_is_not_saved_is_named_with_the_cure(name: str) -> None:
    """What was asked for, and how to make it so."""
    with pytest.raises(ConfigurationError, match=r"Save it first.*PREFECT_API_URL") as caught:
        resolve_storage(f"block:{name}", "fal")
    assert repr(name) in caught.value.message


def test_an_unsaved_blocks_label_is_of_its_settings() -> None:
    """Equal blocks have one label, others another; it shows no setting, least of all a secret."""
    labels = {
        StorageBlock(block).label
        for block in (
            AsyncMemory(folder="a"),
            AsyncMemory(folder="a"),
            AsyncMemory(folder="a", secret=SecretStr("hunter3")),
            AsyncMemory(folder="b"),
            RemoteFileSystem(basepath="memory://a", settings={"secret": "hunter2"}),
        )
    }
    assert len(labels) == 3
    assert not any("hunter" in label or "memory:" in label for label in labels)


# Where runs are in temporary directories


@pytest.mark.parametrize("storage", ["videos", Path("videos"), LocalFileSystem(basepath="videos")])
def test_a_relative_directory_outlives_a_deployments_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    """A worker removes the directory that it made for the run, and the clone in it."""
    clone, lasting = tmp_path / "tmp1a2b3cprefect" / "flows-main", tmp_path / "kept"
    clone.mkdir(parents=True)
    monkeypatch.chdir(clone)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY", str(lasting))
    here = Directory(clone / "videos").label
    assert resolve_storage(storage, "fal").label == here  # nobody removes it
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(uuid4()))
    place = resolve_storage(storage, "fal")
    assert place.label.startswith(f"directory:{lasting.as_posix()}/")
    assert place.label.endswith("/videos")
    whole = resolve_storage(tmp_path / "videos", "fal")
    assert whole.label == Directory(tmp_path / "videos").label
    # A worker that runs in the project's own folder keeps them there.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    assert resolve_storage(storage, "fal").label == here


def test_what_says_that_a_file_is_absent() -> None:
    """Known words of known libraries, and nothing else."""
    botocore = import_module("botocore.exceptions")  # it has no types

    def of_s3(code: str) -> Exception:
        error: Exception = botocore.ClientError({"Error": {"Code": code}}, "GetObject")
        return error

    absent = [FileNotFoundError("a.json"), KeyError("a.json"), of_s3("NoSuchKey"), of_s3("404")]
    hidden = [
        *(PermissionError("a.json"), TimeoutError(), OSError(5, "EIO"), KeyError("Body")),
        *map(of_s3, ("403", "AccessDenied", "InvalidObjectState", "NoSuchBucket", "SlowDown")),
        *map(of_s3, ("KMS.DisabledException", "KMS.NotFoundException", "500", "NoSuchUpload")),
    ]
    assert [says_absent(each, "a.json") for each in absent] == [True] * len(absent)
    assert [says_absent(each, "a.json") for each in hidden] == [False] * len(hidden)


def test_what_is_on_its_way_into_a_block_is_nobody_elses(tmp_path: Path) -> None:
    """Downloads on their way lie in a directory that no other user reads; it goes at the end."""
    program = f"""
        import os, pathlib, tempfile
        tempfile.tempdir = {str(tmp_path)!r}
        from memory_blocks import SyncMemory
        from prefect_hailuo.runs.storage import StorageBlock
        place = StorageBlock(SyncMemory())
        folder = place.workspace
        assert folder.parent == pathlib.Path({str(tmp_path)!r})
        assert folder.stat().st_mode & 0o777 == 0o700
        folder.rmdir()  # as those who clear /tmp do
        again = place.workspace
        assert again.is_dir() and place.workspace == again
        (again / "left.part").touch()
        child = os.fork()
        if child == 0:
            assert place.workspace != again
            raise SystemExit
        assert os.waitpid(child, 0)[1] == 0
        assert again.is_dir()
    """
    run_python(program)
    assert list(tmp_path.iterdir()) == []
