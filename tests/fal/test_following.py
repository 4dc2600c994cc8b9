"""A request is followed to its end, whatever its stream of statuses does."""

from __future__ import annotations

import anyio.lowlevel
import httpx
import pytest
from raw_server import (
    BODY,
    ENDPOINT,
    HTML,
    TICKET,
    HurriedClock,
    RawServer,
    Reply,
    answer,
    event,
    events,
)

from prefect_hailuo.clock import Deadline
from prefect_hailuo.emulator import (
    FalEmulator,
    Fault,
    ManualClock,
    cut,
    fail_inside,
    garble,
    go_back_to_queue,
    refuse,
)
from prefect_hailuo.errors import Billed, FalError, GenerationTimeoutError
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.follow import Supervisor, follow
from prefect_hailuo.fal.messages import Completed, InProgress, InQueue
from prefect_hailuo.ticket import Ticket

Status = InQueue | InProgress | Completed

QUEUED = event({"status": "IN_QUEUE", "queue_position": 1})
WORKING = event({"status": "IN_PROGRESS", "logs": [{"message": "50 %"}]})
DONE = event({"status": "COMPLETED", "metrics": {"inference_time": 3.5}})


def ignore(status: Status) -> None:
    """Take no notice."""


async def test_a_request_is_followed_by_one_stream() -> None:
    """Nothing but the stream is asked, and every status is seen."""
    seen: list[Status] = []
    time = ManualClock()

    def see(status: Status) -> None:
        seen.append(status)
        time.advance(50)

    with FalEmulator(clock=time, durations=50, clip=b"") as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            completed = await follow(client, ticket, Deadline(10), see)
        assert (emulator.requests["stream"], emulator.requests["status"]) == (1, 0)
    assert seen[-1] is completed
    assert [type(status) for status in seen] == [InProgress, Completed]


async def test_a_request_is_followed_back_into_the_queue() -> None:
    """fal may lose a runner and queue the request again: that is no end, and no error."""
    seen: list[Status] = []
    time = ManualClock()
    lost = go_back_to_queue(after_seconds=30, prompt="first")

    def see(status: Status) -> None:
        seen.append(status)
        time.advance(60)

    with FalEmulator(clock=time, durations=60, clip=b"", concurrency=1, faults=[lost]) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            ticket = await client.submit(ENDPOINT, {"prompt": "first"})
            await client.submit(ENDPOINT, {"prompt": "second"})
            await follow(client, ticket, Deadline(10), see)
        assert emulator.charged == 2
    states = [type(status) for status in seen]
    assert states == [InProgress, InQueue, InProgress, Completed]


GOES_ON: dict[str, tuple[list[Reply], list[str]]] = {
    "after a drop": ([events(QUEUED, whole=False), events(WORKING, DONE)], ["stream", "stream"]),
    "after drops": (
        [*[events(WORKING, whole=False)] * 3, events(DONE)],
        ["stream", "stream", "stream", "stream"],
    ),
    "after an end too early": ([events(QUEUED), events(DONE)], ["stream", "stream"]),
    "after no stream": ([answer(200, HTML)], ["stream"]),
    "after a stream refused": ([answer(405, {"detail": "Method Not Allowed"})], ["stream"]),
    # A read whose connection was dropped unanswered, aiohttp repeats once by itself.
    "after a reset": ([Reply(ending="reset")], ["stream", "stream"]),
}


@pytest.mark.parametrize(("replies", "asked"), GOES_ON.values(), ids=list(GOES_ON))
async def test_following_goes_on_without_its_stream(replies: list[Reply], asked: list[str]) -> None:
    """After each drop the status is asked; a stream that said anything is listened to again."""
    pending, done = (
        answer(202, {"status": "IN_PROGRESS"}),
        answer(200, {"status": "COMPLETED"}),
    )
    between = [reply for stream in replies[:-1] for reply in (stream, pending)]
    with RawServer(*between, replies[-1], pending, done) as server:
        async with AsyncFalClient(server.access(), clock=(clock := HurriedClock())) as client:
            completed = await follow(client, TICKET, Deadline(600, clock), ignore)
    assert isinstance(completed, Completed)
    paths = [httpx.URL(each.target).path.rpartition("/")[2] for each in server.requests]
    assert [path for path in paths if path == "stream"] == asked
    assert len(clock.slept) == paths.count("status") - (paths[-1] == "status")


class Together(ManualClock):
    """A clock that the emulator goes by too: what the client sleeps, passes at fal."""

    async def sleep(self, seconds: float) -> None:
        """Let seconds pass, for both."""
        self.advance(seconds)
        await anyio.lowlevel.checkpoint()


