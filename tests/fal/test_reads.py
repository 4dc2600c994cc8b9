"""Reading is free: what passes is waited out, until a deadline that nothing outlasts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
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
    access_to,
    answer,
    closed_port,
)

from prefect_hailuo.clock import Deadline, SystemClock
from prefect_hailuo.emulator import (
    FalEmulator,
    ManualClock,
    drop_after_accepting,
    drop_before_accepting,
    lose_answer,
    refuse,
)
from prefect_hailuo.errors import (
    BadKeyError,
    FalFaultError,
    GenerationTimeoutError,
    RateLimitedError,
)
from prefect_hailuo.fal import retry
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import Cancellation, Completed, InProgress, InQueue

Read = Callable[[AsyncFalClient, float], Awaitable[Any]]

READS: dict[str, tuple[Read, Reply]] = {
    "status": (
        lambda client, seconds: client.status(TICKET, timeout_seconds=seconds),
        answer(202, {"status": "IN_QUEUE", "queue_position": 3}),
    ),
    "result": (
        lambda client, seconds: client.result(TICKET, timeout_seconds=seconds),
        answer(200, {"video": {"url": "https://v3.fal.media/x.mp4"}}),
    ),
    "cancel": (
        lambda client, seconds: client.cancel(TICKET, timeout_seconds=seconds),
        answer(202, {"status": "CANCELLATION_REQUESTED"}),
    ),
    "check_key": (
        lambda client, seconds: client.check_key(timeout_seconds=seconds),
        answer(404, {"status": "NOT_FOUND"}),
    ),
}
each_read = pytest.mark.parametrize(("read", "good"), READS.values(), ids=list(READS))

PASSING = {
    "429": answer(429, {"detail": "Too many requests"}),
    "500": answer(500, {"detail": "Internal Server Error"}),
    "502 HTML": answer(502, HTML),
    "503 HTML": answer(503, HTML),
    "504 nothing": answer(504, b""),
    "closed": Reply(),
    "closed unread": Reply(ending="slam"),
    "reset": Reply(ending="reset"),
    "cut": answer(200, {"status": "IN_QUEUE"}).cut(by=3),
    "no HTTP": Reply(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "unzippable": answer(200, b"no zip at all", {"Content-Encoding": "gzip"}),
}


ODD = {
    "200 HTML": answer(200, HTML),
    "200 nothing": answer(200, b""),
    "204": answer(204, b""),
    "302": answer(302, b"", {"Location": "/login"}),
    "304": answer(304, b""),
    "401": answer(401, {"detail": "invalid key credentials"}),
    "401 HTML": answer(401, HTML),
    "403": answer(403, {"detail": "User is locked. Reason: Exhausted balance."}),
    "403 HTML": answer(403, HTML),
    "404 HTML": answer(404, HTML),
    "405": answer(405, {"detail": "Method Not Allowed"}),
    "407": answer(407, HTML),
    "408": answer(408, b""),
    "410 HTML": answer(410, HTML),
    "422 HTML": answer(422, HTML),
    "425": answer(425, b""),
    "499 nothing": answer(499, b""),
    "half": answer(200, b'{"status": "COMPLET'),
    "two encodings": answer(200, b"x", {"Content-Encoding": "gzip, gzip"}),
    "an hour of patience": answer(429, {"detail": "Later"}, {"Retry-After": "1e9"}),
}


@pytest.mark.parametrize("name", ["status", "result"])
@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
async def test_one_odd_answer_ends_no_paid_request(name: str, odd: Reply) -> None:
    """Whatever is not fal's own last word on it is asked again, with a pause that is no hour."""
    read, good = READS[name]
    clock = HurriedClock()
    with RawServer(odd, odd, good) as server:
        async with AsyncFalClient(server.access(), clock=clock) as client:
            await read(client, 600)
    assert len(server.requests) == 3
    assert max(clock.slept) <= retry.LONGEST_READ_PAUSE_SECONDS


@pytest.mark.parametrize("name", ["status", "result"])
@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
async def test_odd_answers_to_the_end_lose_nothing(name: str, odd: Reply) -> None:
    """The error carries the ticket, and says to run it again."""
    with RawServer(odd) as server:
        async with AsyncFalClient(server.access(), clock=HurriedClock()) as client:
            with pytest.raises(GenerationTimeoutError, match="run the task or job again") as caught:
                await READS[name][0](client, 60)
    assert (caught.value.ticket, caught.value.billed.value) == (TICKET, "unknown")
    assert caught.value.retryable


