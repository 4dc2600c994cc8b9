"""A directory as a place for videos: whole files or none, and refused before money is spent."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import anyio
import pytest
from children import WITHOUT_PREFECT, run_python

from prefect_hailuo import FalCredentials, Hailuo02ProTextToVideo
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.errors import Billed, ConfigurationError, StorageError
from prefect_hailuo.runs.execution import generating
from prefect_hailuo.runs.orders import make_order
from prefect_hailuo.storage.place import Directory, temporary_name

FOX = Hailuo02ProTextToVideo(prompt="A red fox crosses a snowy field.")

UNWRITABLE = ["a-file/videos", "/proc/videos", "/dev/null/videos"]
"""None can be made, by root either."""

KEEP_ON_AND_ON = """
    import sys, anyio
    from pathlib import Path
    from prefect_hailuo.storage.place import Directory

    async def keep_on_and_on(root):
        place = Directory(root)
        for number in range(1_000_000):
            content = bytes([number % 256]) * 500_000
            await place.write("a/b/clip.json", content)
            file = place.workspace / ".fresh.part"
            file.write_bytes(content)
            await place.keep(file, "a/b/clip.mp4")

    anyio.run(keep_on_and_on, sys.argv[1])
"""

WRITE_TOO_MUCH = """
    import resource, sys, anyio
    from prefect_hailuo.errors import StorageError
    from prefect_hailuo.storage.place import Directory

    async def write_too_much(root):
        try:
            await Directory(root).write("clip.json", b"x" * 2_000_000)
        except StorageError as error:
            print(error)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    anyio.run(write_too_much, sys.argv[1])
"""


def names(directory: Path) -> list[str]:
    """Everything in a directory, hidden files too."""
    return sorted(path.name for path in directory.iterdir())


def sizes(directory: Path) -> dict[str, int]:
    """Everything in a directory, hidden files too, with its size in bytes."""
    return {path.name: path.stat().st_size for path in directory.iterdir()}


def is_whole(path: Path) -> bool:
    """Whether a file of `KEEP_ON_AND_ON` is all that one of its rounds wrote."""
    content = path.read_bytes()
    return content == content[:1] * 500_000


def test_a_killed_process_leaves_no_half_file(tmp_path: Path) -> None:
    """Whoever reads, and whenever the writer is killed, a name stands for a complete file.

    What is left half made is hidden, and in the place's own folder, none in those below it.
    """
    program = WITHOUT_PREFECT + dedent(KEEP_ON_AND_ON)
    writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    folder = tmp_path / "a" / "b"
    seen = [folder / "clip.json", folder / "clip.mp4"]
    while not all(path.exists() for path in seen):
        time.sleep(0.01)
    for _ in range(200):
        assert all(is_whole(path) for path in seen)
    writer.kill()
    writer.wait()
    assert all(is_whole(path) for path in seen)
    assert names(folder) == ["clip.json", "clip.mp4"]
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["a"]


@pytest.mark.parametrize("where", UNWRITABLE)
async def test_an_unwritable_directory_is_refused_by_name(tmp_path: Path, where: str) -> None:
    """The error names the directory, and that nothing was bought."""
    (tmp_path / "a-file").touch()
    place = Directory(tmp_path / where)
    with pytest.raises(StorageError, match="nothing was bought") as caught:
        await place.check()
    assert str(tmp_path / where) in str(caught.value)
    assert (caught.value.billed, caught.value.retryable) == (Billed.NO, False)


@pytest.mark.parametrize("where", UNWRITABLE)
def test_an_unwritable_directory_buys_nothing(
    tmp_path: Path, where: str, emulator: FalEmulator, credentials: FalCredentials
) -> None:
    """The generation ends before anything is sent."""
    (tmp_path / "a-file").touch()
    order = make_order(FOX, credentials=credentials, storage=tmp_path / where)
    with pytest.raises(StorageError):
        process_loop().run(generating(order).job)
    assert (emulator.charged, emulator.requests["submit"]) == (0, 0)


def test_an_unreadable_record_buys_nothing(
    tmp_path: Path,
    emulator: FalEmulator,
    credentials: FalCredentials,
    lose_ledger: Callable[[], None],
) -> None:
    """Where it cannot be told whether the video is there already, none is bought."""
    process_loop().run(generating(make_order(FOX, credentials=credentials, storage=tmp_path)).job)
    lose_ledger()
    order = make_order(FOX, credentials=credentials, storage=tmp_path)
    [record] = tmp_path.glob("*.json")
    record.unlink()
    record.mkdir()
    with pytest.raises(StorageError, match="not readable") as caught:
        process_loop().run(generating(order).job)
    assert (emulator.charged, caught.value.billed) == (1, Billed.NO)


async def test_missing_parents_are_made(tmp_path: Path) -> None:
    """A directory is made when it is first needed, with all above it."""
    place = Directory(tmp_path / "a" / "b" / "c")
    await place.check()
    await place.write("clip.json", b"{}")
    assert await place.read("clip.json") == b"{}"


async def test_only_an_unharmed_file_is_held(tmp_path: Path) -> None:
    """A file with another hash, and no file at all, are not held."""
    place, sha256 = Directory(tmp_path), hashlib.sha256(b"a video").hexdigest()
    await place.write("clip.mp4", b"a video")
    await place.write("changed.mp4", b"a vide0")
    held = [
        name
        for name in ("clip.mp4", "changed.mp4", "missing.mp4")
        if await place.holds(name, sha256)
    ]
    assert held == ["clip.mp4"]
    assert await place.read("missing.mp4") is None


async def test_nothing_temporary_is_left(tmp_path: Path) -> None:
    """Neither of what was kept, nor of what could not be, nor of the check."""
    place = Directory(tmp_path)
    (tmp_path / "taken").mkdir()
    await place.check()
    await place.write("clip.json", b"{}")
    temporary = tmp_path / temporary_name("clip.mp4")
    temporary.write_bytes(b"a video")
    await place.keep(temporary, "clip.mp4")
    with pytest.raises(StorageError, match="taken cannot be written"):
        await place.write("taken", b"")
    assert names(tmp_path) == ["clip.json", "clip.mp4", "taken"]


@pytest.mark.parametrize("seconds", [0, 0.001, 0.005, 0.02])
async def test_a_cancelled_write_leaves_all_or_nothing(tmp_path: Path, seconds: float) -> None:
    """Nor does a cancellation leave anything temporary, whenever it comes."""
    place = Directory(tmp_path)
    with anyio.move_on_after(seconds):
        await place.write("clip.json", b"x" * 20_000_000)
    assert sizes(tmp_path) in ({}, {"clip.json": 20_000_000})


def test_a_write_that_the_disk_refuses_leaves_nothing(tmp_path: Path) -> None:
    """A disk that is full half way is an error with the file's name, and no half file."""
    child = run_python(WRITE_TOO_MUCH, tmp_path)
    assert "clip.json cannot be written: [Errno 27] File too large" in child.stdout, child.stderr
    assert names(tmp_path) == []


def test_a_place_is_the_same_however_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative, absolute and from the home directory: one label, one cache key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    places = [Directory("out"), Directory(tmp_path / "out"), Directory("~/out")]
    assert {place.label for place in places} == {f"directory:{tmp_path.as_posix()}/out"}
    assert {place.path_of("clip.mp4") for place in places} == {tmp_path / "out" / "clip.mp4"}
    with pytest.raises(ConfigurationError, match="a home that is not known"):
        Directory("~nobody-here/out")
