"""The road of a generation, without Prefect: bought once, found again, never out of reach."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from children import run_python
from file_server import smallest_video
from prefect.blocks.core import Block
from pydantic import PrivateAttr
from raw_server import HurriedClock

from prefect_hailuo import Hailuo02ProTextToVideo, Hailuo23ProTextToVideo, Ticket, Video
from prefect_hailuo.emulator import (
    FalEmulator,
    Fault,
    ManualClock,
    delay,
    edit,
    expire_file,
    fail_inside,
    refuse,
    refuse_content,
    time_out,
)
from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.errors import (
    Billed,
    ContentPolicyError,
    DownloadError,
    FalError,
    FalFaultError,
    GenerationTimeoutError,
    RequestCancelledError,
    StorageError,
    VideoExpiredError,
)
from prefect_hailuo.events import Logged, Progress, Reused, Stored, Submitted
from prefect_hailuo.fal.messages import Completed, InQueue
from prefect_hailuo.generation import PROGRESS_SECONDS, Road
from prefect_hailuo.loop import Connections, Emit, Job, ignore, process_loop
from prefect_hailuo.orders import make_order
from prefect_hailuo.places import Directory
from prefect_hailuo.steps import fetching, generating, storing, submitting, waiting
from prefect_hailuo.storage import Storage

FOX = Hailuo02ProTextToVideo(prompt="A red fox crosses a snowy field.")
OWL = Hailuo23ProTextToVideo(prompt="An owl lands.", prompt_optimizer=False)

MEASURES = {"width", "height", "duration_seconds", "frames_per_second", "codec"}

GENERATE_WITHOUT = """
    import sys, types
    for name in ("av", "PIL"):
        sys.modules[name] = {module}
    from pydantic import SecretStr
    from prefect_hailuo.endpoints import Hailuo02ProTextToVideo
    from prefect_hailuo.fal.hosts import Access, Hosts
    from prefect_hailuo.generation import Order, Road
    from prefect_hailuo.loop import process_loop
    from prefect_hailuo.places import Directory

    url, folder = sys.argv[1:]
    fox = Hailuo02ProTextToVideo(prompt="A red fox crosses a snowy field.")
    access = Access(SecretStr("emulator:no-real-key"), Hosts(url, url, url, url), "emulator")
    order = Order(fox, access, Directory(folder))

    async def job(connections, emit):
        return await Road(access, connections).generate(order)

    print(process_loop().run(job).model_dump_json())
    assert "prefect" not in sys.modules
"""

Handle = Callable[[object], None]


class Hundredfold:
    """A clock that runs a hundred times as fast as the machine's."""

    def now(self) -> float:
        return time.monotonic() * 100

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds / 100)


def generate(
    emulator: FalEmulator,
    storage: Storage,
    input: VideoInput = FOX,
    handle: Handle = ignore,
    **options: Any,
) -> Video:
    """A video from its place, or a new one of this emulator's."""
    order = make_order(input, credentials=emulator.credentials(), storage=storage, **options)
    return process_loop().run(generating(order), handle)


def path_of(video: Video) -> Path:
    """Where a video is."""
    assert video.path
    return video.path


def record_of(video: Video) -> Path:
    """Where its record is."""
    return path_of(video).with_suffix(".json")


def wait_for_submission(emulator: FalEmulator) -> None:
    """Wait until a request has come in."""
    while not emulator.submissions:
        time.sleep(0.01)


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(name="emulator")
def tiny_emulator() -> Iterator[FalEmulator]:
    """An emulator of tiny videos, made at once, that hold no pictures."""
    with FalEmulator(speed=1000, clip=smallest_video(), durations=10) as started:
        yield started


@pytest.fixture
def filming() -> Iterator[FalEmulator]:
    """An emulator of videos that can be looked into."""
    with FalEmulator(speed=1000, clip="plain") as started:
        yield started


@pytest.fixture
def fal() -> Iterator[FalEmulator]:
    """An emulator that plays fal itself."""
    with FalEmulator(speed=1000, clip=smallest_video(), durations=10, realm="fal") as started:
        yield started


