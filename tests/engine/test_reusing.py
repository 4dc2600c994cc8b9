"""The same video again: it is bought once, and found, copied or downloaded again after that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from file_server import smallest_video
from raw_server import HurriedClock
from roads import FOX, generate, hurried, names, order_of, path_of, record_of, timed

from prefect_hailuo import Hailuo02ProTextToVideo, Hailuo23ProTextToVideo, Video
from prefect_hailuo.emulator import FalEmulator, expire_file, refuse
from prefect_hailuo.engine.events import Reused
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.errors import Billed, DownloadError, StorageError, VideoExpiredError
from prefect_hailuo.storage.download import MOST_ATTEMPTS
from prefect_hailuo.storage.place import Directory


def test_what_is_there_is_found_and_not_bought(tmp_path: Path, tiny: FalEmulator) -> None:
    """The same input in the same place is the same video, and that is all that is told."""
    video, events = generate(tiny, tmp_path), list[object]()
    assert generate(tiny, tmp_path, handle=events.append) == video
    assert (events, tiny.charged, tiny.requests["submit"]) == ([Reused(video)], 1, 1)


def test_another_take_another_input_and_another_model_are_bought(
    tmp_path: Path, tiny: FalEmulator
) -> None:
    """The same prompt is made again on purpose, by its take; 1 and "1" are the same."""
    place = tmp_path / "videos"
    for take in (0, 1, "1", "morning"):
        generate(tiny, place, take=take)
    generate(tiny, place, Hailuo02ProTextToVideo(prompt=FOX.prompt, prompt_optimizer=False))
    generate(tiny, place, Hailuo23ProTextToVideo(prompt=FOX.prompt))
    assert (tiny.charged, len(names(place))) == (5, 10)


def test_another_place_gets_a_copy(tmp_path: Path, tiny: FalEmulator) -> None:
    """It is neither bought nor downloaded again, and has its own record beside it."""
    video = generate(tiny, tmp_path / "here")
    copy = generate(tiny, tmp_path / "there")
    assert path_of(copy).read_bytes() == path_of(video).read_bytes()
    assert Video.model_validate_json(record_of(copy).read_bytes()) == copy
    assert copy.storage == Directory(tmp_path / "there").label
    assert (tiny.charged, tiny.requests["media"]) == (1, 1)


# What people do to files


def test_a_place_that_was_moved_keeps_its_videos(tmp_path: Path, tiny: FalEmulator) -> None:
    """They are found where the place is now, whatever their records say."""
    video = generate(tiny, tmp_path / "before")
    shutil.move(tmp_path / "before", tmp_path / "after")
    moved = generate(tiny, tmp_path / "after")
    assert (moved.path, tiny.charged) == (tmp_path / "after" / path_of(video).name, 1)
    assert moved.is_there() and moved.storage == Directory(tmp_path / "after").label
    assert tiny.requests["media"] == 1


@pytest.mark.parametrize("harm", ["gone", "cut", "changed"])
def test_a_file_that_is_harmed_is_downloaded_again(
    tmp_path: Path, tiny: FalEmulator, harm: str
) -> None:
    """It is not bought again; a download costs nothing."""
    video = generate(tiny, tmp_path)
    whole = path_of(video).read_bytes()
    if harm == "gone":
        path_of(video).unlink()
    else:
        path_of(video).write_bytes(whole[:-1] if harm == "cut" else whole[:-1] + b"x")
    assert generate(tiny, tmp_path) == video
    assert path_of(video).read_bytes() == whole
    assert (tiny.charged, tiny.requests["media"]) == (1, 2)


def test_with_its_record_gone_too_both_come_back(tmp_path: Path, tiny: FalEmulator) -> None:
    """What was bought is in the ledger: deleting files does not lead to a purchase."""
    video = generate(tiny, tmp_path)
    path_of(video).unlink()
    record_of(video).unlink()
    assert generate(tiny, tmp_path) == video
    assert Video.model_validate_json(record_of(video).read_bytes()) == video
    assert (tiny.charged, video.is_there()) == (1, True)


# Records, where the ledger knows nothing


def test_what_is_there_is_found_without_its_ledger(
    tmp_path: Path, tiny: FalEmulator, lose_ledger: Callable[[], None]
) -> None:
    """The record beside a video is enough to know that it was bought."""
    video = generate(tiny, tmp_path)
    lose_ledger()
    assert (generate(tiny, tmp_path), tiny.charged) == (video, 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: b"",
        lambda record: record[:-20],
        lambda record: b"\xff\xfe\x00",
        lambda record: b'{"videos": []}',
        lambda record: record.replace(b'"size": ', b'"size": "many", "was": '),
    ],
    ids=["empty", "cut", "binary", "foreign", "another shape"],
)
def test_a_damaged_record_buys_nothing(
    tmp_path: Path,
    tiny: FalEmulator,
    lose_ledger: Callable[[], None],
    spoil: Callable[[bytes], bytes],
) -> None:
    """Something was bought here once; whether to buy it anew is the caller's to say."""
    video = generate(tiny, tmp_path)
    lose_ledger()
    record_of(video).write_bytes(spoil(record_of(video).read_bytes()))
    with pytest.raises(StorageError, match=f"Restore {record_of(video).name}, or delete it"):
        generate(tiny, tmp_path)
    assert tiny.charged == 1


