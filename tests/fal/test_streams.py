"""The stream of statuses: what it says, and how it ends."""

from __future__ import annotations

import httpx
import pytest
from raw_server import (
    HTML,
    TICKET,
    RawServer,
    Reply,
    answer,
    event,
    events,
)

from prefect_hailuo.errors import (
    BadKeyError,
    Billed,
    FalError,
    MalformedReplyError,
    RequestNotFoundError,
    StreamDroppedError,
)
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import Completed, InProgress, InQueue
from prefect_hailuo.fal.transport import MOST_EVENT_BYTES
from prefect_hailuo.ticket import Ticket

Status = InQueue | InProgress | Completed

QUEUED = event({"status": "IN_QUEUE", "queue_position": 1})
WORKING = event({"status": "IN_PROGRESS", "logs": [{"message": "50 %"}]})
DONE = event({"status": "COMPLETED", "metrics": {"inference_time": 3.5}})


async def heard(client: AsyncFalClient, ticket: Ticket = TICKET) -> list[Status]:
    """Everything that a stream says."""
    return [status async for status in client.stream(ticket)]


async def test_a_stream_says_each_status_and_ends_with_the_last() -> None:
    """From the queue to the end, each a value of its own; nothing is read past the end."""
    with RawServer(events(QUEUED, WORKING, DONE, "data: rubbish\n\n")) as server:
        async with AsyncFalClient(server.access()) as client:
            statuses = await heard(client)
    assert [type(status) for status in statuses] == [InQueue, InProgress, Completed]
    assert [line.message for line in statuses[1].logs or []] == ["50 %"]


async def test_fals_signs_of_life_are_no_statuses() -> None:
    """Comments, and events that carry no data, are passed over, however the lines are cut."""
    noise = [": ping\n\n", "retry: 3000\n\n", "id: 7\n\n", DONE[:9], DONE[9:]]
    with RawServer(events(*noise)) as server:
        async with AsyncFalClient(server.access()) as client:
            assert [type(status) for status in await heard(client)] == [Completed]


@pytest.mark.parametrize("logs", [True, False])
async def test_a_stream_brings_logs_just_if_they_are_asked_for(logs: bool) -> None:
    """fal is asked as a browser would ask, with or without logs."""
    with RawServer(events(DONE)) as server:
        async with AsyncFalClient(server.access()) as client:
            [_] = [status async for status in client.stream(TICKET, logs=logs)]
    [request] = server.requests
    url = httpx.URL(request.target)
    assert (url.path, url.query) == (
        "/fal-ai/minimax/requests/r1/status/stream",
        b"logs=1" if logs else b"",
    )
    assert request.headers["accept"] == "text/event-stream"


DROPS = {
    "closed": events(QUEUED, whole=False),
    "reset": Reply(events(QUEUED, whole=False).data, "reset"),
    "ended too early": events(QUEUED),
    "cut in an event": events(QUEUED, DONE[:20]),
    "an endless line": events(QUEUED, "data: " + "x" * MOST_EVENT_BYTES, DONE),
    "an endless event": events(QUEUED, *["data: x\n" * 1000] * 140, DONE),
    "unzippable": answer(
        200, b"no zip", {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}
    ),
}


@pytest.mark.parametrize("reply", DROPS.values(), ids=list(DROPS))
async def test_a_stream_that_drops_says_so(reply: Reply) -> None:
    """A stream that ends without the end is an error: nobody takes silence for completion."""
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(StreamDroppedError) as caught:
                await heard(client)
    assert caught.value.ticket
    assert (caught.value.billed, caught.value.retryable) == (Billed.UNKNOWN, True)


NO_STREAMS = {
    "HTML": (answer(200, HTML, {"Content-Type": "text/html"}), MalformedReplyError),
    "no type": (answer(200, HTML), MalformedReplyError),
    "rubbish": (events("data: PONDERING\n\n"), MalformedReplyError),
    "no status": (events(event({"status": 7})), MalformedReplyError),
    "refused": (answer(401, {"detail": "invalid key"}), BadKeyError),
    "unknown": (answer(404, {"status": "NOT_FOUND"}), RequestNotFoundError),
    "redirected": (answer(302, b"", {"Location": "/elsewhere"}), FalError),
    "failed": (answer(500, {"detail": "Oops", "error_type": "internal_error"}), FalError),
}


@pytest.mark.parametrize(("reply", "kind"), NO_STREAMS.values(), ids=list(NO_STREAMS))
async def test_what_is_no_stream_is_refused(reply: Reply, kind: type[FalError]) -> None:
    """The error names the request, and does not claim to know what it cost."""
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(kind) as caught:
                await heard(client)
    assert caught.value.ticket == TICKET
    assert caught.value.billed is Billed.UNKNOWN
    assert server.methods == ["GET"]


async def test_a_long_stream_of_short_events_has_no_end_of_patience() -> None:
    """The bound is an event's, however the pieces of a stream are cut, and with any line ends."""
    line = QUEUED.rstrip().replace("}", ', "x": "' + "x" * 10_000 + '"}')
    for end in ("\n", "\r\n", "\r"):
        frames = [part for _ in range(200) for part in (line, end[:1], end[1:] + end)]
        with RawServer(events(*[each for each in frames if each], DONE)) as server:
            async with AsyncFalClient(server.access()) as client:
                assert len([status async for status in client.stream(TICKET)]) == 201


async def test_a_status_url_with_a_query_has_a_stream() -> None:
    """Its path is what is lengthened."""
    with RawServer(events(DONE)) as server:
        url = f"{server.url}/fal-ai/minimax/requests/r1/status?region=eu"
        ticket = TICKET.model_copy(update={"status_url": url})
        async with AsyncFalClient(server.access()) as client:
            [_] = [status async for status in client.stream(ticket, logs=True)]
    assert server.requests[0].target.endswith("/status/stream?region=eu&logs=1")