# A new video


def test_a_generation_tells_its_story_in_order(tmp_path: Path, filming: FalEmulator) -> None:
    """Submitted, then its statuses and the model's words, then stored, with a poster."""
    events: list[object] = []
    video = generate(filming, tmp_path, handle=events.append)
    first, *middle, last = events
    assert isinstance(first, Submitted) and first.ticket.request_id == video.request_id
    assert {type(event) for event in middle} == {Progress, Logged}
    statuses = [event.status for event in middle if isinstance(event, Progress)]
    assert isinstance(statuses[-1], Completed)
    assert isinstance(last, Stored) and last.video == video
    assert last.poster and last.poster.startswith("data:image/jpeg;base64,")


def test_the_file_is_what_the_video_says(tmp_path: Path, filming: FalEmulator) -> None:
    """Its path, size, hash and measures, and where it came from."""
    video = generate(filming, tmp_path)
    content = path_of(video).read_bytes()
    assert (video.size, video.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (video.width, video.height, video.codec) == (1920, 1080, "h264")
    assert (video.duration_seconds, video.content_type) == (6.0, "video/mp4")
    assert (video.endpoint, video.input) == (FOX.endpoint.id, FOX.body())
    assert (video.realm, video.account) == ("emulator", "emulator")
    assert video.submitted_at and video.completed_at
    assert video.submitted_at <= video.completed_at <= video.stored_at
    assert video.is_there() and video.made_by_emulator


def test_the_record_beside_it_is_the_video(tmp_path: Path, emulator: FalEmulator) -> None:
    """JSON that turns into the same value again, with the caller's take and labels."""
    video = generate(emulator, tmp_path, take="2026-11-20", labels={"shot": "7", "client": "Ö"})
    assert names(tmp_path) == sorted([path_of(video).name, record_of(video).name])
    assert Video.model_validate_json(record_of(video).read_bytes()) == video
    assert Video.model_validate_json(video.model_dump_json()) == video
    assert (video.take, video.labels) == ("2026-11-20", {"shot": "7", "client": "Ö"})


def test_waiting_is_told_now_and_then(tmp_path: Path) -> None:
    """While nothing changes the caller still hears of it, with the time that it takes."""
    events: list[object] = []

    async def job(connections: Connections, emit: Emit) -> Video:
        order = make_order(FOX, credentials=emulator.credentials(), storage=tmp_path)
        return await Road(order.access, connections, emit, Hundredfold()).generate(order)

    with FalEmulator(clip=smallest_video(), durations=0.5) as emulator:
        process_loop().run(job, events.append)
    told = [event for event in events if isinstance(event, Progress)]
    elapsed = [event.elapsed_seconds for event in told]
    assert len(told) > 5 and elapsed == sorted(elapsed)
    assert elapsed[-1] >= 5 * PROGRESS_SECONDS
    assert {event.expected_seconds for event in told} == {FOX.endpoint.expected_seconds}


async def test_forty_at_once_share_one_loop(tmp_path: Path) -> None:
    """Forty callers get forty videos, each its own, each charged once."""

    def job(number: int) -> Job[Video]:
        credentials = emulator.credentials()
        return generating(make_order(OWL, credentials=credentials, storage=tmp_path, take=number))

    with FalEmulator(speed=100, clip=smallest_video(), concurrency=40) as emulator:
        jobs = [job(number) for number in range(40)]
        videos = await asyncio.gather(*(process_loop().arun(job) for job in jobs))
        assert (emulator.charged, len({video.path for video in videos})) == (40, 40)
    assert [video.take for video in videos] == [str(number) for number in range(40)]
    assert len(names(tmp_path)) == 80


# The same video again


def test_what_is_there_is_found_and_not_bought(tmp_path: Path, emulator: FalEmulator) -> None:
    """The same input in the same place is the same video, and that is all that is told."""
    video, events = generate(emulator, tmp_path), list[object]()
    assert generate(emulator, tmp_path, handle=events.append) == video
    assert (events, emulator.charged, emulator.requests["submit"]) == ([Reused(video)], 1, 1)


def test_another_take_another_input_and_another_model_are_bought(
    tmp_path: Path, emulator: FalEmulator
) -> None:
    """The same prompt is made again on purpose, by its take; 1 and "1" are the same."""
    for take in (0, 1, "1", "morning"):
        generate(emulator, tmp_path, take=take)
    generate(emulator, tmp_path, Hailuo02ProTextToVideo(prompt=FOX.prompt, prompt_optimizer=False))
    generate(emulator, tmp_path, Hailuo23ProTextToVideo(prompt=FOX.prompt))
    assert (emulator.charged, len(names(tmp_path))) == (5, 10)


def test_a_place_that_was_moved_keeps_its_videos(tmp_path: Path, emulator: FalEmulator) -> None:
    """They are found where the place is now, whatever their records say."""
    video = generate(emulator, tmp_path / "before")
    shutil.move(tmp_path / "before", tmp_path / "after")
    moved = generate(emulator, tmp_path / "after")
    assert (moved.path, emulator.charged) == (tmp_path / "after" / path_of(video).name, 1)
    assert moved.is_there() and moved.storage == Directory(tmp_path / "after").label


@pytest.mark.parametrize("harm", ["gone", "cut", "changed"])
def test_a_file_that_is_harmed_is_downloaded_again(
    tmp_path: Path, emulator: FalEmulator, harm: str
) -> None:
    """As long as its record is there it is not bought again; a download costs nothing."""
    video = generate(emulator, tmp_path)
    whole = path_of(video).read_bytes()
    if harm == "gone":
        path_of(video).unlink()
    else:
        path_of(video).write_bytes(whole[:-1] if harm == "cut" else whole[:-1] + b"x")
    assert generate(emulator, tmp_path) == video
    assert path_of(video).read_bytes() == whole
    assert (emulator.charged, emulator.requests["media"]) == (1, 2)


def test_with_its_record_gone_too_it_is_bought_anew(tmp_path: Path, emulator: FalEmulator) -> None:
    """Who deletes both has it forgotten."""
    video = generate(emulator, tmp_path)
    path_of(video).unlink()
    record_of(video).unlink()
    assert generate(emulator, tmp_path).request_id != video.request_id
    assert emulator.charged == 2


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
    tmp_path: Path, emulator: FalEmulator, spoil: Callable[[bytes], bytes]
) -> None:
    """Something was bought here once; whether to buy it anew is the caller's to say."""
    video = generate(emulator, tmp_path)
    record_of(video).write_bytes(spoil(record_of(video).read_bytes()))
    with pytest.raises(StorageError, match=f"Restore {record_of(video).name}, or delete it"):
        generate(emulator, tmp_path)
    assert emulator.charged == 1


