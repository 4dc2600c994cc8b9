"""The road of a generation, without Prefect: what a new video is, and what is told of it."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
from children import run_python
from file_server import smallest_video
from roads import FOX, OWL, Hundredfold, generate, names, order_of, path_of, record_of, timed

from prefect_hailuo import Ticket, Video
from prefect_hailuo.emulator import FalEmulator, edit
from prefect_hailuo.engine.events import Logged, Progress, Stored, Submitted
from prefect_hailuo.engine.loop import POSTS_AT_ONCE, Connections, Emit, Job, process_loop
from prefect_hailuo.engine.wait import PROGRESS_SECONDS
from prefect_hailuo.fal.messages import Completed
from prefect_hailuo.runs.execution import fetching, generating, storing
from prefect_hailuo.storage.place import Directory

MEASURES = {"width", "height", "duration_seconds", "frames_per_second", "codec"}

GENERATE_WITHOUT = """
    import sys, types
    for name in ("av", "PIL"):
        sys.modules[name] = {module}
    from pathlib import Path
    from pydantic import SecretStr
    from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo
    from prefect_hailuo.fal.hosts import Access, Hosts
    from prefect_hailuo.engine.road import generate
    from prefect_hailuo.engine.session import Session
    from prefect_hailuo.ledger.address import ledger_address
    from prefect_hailuo.engine.loop import process_loop
    from prefect_hailuo.engine.order import Order
    from prefect_hailuo.storage.place import Directory

    url, folder, ledger_url = sys.argv[1:]
    fox = Hailuo02ProTextToVideo(prompt="A red fox crosses a snowy field.")
    access = Access(
        SecretStr("emulator:no-real-key"), Hosts(url, url, url, url), "emulator", "emulator"
    )
    ledger = ledger_address(ledger_url, "emulator", Path(folder))
    order = Order(fox, access, Directory(folder), ledger)

    async def job(connections, emit):
        return await generate(order, Session(access, ledger, connections))

    print(process_loop().run(job).model_dump_json())
    assert "prefect" not in sys.modules
"""

# A new video


def test_a_generation_tells_its_story_in_order(tmp_path: Path, emulator: FalEmulator) -> None:
    """Submitted, then its statuses and the model's words, then stored, with a poster."""
    events: list[object] = []
    video = generate(emulator, tmp_path, handle=events.append)
    first, *middle, last = events
    assert isinstance(first, Submitted) and first.ticket.request_id == video.request_id
    assert {type(event) for event in middle} == {Progress, Logged}
    statuses = [event.status for event in middle if isinstance(event, Progress)]
    assert isinstance(statuses[-1], Completed)
    assert isinstance(last, Stored) and last.video == video
    assert last.poster and last.poster.startswith("data:image/jpeg;base64,")