async def test_a_key_that_stays_bad_is_named_in_the_cure() -> None:
    """Nothing is lost by it; but no waiting will help."""
    with RawServer(ODD["401"]) as server:
        async with AsyncFalClient(server.access(), clock=HurriedClock()) as client:
            with pytest.raises(GenerationTimeoutError, match=r"fal\.ai/dashboard/keys"):
                await client.status(TICKET, timeout_seconds=60)


@each_read
async def test_faults_are_waited_out(read: Read, good: Reply) -> None:
    """Whatever goes wrong on the way, the question is asked again until there is an answer."""
    clock = HurriedClock()
    with RawServer(*PASSING.values(), good) as server:
        async with AsyncFalClient(server.access(), clock=clock) as client:
            await read(client, 600)
    assert server.connections == len(PASSING) + 1
    # A read whose connection was dropped unanswered, aiohttp repeats once by itself, at once: of
    # the three here in a row, the first and the last.
    assert len(clock.slept) == len(PASSING) - 2


@each_read
@pytest.mark.parametrize("reply", PASSING.values(), ids=list(PASSING))
async def test_no_fault_is_waited_out_past_the_deadline(
    read: Read, good: Reply, reply: Reply
) -> None:
    """At the deadline it is over, to the second; the error tells the last fault."""
    clock = HurriedClock()
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access(), clock=clock) as client:
            with pytest.raises(GenerationTimeoutError, match="The last fault was: ") as caught:
                await read(client, 5)
    assert clock.now() == pytest.approx(5)
    assert "within 5 seconds" in str(caught.value)
    assert caught.value.ticket == (None if good is READS["check_key"][1] else TICKET)
    assert isinstance(caught.value.__cause__, FalFaultError | RateLimitedError | httpx.RequestError)


@each_read
@pytest.mark.parametrize(
    "reply", [Reply(ending="hang"), Reply(b"HTTP/1.1 200 OK\r\n\r\n{", "trickle")]
)
async def test_no_answer_outlasts_the_deadline(read: Read, good: Reply, reply: Reply) -> None:
    """Silence, and bytes that trickle in for ever, end at the deadline too."""
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access()) as client:
            before = SystemClock().now()
            with pytest.raises(GenerationTimeoutError):
                await read(client, 0.1)
            assert SystemClock().now() - before < 2


async def test_fal_is_left_alone_as_long_as_it_asks() -> None:
    """The pause after a 429 is what `Retry-After` says."""
    clock = HurriedClock()
    busy = answer(429, {"detail": "Too many requests"}, {"Retry-After": "7"})
    with RawServer(busy, busy, READS["status"][1]) as server:
        async with AsyncFalClient(server.access(), clock=clock) as client:
            await client.status(TICKET)
    assert clock.slept == [7, 7]


async def test_fal_is_not_asked_without_a_pause() -> None:
    """`Retry-After: 0`, or a date that is past, is no leave to ask a thousand times a second."""
    clock = HurriedClock()
    busy = answer(429, {"detail": "Too many requests"}, {"Retry-After": "0"})
    with RawServer(busy) as server:
        async with AsyncFalClient(server.access(), clock=clock) as client:
            with pytest.raises(GenerationTimeoutError):
                await client.status(TICKET, timeout_seconds=60)
    assert len(server.requests) <= 60 / retry.FIRST_PAUSE_SECONDS


async def test_fal_is_asked_less_and_less_often() -> None:
    """Without a word from fal, the pauses grow to a quarter of a minute and no further."""
    clock = HurriedClock()
    with RawServer(answer(503, HTML)) as server:
        async with AsyncFalClient(server.access(), clock=clock) as client:
            with pytest.raises(GenerationTimeoutError):
                await client.status(TICKET, timeout_seconds=1800)
    assert clock.slept[0] <= retry.FIRST_PAUSE_SECONDS
    assert max(clock.slept) <= retry.LONGEST_PAUSE_SECONDS
    assert len(server.requests) < 300


async def test_no_connection_is_waited_out_too() -> None:
    """A network that is down for a while loses nothing: the ticket is asked about again."""
    clock = HurriedClock()
    with closed_port() as url:
        async with AsyncFalClient(access_to(url), clock=clock) as client:
            with pytest.raises(GenerationTimeoutError, match="ConnectError") as caught:
                await client.status(TICKET, timeout_seconds=5)
    assert caught.value.ticket == TICKET