def test_a_record_of_another_video_is_passed_over(
    tmp_path: Path, tiny: FalEmulator, lose_ledger: Callable[[], None]
) -> None:
    """What is no record of this video says nothing about it; a true one takes its place."""
    video = generate(tiny, tmp_path)
    lose_ledger()
    record = record_of(video).read_bytes()
    record_of(video).write_bytes(record.replace(b'"key": "', b'"key": "f'))
    anew = generate(tiny, tmp_path)
    assert Video.model_validate_json(record_of(video).read_bytes()) == anew
    assert tiny.charged == 2


def test_a_record_cannot_send_a_file_elsewhere(
    tmp_path: Path, tiny: FalEmulator, lose_ledger: Callable[[], None]
) -> None:
    """A file is restored under the name of its own generation, whatever the record says."""
    place = tmp_path / "place" / "videos"
    video = generate(tiny, place)
    lose_ledger()
    record = json.loads(record_of(video).read_bytes())
    record_of(video).write_text(json.dumps({**record, "storage_key": "../elsewhere.mp4"}))
    path_of(video).unlink()
    assert generate(tiny, place) == video
    assert names(place.parent) == ["videos"] and path_of(video).exists()


# Its link gone too


def test_a_restarted_emulator_makes_it_anew(tmp_path: Path, tiny: FalEmulator) -> None:
    """It knows nothing of what it made before, and nothing that it makes costs anything."""
    video = generate(tiny, tmp_path)
    path_of(video).unlink()
    tiny.stop()
    port = int(tiny.url.rpartition(":")[2])
    with FalEmulator(port=port, speed=1000, clip=smallest_video(), durations=10) as restarted:
        assert generate(restarted, tmp_path).request_id != video.request_id
        assert restarted.charged == 1


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is older than fal keeps files."""
    monkeypatch.setattr("prefect_hailuo.storage.download.KEPT_SECONDS", 0.0)


@pytest.mark.usefixtures("long_ago")
def test_fal_is_not_asked_to_make_it_anew(tmp_path: Path, fal: FalEmulator) -> None:
    """It was paid for once: the error says so, and names every cure."""
    video = generate(fal, tmp_path)
    path_of(video).unlink()
    fal.faults.add(expire_file(count=None))
    cures = "put the file back, pass a new take, or allow it with on_lost='resubmit'"
    with pytest.raises(VideoExpiredError, match=cures) as caught:
        hurried(fal, tmp_path)
    error = caught.value
    assert error.ticket and error.ticket.request_id == video.request_id
    assert (error.billed, error.retryable, fal.charged) == (Billed.YES, False, 1)


@pytest.mark.usefixtures("long_ago")
def test_fal_makes_it_anew_where_that_is_allowed(tmp_path: Path, fal: FalEmulator) -> None:
    """With `on_lost="resubmit"` it is bought once more, and found from then on."""
    video = generate(fal, tmp_path)
    path_of(video).unlink()
    fal.faults.add(expire_file(count=MOST_ATTEMPTS))
    anew = hurried(fal, tmp_path, on_lost="resubmit")
    assert anew.request_id != video.request_id and anew.is_there()
    assert generate(fal, tmp_path, on_lost="resubmit") == anew
    assert fal.charged == 2


@pytest.mark.usefixtures("long_ago")
def test_that_consent_is_to_one_purchase(tmp_path: Path, fal: FalEmulator) -> None:
    """A link that is dead at once leads to an error, and not to purchases without end."""
    video = generate(fal, tmp_path)
    path_of(video).unlink()
    fal.faults.add(expire_file(count=None))
    for _ in range(3):
        with pytest.raises(VideoExpiredError):
            hurried(fal, tmp_path, on_lost="resubmit")
    assert fal.charged == 2


def test_a_fault_that_passes_is_not_taken_for_an_expired_link(
    tmp_path: Path, fal: FalEmulator
) -> None:
    """A file server that is down for a while may be asked again, and nothing is bought."""
    video = generate(fal, tmp_path)
    path_of(video).unlink()
    hurry = timed(order_of(fal, tmp_path), HurriedClock())
    fal.faults.add(refuse("media", 503, count=6))
    with pytest.raises(DownloadError, match="HTTP 503") as caught:
        process_loop().run(hurry)
    assert (type(caught.value), caught.value.retryable) == (DownloadError, True)
    assert process_loop().run(hurry) == video
    assert fal.charged == 1