def test_the_file_is_what_the_video_says(tmp_path: Path, emulator: FalEmulator) -> None:
    """Its path, size, hash and measures, and where it came from."""
    video = generate(emulator, tmp_path)
    content = path_of(video).read_bytes()
    assert (video.size, video.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (video.width, video.height, video.codec) == (1920, 1080, "h264")
    assert (video.duration_seconds, video.content_type) == (6.0, "video/mp4")
    assert (video.endpoint, video.input) == (FOX.endpoint.id, FOX.body())
    assert (video.realm, video.account) == ("emulator", "emulator")
    assert video.submitted_at and video.completed_at
    assert video.submitted_at <= video.completed_at <= video.stored_at
    assert video.is_there() and video.made_by_emulator


def test_the_record_beside_it_is_the_video(tmp_path: Path, tiny: FalEmulator) -> None:
    """JSON that turns into the same value again, with the caller's take and labels."""
    place = tmp_path / "videos"
    video = generate(tiny, place, take="2026-11-20", labels={"shot": "7", "client": "Ö"})
    assert names(place) == sorted([path_of(video).name, record_of(video).name])
    assert Video.model_validate_json(record_of(video).read_bytes()) == video
    assert Video.model_validate_json(video.model_dump_json()) == video
    assert (video.take, video.labels) == ("2026-11-20", {"shot": "7", "client": "Ö"})


def test_waiting_is_told_now_and_then(tmp_path: Path) -> None:
    """While nothing changes the caller still hears of it, with the time that it takes."""
    events: list[object] = []
    with FalEmulator(clip=smallest_video(), durations=0.5) as emulator:
        process_loop().run(timed(order_of(emulator, tmp_path), Hundredfold()), events.append)
    told = [event for event in events if isinstance(event, Progress)]
    elapsed = [event.elapsed_seconds for event in told]
    assert len(told) > 5 and elapsed == sorted(elapsed)
    assert elapsed[-1] >= 5 * PROGRESS_SECONDS
    assert {event.expected_seconds for event in told} == {FOX.endpoint.expected_seconds}


async def test_forty_at_once_share_one_loop(tmp_path: Path) -> None:
    """Forty callers get forty videos, each its own, each charged once."""

    def job(number: int) -> Job[Video]:
        return generating(order_of(emulator, tmp_path / "videos", OWL, take=number)).job

    with FalEmulator(speed=100, clip=smallest_video(), concurrency=40) as emulator:
        jobs = [job(number) for number in range(40)]
        videos = await asyncio.gather(*(process_loop().arun(job) for job in jobs))
        assert (emulator.charged, len({video.path for video in videos})) == (40, 40)
    assert [video.take for video in videos] == [str(number) for number in range(40)]
    assert len(names(tmp_path / "videos")) == 80


def test_an_odd_measure_from_fal_loses_no_video(tmp_path: Path, tiny: FalEmulator) -> None:
    """What fal says of its own working time is no reason to drop what was paid for."""
    odd = {"metrics": {"inference_time": "a while"}}
    tiny.faults.add(edit("stream", lambda status: {**status, **odd}, count=None))
    assert generate(tiny, tmp_path).inference_seconds is None
    assert tiny.charged == 1


# Files that cannot be looked into


def test_a_video_that_cannot_be_read_is_kept(tmp_path: Path, tiny: FalEmulator) -> None:
    """It is complete and paid for; that PyAV makes nothing of it costs its measures only."""
    events: list[object] = []
    video = generate(tiny, tmp_path, handle=events.append)
    assert path_of(video).read_bytes() == smallest_video()
    assert not any(video.model_dump(include=MEASURES).values())
    assert events[-1] == Stored(video, poster=None)


@pytest.mark.parametrize("module", ["None", "types.ModuleType(name)"], ids=["missing", "broken"])
def test_without_the_extra_media_all_but_the_poster_is_there(
    tmp_path: Path, emulator: FalEmulator, ledger_url: str, module: str
) -> None:
    """Neither a missing nor a broken PyAV and Pillow keep a paid video from its place; its measures
    are in its boxes."""
    program = GENERATE_WITHOUT.format(module=module)
    child = run_python(program, emulator.url, tmp_path, ledger_url)
    assert child.code == 0, child.stderr
    video = Video.model_validate_json(child.stdout)
    assert video.is_there() and video == generate(emulator, tmp_path)
    assert (emulator.charged, all(video.model_dump(include=MEASURES).values())) == (1, True)


# Adopted requests


def test_requests_known_by_their_ids_have_files_of_their_own(
    tmp_path: Path, tiny: FalEmulator
) -> None:
    """Ids that are alike for long do not share a file; there is no key without an input."""
    planted = tiny.plant(FOX.endpoint.id, FOX.body())
    ticket = Ticket(endpoint=FOX.endpoint.id, request_id=planted, realm="emulator")
    output = process_loop().run(fetching(ticket, tiny.credentials().access()).job)
    alike = [ticket.model_copy(update={"request_id": f"{planted}-{n}"}) for n in range(3)]
    steps = [storing(each, output, Directory(tmp_path)) for each in alike]
    videos = [process_loop().run(step.job) for step in steps]
    assert len({path_of(video) for video in videos}) == 3
    assert {(video.key, video.is_there()) for video in videos} == {(None, True)}


def test_who_gives_up_while_others_are_served_has_bought_nothing(
    tmp_path: Path, emulator: FalEmulator
) -> None:
    """Before its POST it waits for those of others, and may be cancelled; a later run buys."""
    order = order_of(emulator, tmp_path)

    async def given_up(connections: Connections, emit: Emit) -> None:
        async with AsyncExitStack() as others:
            for _ in range(POSTS_AT_ONCE):
                await others.enter_async_context(connections.posts)
            with anyio.move_on_after(0.5):
                await generating(order).job(connections, emit)

    process_loop().run(given_up)
    assert emulator.charged == 0
    generate(emulator, tmp_path)
    assert emulator.charged == 1
