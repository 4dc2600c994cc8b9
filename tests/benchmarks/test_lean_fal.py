"""The benchmark's stand-in for fal's queue: it keeps fal's rules, and counts and measures right."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from io import BytesIO

import fal_client.client
import httpx
import pytest

from benchmarks.flights.flight import WORTHLESS_KEY
from benchmarks.lean_fal.figures import summary
from benchmarks.lean_fal.load import Load
from benchmarks.lean_fal.process import LeanFal, lean_fal
from prefect_hailuo import FalCredentials, Hailuo02ProTextToVideo
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import Cancellation, Completed, InQueue, Status
from prefect_hailuo.media.mp4 import examine_mp4
from prefect_hailuo.ticket import Ticket

ENDPOINT = Hailuo02ProTextToVideo.endpoint.id
KEY = {"Authorization": f"Key {WORTHLESS_KEY}"}


@pytest.fixture(scope="module")
def server() -> Iterator[LeanFal]:
    """One server for all tests here; each begins a run of its own."""
    with lean_fal() as started:
        yield started


@pytest.fixture
async def client(server: LeanFal) -> AsyncIterator[AsyncFalClient]:
    """This package's client, led to the server."""
    access = FalCredentials.for_emulator(server.url).access()
    async with AsyncFalClient(access) as opened:
        yield opened


async def submitted(client: AsyncFalClient, count: int) -> list[Ticket]:
    """So many requests, one after another."""
    return [await client.submit(ENDPOINT, {"prompt": f"{n}"}) for n in range(count)]


async def heard(client: AsyncFalClient, ticket: Ticket) -> list[Status]:
    """All that a stream says."""
    return [status async for status in client.stream(ticket)]


async def test_positions_count_those_before(server: LeanFal, client: AsyncFalClient) -> None:
    """Who waits is told how many wait before; a place that is given up moves those behind."""
    server.begin(Load(seconds=60, at_once=2))
    tickets = await submitted(client, 5)
    before = [await client.status(ticket) for ticket in tickets[2:]]
    assert [s.queue_position for s in before if isinstance(s, InQueue)] == [0, 1, 2]
    assert await client.cancel(tickets[2]) is Cancellation.REMOVED
    after = [await client.status(ticket) for ticket in tickets[3:]]
    assert [s.queue_position for s in after if isinstance(s, InQueue)] == [0, 1]


async def test_the_account_runs_so_many_at_once(server: LeanFal, client: AsyncFalClient) -> None:
    """Six of 0.2 s, two at once, take three times as long as one: the ideal, and hardly more."""
    load = Load(seconds=0.2, at_once=2)
    server.begin(load)
    began = time.monotonic()
    tickets = await submitted(client, 6)
    await asyncio.gather(*(heard(client, ticket) for ticket in tickets))
    assert load.ideal_seconds(6) == 0.6
    assert 0.6 <= time.monotonic() - began < 10


async def test_a_stream_ends_with_the_end(server: LeanFal, client: AsyncFalClient) -> None:
    """It tells each change as it comes, and COMPLETED last."""
    server.begin(Load(seconds=0.2, at_once=1))
    _, waiting = await submitted(client, 2)
    told = [status.status for status in await heard(client, waiting)]
    assert told == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]


async def test_a_cancelled_request_frees_its_runner(
    server: LeanFal, client: AsyncFalClient
) -> None:
    """The next in line runs at once, and the cancelled one says what it is."""
    server.begin(Load(seconds=60, at_once=1))
    running, waiting = await submitted(client, 2)
    assert await client.cancel(running) is Cancellation.REQUESTED
    assert (await client.status(waiting)).status == "IN_PROGRESS"
    ended = await client.status(running)
    assert isinstance(ended, Completed)
    assert ended.error_type == "client_cancelled"


async def test_lateness_is_measured(server: LeanFal, client: AsyncFalClient) -> None:
    """Told is not seen: who is told at once and comes for the result later, has seen it late."""
    server.begin(Load(seconds=0.1))
    (ticket,) = await submitted(client, 1)
    await heard(client, ticket)
    await asyncio.sleep(0.3)
    await client.result(ticket)
    figures = server.figures()
    assert figures["told_late"]["worst"] < 0.2 < figures["seen_late"]["worst"] < 1