async def test_a_fault_of_the_question_is_not_the_requests_failure() -> None:
    """A status or a cancellation that fal fails at, even by name, says nothing of the request.

    It is asked again: taken for the request's own failure, it would be bought a second time.
    """
    named = answer(500, {"detail": "Oops", "error_type": "internal_error"})
    for name in ("status", "cancel"):
        read, good = READS[name]
        with RawServer(named, named, good) as server:
            async with AsyncFalClient(server.access(), clock=HurriedClock()) as client:
                await read(client, 60)
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("read", "good"), [READS["cancel"], READS["check_key"]], ids=["cancel", "check_key"]
)
async def test_what_does_not_pass_is_not_waited_for(read: Read, good: Reply) -> None:
    """A bad key stays bad: it is said at once, where no paid video hangs on the answer."""
    clock = HurriedClock()
    with RawServer(answer(401, {"detail": "invalid key credentials"})) as server:
        async with AsyncFalClient(server.access(), clock=clock) as client:
            with pytest.raises(BadKeyError, match=r"fal\.ai/dashboard/keys"):
                await read(client, 60)
    assert (len(server.requests), clock.slept) == (1, [])


async def test_logs_are_asked_for_or_not() -> None:
    """fal sends logs only to whoever asks for them."""
    with FalEmulator(clip=b"", clock=(time := ManualClock()), durations=100) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            time.advance(50)
            with_logs, without = (
                await client.status(ticket),
                await client.status(ticket, logs=False),
            )
    assert isinstance(with_logs, InProgress)
    assert with_logs.logs
    assert without == InProgress()
    with RawServer(READS["status"][1]) as server:
        async with AsyncFalClient(server.access()) as client:
            await client.status(TICKET, logs=True)
            await client.status(TICKET, logs=False)
    assert [httpx.URL(each.target).query for each in server.requests] == [b"logs=1", b""]


async def test_a_request_goes_from_the_queue_to_its_result() -> None:
    """Each state is a value of its own, and the result is where the video is."""
    with FalEmulator(
        clip=b"video", clock=(time := ManualClock()), durations=100, concurrency=1
    ) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            first = await client.submit(ENDPOINT, BODY)
            second = await client.submit(ENDPOINT, BODY)
            assert isinstance(await client.status(first), InProgress)
            assert await client.status(second, logs=False) == InQueue(queue_position=0)
            time.advance(100)
            completed = await client.status(first)
            assert isinstance(completed, Completed)
            assert completed.metrics == {"inference_time": 100}
            output = await client.result(first)
    assert (output.video.content_type, output.video.file_size) == ("video/mp4", 5)


async def test_every_word_of_a_cancellation_is_understood() -> None:
    """Taken from the queue, asked of the model, too late, or unknown: the caller is told which."""
    with FalEmulator(
        clip=b"", clock=(time := ManualClock()), durations=100, concurrency=1
    ) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            running, waiting = [await client.submit(ENDPOINT, BODY) for _ in range(2)]
            stranger = running.model_copy(
                update={"request_id": "emulator-no-such", "cancel_url": None}
            )
            assert await client.cancel(waiting) is Cancellation.REMOVED
            assert await client.cancel(running) is Cancellation.REQUESTED
            time.advance(100)
            assert await client.cancel(running) is Cancellation.TOO_LATE
            assert await client.cancel(stranger) is Cancellation.UNKNOWN_REQUEST


EMULATED = [
    refuse("status", 429, headers={"Retry-After": "2"}, count=3),
    lose_answer("status", 503, nth=5),
    drop_before_accepting("status", nth=7),
    drop_after_accepting("status", reset=True, nth=9),
    refuse("result", 500, count=2),
    drop_after_accepting("result", nth=4),
    lose_answer("cancel", 502),
]


async def test_a_bad_day_at_fal_costs_time_only() -> None:
    """One fault after the other, from status to result, and the one video that was paid for."""
    clock = HurriedClock()
    with FalEmulator(speed=100_000, clip=b"", faults=EMULATED) as emulator:
        async with AsyncFalClient(emulator.credentials().access(), clock=clock) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            await anyio.sleep(0.02)
            for _ in range(5):
                assert isinstance(await client.status(ticket), Completed)
            for _ in range(2):
                assert (await client.result(ticket)).video.url.startswith(emulator.url)
            assert await client.cancel(ticket) is Cancellation.TOO_LATE
        assert emulator.charged == emulator.requests["submit"] == 1
    assert clock.slept.count(2) == 3


async def test_a_deadline_counts_from_when_it_was_set() -> None:
    """What is left shrinks, never below nothing, and sleep ends at the deadline."""
    clock = HurriedClock()
    deadline = Deadline(10, clock)
    await clock.sleep(4)
    assert (deadline.remaining, deadline.elapsed, deadline.passed) == (6, 4, False)
    await deadline.sleep(100)
    assert (deadline.remaining, deadline.elapsed, deadline.passed) == (0, 10, True)
