"""What cannot be read is not absent: it is not bought again, and not written over."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from databases import run_sql
from roads import FOX, Leaping, generate, hurried, order_of, path_of, record_of, timed

from prefect_hailuo import Video
from prefect_hailuo.emulator import FalEmulator, expire_file
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.road import bring
from prefect_hailuo.engine.session import Session
from prefect_hailuo.errors import Billed, StorageError
from prefect_hailuo.storage import place as places
from prefect_hailuo.storage.place import Directory


def as_a_directory(path: Path) -> None:
    """EISDIR: something is there, and no file."""
    path.unlink()
    path.mkdir()


def as_a_loop(path: Path) -> None:
    """ELOOP: a link to itself."""
    path.unlink()
    path.symlink_to(path.name)


def as_stale(path: Path) -> None:
    """EIO, as reading a process's memory at an address that it has not gives it."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


HIDDEN: dict[str, Callable[[Path], None]] = {
    "EISDIR": as_a_directory,
    "ELOOP": as_a_loop,
    "EIO": as_stale,
}
each_hidden = pytest.mark.parametrize("hide", HIDDEN.values(), ids=list(HIDDEN))

SHA256 = hashlib.sha256(b"a video").hexdigest()


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is older than fal keeps files."""
    monkeypatch.setattr("prefect_hailuo.storage.download.KEPT_SECONDS", 0.0)


@each_hidden
async def test_what_cannot_be_read_is_not_told(
    tmp_path: Path, hide: Callable[[Path], None]
) -> None:
    """Neither that it is there, nor that it is not."""
    place = Directory(tmp_path / "videos")
    await place.write("clip.mp4", b"a video")
    hide(tmp_path / "videos" / "clip.mp4")
    for ask in (
        lambda: place.holds("clip.mp4", SHA256),
        lambda: place.read("clip.mp4"),
        lambda: place.fetch("clip.mp4", SHA256, tmp_path / "copy"),
    ):
        with pytest.raises(StorageError, match="cannot be told") as caught:
            await ask()
        assert caught.value.billed is Billed.NO


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can become another")
def test_a_file_that_may_not_be_read_is_not_told(tmp_path: Path) -> None:
    """EACCES, for a process that is not root."""
    file = tmp_path / "clip.mp4"
    file.write_bytes(b"a video")
    file.chmod(0)
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        folder.chmod(0o755)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.seteuid(65534)
        try:
            places.DirectoryFiles(tmp_path).holds("clip.mp4", SHA256)
        except StorageError as error:
            os.write(writing, error.message.encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    assert b"cannot be told (PermissionError" in os.read(reading, 10_000)
    os.close(reading)


async def test_only_a_missing_file_is_absent(tmp_path: Path) -> None:
    """The known word: there is no such file, or no such folder."""
    place = Directory(tmp_path)
    assert not await place.holds("clip.mp4", SHA256)
    assert not await place.fetch("a/clip.mp4", SHA256, tmp_path / "copy")
    assert await place.read("a/b.json") is None


@each_hidden
@pytest.mark.usefixtures("long_ago")
def test_a_hidden_file_is_neither_bought_again_nor_written_over(
    tmp_path: Path, fal: FalEmulator, each_ledger: str, hide: Callable[[Path], None]
) -> None:
    """Whatever is allowed, and whether or not fal serves it: what is there stays as it is."""
    video = generate(fal, tmp_path)
    hide(path_of(video))
    for _ in range(2):
        with pytest.raises(StorageError, match="cannot be told") as caught:
            hurried(fal, tmp_path, on_lost="resubmit")
        assert caught.value.billed is Billed.YES and caught.value.ticket
        fal.faults.add(expire_file(count=None))
    assert path_of(video).is_dir() or path_of(video).is_symlink()
    assert (fal.charged, fal.requests["media"]) == (1, 1)


@each_hidden
def test_a_hidden_record_buys_nothing_in_a_new_ledger(
    tmp_path: Path,
    fal: FalEmulator,
    lose_ledger: Callable[[], None],
    hide: Callable[[Path], None],
) -> None:
    """It may be this very video's."""
    video = generate(fal, tmp_path)
    lose_ledger()
    hide(record_of(video))
    with pytest.raises(StorageError, match="cannot be told"):
        generate(fal, tmp_path)
    assert fal.charged == 1


@pytest.mark.usefixtures("long_ago")
def test_another_place_that_is_hidden_may_still_have_it(
    tmp_path: Path, fal: FalEmulator, each_ledger: str
) -> None:
    """fal's copy will do; where fal has it no longer, nothing is bought."""
    as_a_loop(path_of(generate(fal, tmp_path / "a")))
    fal.faults.add(expire_file(count=None))
    with pytest.raises(StorageError, match=r"cannot be told: .*clip|cannot be told: .*/a/"):
        hurried(fal, tmp_path / "b", on_lost="resubmit")
    fal.faults.clear()
    assert generate(fal, tmp_path / "b").is_there()
    assert fal.charged == 1