async def test_requests_are_counted_by_kind(server: LeanFal, client: AsyncFalClient) -> None:
    """All that a client asks counts, but for the benchmark's own questions."""
    server.begin(Load(seconds=0.02))
    (ticket,) = await submitted(client, 1)
    await client.status(ticket)
    await heard(client, ticket)
    output = await client.result(ticket)
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.get(output.video.url)
    kinds = ("submit", "status", "stream", "result", "download")
    assert server.figures()["requests"] == dict.fromkeys(kinds, 1)


async def test_a_request_bought_twice_is_seen(server: LeanFal, client: AsyncFalClient) -> None:
    """The same body twice is two purchases of one thing."""
    server.begin(Load(seconds=60))
    for _ in range(2):
        await client.submit(ENDPOINT, {"prompt": "the same"})
    figures = server.figures()
    assert (figures["submitted"], figures["distinct"]) == (2, 1)


async def test_sockets_are_counted(server: LeanFal) -> None:
    """The most that were open at once; the benchmark's own is none of them."""
    server.begin(Load())
    before = server.figures()["most_sockets"]
    opened = [await asyncio.open_connection("127.0.0.1", _port(server)) for _ in range(7)]
    assert server.figures()["most_sockets"] == before + 7
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()


async def test_the_clip_is_a_whole_video(server: LeanFal, client: AsyncFalClient) -> None:
    """What it serves passes the checks of a download."""
    server.begin(Load(seconds=0.02))
    (ticket,) = await submitted(client, 1)
    await heard(client, ticket)
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get((await client.result(ticket)).video.url)
    examine_mp4(BytesIO(answer.content))


def test_the_history_is_empty(server: LeanFal) -> None:
    """Who asks what was sent before gets an answer."""
    url = f"{server.url}/platform/v1/models/requests/by-endpoint?endpoint_id={ENDPOINT}"
    answer = httpx.get(url, headers=KEY, trust_env=False)
    assert answer.json() == {"items": [], "next_cursor": None, "has_more": False}


def test_without_a_key_nothing_is_told(server: LeanFal) -> None:
    """As at fal: 401."""
    answer = httpx.post(f"{server.url}/{ENDPOINT}", json={"prompt": "x"}, trust_env=False)
    assert answer.status_code == 401


async def test_fals_own_client_works(server: LeanFal, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its queue's address changed, and nothing else."""
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{server.url}/")
    server.begin(Load(seconds=0.15))
    one = fal_client.client.AsyncClient(key=WORTHLESS_KEY)
    result = await one.subscribe(ENDPOINT, {"prompt": "x"}, with_logs=True)
    await (await one._client).aclose()
    assert result["video"]["url"].endswith(".mp4")
    assert server.figures()["requests"]["status"] >= 2


def test_the_same_seed_is_the_same_load() -> None:
    """Every contender gets the same durations; half are below the median, some are far above."""
    load = Load(seconds=5, spread=1.0)
    first, again = load.durations(), load.durations()
    seconds = [next(first) for _ in range(2000)]
    assert seconds == [next(again) for _ in range(2000)]
    assert 4.5 < statistics.median(seconds) < 5.5
    assert max(seconds) > 60


def test_the_ideal_of_a_queue_is_its_schedule() -> None:
    """With room for all it is the longest; with room for one, the sum."""
    everybody, alone = Load(5, 1.0), Load(5, 1.0, at_once=1)
    durations = everybody.durations()
    seconds = [next(durations) for _ in range(50)]
    assert everybody.ideal_seconds(50) == pytest.approx(max(seconds))
    assert alone.ideal_seconds(50) == pytest.approx(sum(seconds))


def test_a_summary_ranks() -> None:
    """Of a hundred, the 95th is the sixth from the top."""
    told = summary([float(n) for n in range(100)])
    assert told == {"count": 100, "median": 50.0, "p95": 95.0, "worst": 99.0}


def test_another_server_is_refused(emulator: FalEmulator) -> None:
    """Only a server that counts can be measured against."""
    with pytest.raises(ValueError, match=r"no server of `python -m benchmarks\.lean_fal`"):
        LeanFal(emulator.url).check()


def _port(server: LeanFal) -> int:
    return int(server.url.rpartition(":")[2])