def test_a_record_of_another_video_is_passed_over(tmp_path: Path, emulator: FalEmulator) -> None:
    """What is no record of this video says nothing about it; a true one takes its place."""
    video = generate(emulator, tmp_path)
    record = record_of(video).read_bytes()
    record_of(video).write_bytes(record.replace(b'"key": "', b'"key": "f'))
    anew = generate(emulator, tmp_path)
    assert Video.model_validate_json(record_of(video).read_bytes()) == anew
    assert emulator.charged == 2


def test_an_odd_measure_from_fal_loses_no_video(tmp_path: Path, emulator: FalEmulator) -> None:
    """What fal says of its own working time is no reason to drop what was paid for."""
    odd = {"metrics": {"inference_time": "a while"}}
    emulator.faults.add(edit("stream", lambda status: {**status, **odd}, count=None))
    assert generate(emulator, tmp_path).inference_seconds is None
    assert emulator.charged == 1


def test_a_fault_after_success_does_not_claim_that_nothing_was_spent(
    tmp_path: Path, emulator: FalEmulator
) -> None:
    """Of a request that completed without an error, a typed fault leaves the cost open."""
    typed = {"X-Fal-Error-Type": "runner_server_error"}
    emulator.faults.add(refuse("result", 500, headers=typed, count=None))
    with pytest.raises(FalFaultError) as caught:
        generate(emulator, tmp_path)
    assert caught.value.ticket is not None
    assert (caught.value.billed, emulator.charged) == (Billed.UNKNOWN, 1)