async def test_streams_refused_are_not_asked_for_again() -> None:
    """Where fal refuses streams, the status is asked now and then, until the end."""
    faults = [refuse("stream", 405, count=None)]
    with FalEmulator(
        clock=(time := Together()), durations=100, clip=b"", faults=faults
    ) as emulator:
        async with AsyncFalClient(emulator.credentials().access(), clock=time) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            await follow(client, ticket, Deadline(600, time), ignore)
        assert emulator.requests["stream"] == 1
        assert 10 < emulator.requests["status"] < 60


async def test_whoever_finds_no_stream_free_asks_now_and_then() -> None:
    """Streams are counted, and a thousand requests need no thousand of them."""
    time = Together()
    with FalEmulator(clock=time, durations=100, clip=b"") as emulator:
        async with AsyncFalClient(emulator.credentials().access(), clock=time) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            await follow(client, ticket, Deadline(600, time), ignore, Supervisor(streams=0))
        assert emulator.requests["stream"] == 0
        assert 10 < emulator.requests["status"] < 60


@pytest.mark.parametrize("reply", [events(DONE), events(), answer(405, b""), Reply()])
async def test_a_stream_is_given_back(reply: Reply) -> None:
    """However a stream ended, the next may have its place."""
    supervisor = Supervisor(streams=1)
    with RawServer(reply, answer(200, {"status": "COMPLETED"})) as server:
        async with AsyncFalClient(server.access()) as client:
            await follow(client, TICKET, Deadline(10), ignore, supervisor)
    assert supervisor.free_streams == 1


async def test_a_deadline_loses_nothing_but_time() -> None:
    """At the deadline the error carries the ticket; the same ticket leads to the video later."""
    with FalEmulator(clock=(time := ManualClock()), durations=100, clip=b"") as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            with pytest.raises(GenerationTimeoutError, match=r"within 0\.2 seconds") as caught:
                await follow(client, ticket, Deadline(0.2), ignore)
            assert caught.value.ticket == ticket
            assert "HailuoVideoRun(error.ticket, credentials)" in str(caught.value)
            time.advance(100)
            kept = Ticket.model_validate_json(caught.value.ticket.model_dump_json())
            await follow(client, kept, Deadline(10), ignore)
            assert (await client.result(kept)).video.url.startswith(emulator.url)
        assert emulator.charged == emulator.requests["submit"] == 1


@pytest.mark.parametrize(
    "reply",
    [Reply(ending="hang"), Reply(events(WORKING, whole=False).data, "trickle"), answer(503, HTML)],
)
async def test_no_stream_outlasts_the_deadline(reply: Reply) -> None:
    """Neither silence nor an endless stream is listened to past the deadline, which is told."""
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(GenerationTimeoutError, match=r"within 0\.2 seconds") as caught:
                await follow(client, TICKET, Deadline(0.2), ignore)
    assert caught.value.ticket == TICKET
    assert caught.value.billed is Billed.UNKNOWN


async def test_the_last_fault_is_told_at_the_deadline() -> None:
    """Whoever waited in vain for half an hour learns what was the matter."""
    with RawServer(answer(503, HTML)) as server:
        async with AsyncFalClient(server.access(), clock=(clock := HurriedClock())) as client:
            with pytest.raises(GenerationTimeoutError, match=r"within 1800 s.*HTTP 503") as caught:
                await follow(client, TICKET, Deadline(1800, clock), ignore)
    assert clock.now() == pytest.approx(1800)
    assert "Run it again" not in str(caught.value)  # which would buy another


@pytest.mark.parametrize("fault", [refuse("status", 401), garble("status")])
async def test_what_fal_says_of_the_question_does_not_end_the_following(fault: Fault) -> None:
    """A key that it refuses once, or a page that makes no sense, is asked again."""
    faults = [refuse("stream", 405, count=None), fault]
    with FalEmulator(speed=1000, clip=b"", durations=20, faults=faults) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            completed = await follow(client, ticket, Deadline(60, HurriedClock()), ignore)
    assert completed.error is None


async def test_what_fal_says_of_the_request_ends_the_following() -> None:
    """A request that fal does not know is not waited for."""
    faults = [refuse("stream", 405), refuse("status", 404)]
    with FalEmulator(clip=b"", faults=faults) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            with pytest.raises(FalError) as caught:
                await follow(client, ticket, Deadline(60, HurriedClock()), ignore)
    assert caught.value.ticket == ticket


async def test_a_failure_is_an_end_too() -> None:
    """fal has no word for failed: what completed with an error is followed to its end."""
    faults = [fail_inside(), cut("stream", 30)]
    with FalEmulator(speed=1000, clip=b"", durations=20, faults=faults) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            completed = await follow(client, ticket, Deadline(60, HurriedClock()), ignore)
    assert completed.error == "Invalid status code: 500"
    assert completed.error_type == "internal_server_error"