# Which machine's, and which disk's


@pytest.mark.usefixtures("long_ago")
def test_another_machines_directory_is_not_this_ones(
    tmp_path: Path, fal: FalEmulator, each_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the same path, and one ledger: the file is over there, not gone."""
    folder = tmp_path / "videos"
    video = generate(fal, folder)
    assert video.machine and video.machine.startswith(places.this_machine())
    path_of(video).rename(tmp_path / "over there.mp4")
    monkeypatch.setattr(places, "this_machine", lambda: "other:0123abcd")
    monkeypatch.setattr("prefect_hailuo.engine.keep.this_machine", lambda: "other:0123abcd")
    fal.faults.add(expire_file(count=None))
    with pytest.raises(StorageError, match="It is on another machine: in directory:"):
        hurried(fal, folder, on_lost="resubmit")
    assert fal.charged == 1
    fal.faults.clear()
    assert generate(fal, folder).is_there()
    assert fal.charged == 1


@pytest.mark.usefixtures("long_ago")
def test_a_disk_that_is_away_takes_nothing_with_it(
    tmp_path: Path, fal: FalEmulator, each_ledger: str
) -> None:
    """Its empty mount point is another directory than the one in which the file was stored."""
    folder = tmp_path / "videos"
    generate(fal, folder)
    folder.rename(tmp_path / "unmounted")
    folder.mkdir()
    fal.faults.add(expire_file(count=None))
    with pytest.raises(StorageError, match="a disk may not be mounted"):
        hurried(fal, folder, on_lost="resubmit")
    folder.rmdir()
    (tmp_path / "unmounted").rename(folder)
    assert generate(fal, folder).is_there()
    assert fal.charged == 1


@pytest.mark.usefixtures("long_ago")
def test_a_disk_that_goes_away_amid_a_run_takes_nothing_with_it(
    tmp_path: Path, fal: FalEmulator, each_ledger: str
) -> None:
    """The place was tried out a moment ago: a batch does that once, and may take hours."""
    folder, away = tmp_path / "videos", tmp_path / "unmounted"
    generate(fal, folder)
    fal.faults.add(expire_file(count=None))
    order = order_of(fal, folder, on_lost="resubmit", timeout_seconds=1e7)

    async def job(connections: Connections, emit: Emit) -> Video:
        await order.place.check()
        folder.rename(away)
        folder.mkdir()
        return await bring(order, Session(order.access, order.ledger, connections, emit, Leaping()))

    with pytest.raises(StorageError, match="a disk may not be mounted"):
        process_loop().run(job)
    assert fal.charged == 1


@pytest.mark.usefixtures("long_ago")
def test_a_disk_that_comes_back_in_time_is_looked_into(
    tmp_path: Path, fal: FalEmulator, each_ledger: str
) -> None:
    """fal has the file no longer; before that is paid for again, all places are looked into."""
    folder, away = tmp_path / "videos", tmp_path / "away"
    video = generate(fal, folder)
    path_of(video).rename(away)
    fal.faults.add(expire_file(count=None))

    class Returning(Leaping):
        async def sleep(self, seconds: float) -> None:
            if away.exists():
                away.rename(path_of(video))
            await super().sleep(seconds)

    order = order_of(fal, folder, on_lost="resubmit", timeout_seconds=1e7)
    assert process_loop().run(timed(order, Returning())) == video
    assert fal.charged == 1


@pytest.mark.usefixtures("long_ago")
def test_a_row_of_an_earlier_release_names_no_machine(
    tmp_path: Path, fal: FalEmulator, ledger_url: str
) -> None:
    """It is read as before: of this machine."""
    video = generate(fal, tmp_path / "videos")
    assert "\\" not in str(video.machine)
    run_sql(ledger_url, "UPDATE hailuo_file SET video = json_remove(video, '$.machine')")
    path_of(video).unlink()
    fal.faults.add(expire_file(count=6))
    assert hurried(fal, tmp_path / "videos", on_lost="resubmit").request_id != video.request_id
    assert fal.charged == 2


def test_a_video_of_an_earlier_release_can_be_unpickled(tmp_path: Path, fal: FalEmulator) -> None:
    """It was pickled without the field."""
    video = generate(fal, tmp_path, FOX)
    old = video.model_copy(update={"machine": None})
    del old.__dict__["machine"]
    again = pickle.loads(pickle.dumps(old))  # noqa: S301 - our own
    assert isinstance(again, Video) and again.machine is None and sys.version_info