def test_a_result_is_not_waited_for_beyond_the_deadline(
    tmp_path: Path, emulator: FalEmulator
) -> None:
    """One deadline covers waiting and fetching; a completed request is given a little more."""
    emulator.faults.add(refuse("result", 503, count=None))
    order = make_order(
        FOX, credentials=emulator.credentials(), storage=tmp_path, timeout_seconds=30
    )

    async def job(connections: Connections, emit: Emit) -> Video:
        return await Road(order.access, connections, clock=Hundredfold()).generate(order)

    with pytest.raises(GenerationTimeoutError, match="within 60 seconds") as caught:
        process_loop().run(job)
    assert caught.value.ticket is not None


def test_a_record_cannot_send_a_file_elsewhere(tmp_path: Path, emulator: FalEmulator) -> None:
    """A file is restored under the name of its own generation, whatever the record says."""
    video = generate(emulator, tmp_path / "videos")
    record = json.loads(record_of(video).read_bytes())
    record_of(video).write_text(json.dumps({**record, "storage_key": "../elsewhere.mp4"}))
    path_of(video).unlink()
    assert generate(emulator, tmp_path / "videos") == video
    assert names(tmp_path) == ["videos"] and path_of(video).exists()


# Its link gone too


def test_the_emulator_makes_anew_what_it_no_longer_serves(
    tmp_path: Path, emulator: FalEmulator
) -> None:
    """It was restarted, or started elsewhere, and nothing that it makes costs anything."""
    video = generate(emulator, tmp_path)
    path_of(video).unlink()
    emulator.faults.add(expire_file())
    assert generate(emulator, tmp_path).request_id != video.request_id


def test_fal_is_not_asked_to_make_it_anew(tmp_path: Path, fal: FalEmulator) -> None:
    """It was paid for once: the error says so, names every cure, and one of them is heeded."""
    video = generate(fal, tmp_path)
    path_of(video).unlink()
    fal.faults.add(expire_file())
    with pytest.raises(VideoExpiredError, match="put the file back, pass a new take") as caught:
        generate(fal, tmp_path)
    error = caught.value
    assert error.ticket and error.ticket.request_id == video.request_id
    assert (error.billed, error.retryable, fal.charged) == (Billed.YES, False, 1)
    assert record_of(video).name in str(error)
    record_of(video).unlink()
    assert generate(fal, tmp_path).is_there() and fal.charged == 2


def test_a_fault_that_passes_is_not_taken_for_an_expired_link(
    tmp_path: Path, fal: FalEmulator
) -> None:
    """A file server that is down for a while may be asked again, and nothing is bought."""
    video = generate(fal, tmp_path)
    path_of(video).unlink()
    order = make_order(FOX, credentials=fal.credentials(), storage=tmp_path)

    async def hurry(connections: Connections, emit: Emit) -> Video:
        return await Road(order.access, connections, emit, HurriedClock()).generate(order)

    fal.faults.add(refuse("media", 503, count=6))
    with pytest.raises(DownloadError, match="HTTP 503") as caught:
        process_loop().run(hurry)
    assert (type(caught.value), caught.value.retryable) == (DownloadError, True)
    assert process_loop().run(hurry) == video
    assert fal.charged == 1


# Whatever happens, nothing paid for is out of reach


def test_a_deadline_that_passes_loses_nothing(tmp_path: Path) -> None:
    """The error carries the ticket, with which the video is collected when it is there."""
    clock = ManualClock()
    with FalEmulator(clock=clock, clip=smallest_video(), durations=100) as emulator:
        access = emulator.credentials().access()
        with pytest.raises(GenerationTimeoutError) as caught:
            generate(emulator, tmp_path, timeout_seconds=0.3)
        assert caught.value.ticket
        ticket = Ticket.model_validate_json(caught.value.ticket.model_dump_json())
        assert (caught.value.billed, names(tmp_path)) == (Billed.UNKNOWN, [])
        clock.advance(100)
        completed = process_loop().run(waiting(ticket, access, 10))
        output = process_loop().run(fetching(ticket, access, completed))
        video = process_loop().run(storing(ticket, output, Directory(tmp_path), completed))
        assert generate(emulator, tmp_path) == video
        assert emulator.charged == 1


@pytest.mark.parametrize(
    ("fault", "kind", "error_type", "billed"),
    [
        (refuse_content(), ContentPolicyError, "content_policy_violation", Billed.NO),
        (refuse_content(charged=True), ContentPolicyError, "content_policy_violation", Billed.YES),
        (fail_inside(), FalFaultError, "internal_server_error", Billed.NO),
        (time_out(), FalFaultError, "generation_timeout", Billed.NO),
    ],
    ids=["content", "content, charged", "500", "504"],
)
def test_a_failure_is_told_by_kind_and_at_once(
    tmp_path: Path,
    emulator: FalEmulator,
    fault: Fault,
    kind: type[FalError],
    error_type: str,
    billed: Billed,
) -> None:
    """What failed, whether it was charged, and which request it was; nothing is left behind."""
    emulator.faults.add(fault)
    began = time.monotonic()
    with pytest.raises(FalError) as caught:
        generate(emulator, tmp_path)
    error = caught.value
    assert (type(error), error.error_type, error.billed) == (kind, error_type, billed)
    assert error.ticket and error.ticket.request_id == emulator.submissions[0].request_id
    assert names(tmp_path) == [] and time.monotonic() - began < 3


def test_a_cancelled_request_is_told_at_once(tmp_path: Path) -> None:
    """Whoever cancels it, at fal or in another process: the one who waits hears of it."""
    with FalEmulator(clock=ManualClock(), concurrency=1) as emulator:
        client = emulator.credentials().get_client()
        ahead = make_order(OWL, credentials=emulator.credentials(), storage=tmp_path)
        process_loop().run(submitting(ahead))

        def cancel_once_queued(event: object) -> None:
            if isinstance(event, Progress) and isinstance(event.status, InQueue):
                client.cancel(event.ticket)

        with pytest.raises(RequestCancelledError) as caught:
            generate(emulator, tmp_path, handle=cancel_once_queued)
        assert caught.value.ticket and emulator.charged == 0


def test_a_failure_without_a_reason_is_not_waited_for_half_an_hour(
    emulator: FalEmulator,
) -> None:
    """fal said that it failed and keeps answering 500: that is the failure, no passing fault."""
    clock = HurriedClock()
    order = make_order(FOX, credentials=emulator.credentials())
    ticket = process_loop().run(submitting(order))
    emulator.faults.add(refuse("result", 500, count=None))

    async def fetch(connections: Connections, emit: Emit) -> object:
        road = Road(order.access, connections, emit, clock)
        return await road.fetch(ticket, Completed(error="Invalid status code: 500"))

    with pytest.raises(FalFaultError) as caught:
        process_loop().run(fetch)
    assert (caught.value.ticket, sum(clock.slept) <= 20) == (ticket, True)


async def test_who_is_cancelled_before_the_purchase_buys_nothing(
    tmp_path: Path, emulator: FalEmulator
) -> None:
    """The purchase cannot be interrupted, so it does not even begin."""
    order = make_order(FOX, credentials=emulator.credentials(), storage=tmp_path)

    async def cancelled(connections: Connections, emit: Emit) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await Road(order.access, connections).submit(order)

    await process_loop().arun(cancelled)
    assert emulator.requests["submit"] == 0


async def test_who_is_cancelled_during_the_purchase_hears_of_its_ticket(
    tmp_path: Path, emulator: FalEmulator
) -> None:
    """The POST is finished and its ticket told before the cancellation surfaces."""
    emulator.faults.add(delay("submit", 0.3))
    order, tickets = make_order(FOX, credentials=emulator.credentials(), storage=tmp_path), []

    async def note(event: object) -> None:
        if isinstance(event, Submitted):
            tickets.append(event.ticket.request_id)

    task = asyncio.create_task(process_loop().arun(generating(order), note))
    await asyncio.to_thread(wait_for_submission, emulator)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tickets == [emulator.submissions[0].request_id]
    assert names(tmp_path) == []


class FullAtFirst(Block):
    """A block that has no room for the first video."""

    _files: dict[str, bytes] = PrivateAttr(default_factory=dict)
    _full: bool = PrivateAttr(default=True)

    def read_path(self, path: str) -> bytes:
        return self._files[path]

    def write_path(self, path: str, content: bytes) -> None:
        if self._full and path.endswith(".mp4"):
            self._full = False
            raise OSError("No space left on device")
        self._files[path] = content


def test_a_video_that_could_not_be_stored_is_not_bought_again(emulator: FalEmulator) -> None:
    """Its record is written first, so a rerun finds it; the error says how to collect it."""
    place = FullAtFirst()
    with pytest.raises(StorageError, match="HailuoVideoRun") as caught:
        generate(emulator, place)
    assert caught.value.ticket and caught.value.billed is Billed.YES
    assert generate(emulator, place).request_id == caught.value.ticket.request_id
    assert emulator.charged == 1


# Files that cannot be looked into


def test_a_video_that_cannot_be_read_is_kept(tmp_path: Path, emulator: FalEmulator) -> None:
    """It is complete and paid for; that PyAV makes nothing of it costs its measures only."""
    events: list[object] = []
    video = generate(emulator, tmp_path, handle=events.append)
    assert path_of(video).read_bytes() == smallest_video()
    assert not any(video.model_dump(include=MEASURES).values())
    assert events[-1] == Stored(video, poster=None)


@pytest.mark.parametrize("module", ["None", "types.ModuleType(name)"], ids=["missing", "broken"])
def test_without_the_extra_media_all_but_the_measures_is_there(
    tmp_path: Path, filming: FalEmulator, module: str
) -> None:
    """Neither a missing nor a broken PyAV and Pillow keep a paid video from its place."""
    child = run_python(GENERATE_WITHOUT.format(module=module), filming.url, tmp_path)
    assert child.code == 0, child.stderr
    video = Video.model_validate_json(child.stdout)
    assert video.is_there() and video == generate(filming, tmp_path)
    assert not any(video.model_dump(include=MEASURES).values())


# Adopted requests


def test_requests_known_by_their_ids_have_files_of_their_own(
    tmp_path: Path, emulator: FalEmulator
) -> None:
    """Ids that are alike for long do not share a file; there is no key without an input."""
    planted = emulator.plant(FOX.endpoint.id, FOX.body())
    ticket = Ticket(endpoint=FOX.endpoint.id, request_id=planted, realm="emulator")
    output = process_loop().run(fetching(ticket, emulator.credentials().access()))
    alike = [ticket.model_copy(update={"request_id": f"{planted}-{n}"}) for n in range(3)]
    videos = [process_loop().run(storing(each, output, Directory(tmp_path))) for each in alike]
    assert len({path_of(video) for video in videos}) == 3
    assert {(video.key, video.is_there()) for video in videos} == {(None, True)}


def test_a_bare_fault_never_speaks_for_a_failed_request(
    tmp_path: Path, emulator: FalEmulator
) -> None:
    """Where the reason of a failure cannot be had, nobody says that nothing was spent."""
    emulator.faults.add(refuse_content(charged=True), refuse("result", 502, count=None))
    order = make_order(FOX, credentials=emulator.credentials(), storage=tmp_path)

    async def job(connections: Connections, emit: Emit) -> Video:
        return await Road(order.access, connections, clock=Hundredfold()).generate(order)

    with pytest.raises(FalFaultError) as caught:
        process_loop().run(job)
    assert (caught.value.billed, emulator.charged) == (Billed.UNKNOWN, 1)
