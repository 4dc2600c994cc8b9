"""The platform API's history: every request that an account sent, each once."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from platform_ground import START, asking, history_of, ids, item, page, platforms, watch
from raw_server import (
    BODY,
    ENDPOINT,
    HTML,
    KEY,
    SECRET,
    HurriedClock,
    RawServer,
    Reply,
    answer,
)

from prefect_hailuo.emulator import FalEmulator, ManualClock, edit, refuse
from prefect_hailuo.errors import (
    Billed,
    FalError,
    FalFaultError,
    GenerationTimeoutError,
    InputRefusedError,
    RequestCancelledError,
)
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.platform import PastRequest


async def test_a_request_is_listed_with_what_it_was() -> None:
    """A submission's input, its output, its times and its end, all of them typed."""
    with FalEmulator(clip=b"", clock=(time := ManualClock()), durations=100) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as queue:
            ticket = await queue.submit(ENDPOINT, BODY)
        (waiting,) = (await history_of(emulator)).requests
        time.advance(100)
        (ended,) = (await history_of(emulator)).requests
    assert (waiting.ended_at, waiting.status_code, waiting.json_output) == (None, None, None)
    assert (ended.request_id, ended.endpoint_id) == (ticket.request_id, ENDPOINT)
    assert (ended.json_input, ended.status_code, ended.duration) == (BODY, 200, 100)
    assert ended.json_output["video"]["url"].startswith("http")
    assert ended.ended_at and ended.ended_at - ended.sent_at == timedelta(seconds=100)
    assert ended.sent_at.tzinfo is timezone.utc


async def test_every_page_is_read_whatever_its_size() -> None:
    """A history of five requests, two to a page, is five requests; it is read twice, to be sure."""
    with FalEmulator(clip=b"") as emulator:
        planted = {emulator.plant(ENDPOINT, BODY, seconds_ago=n) for n in range(1, 6)}
        emulator.history.page_size = 2
        asked = watch(emulator)
        history = await history_of(emulator)
        assert asked() == 2 * 3
    assert set(ids(history)) == planted
    assert len(history.requests) == 5


async def test_one_page_is_read_once() -> None:
    """Nothing can shift on a single page, so it is not asked for again; nor is an empty one."""
    with FalEmulator(clip=b"") as emulator:
        asked = watch(emulator)
        assert (await history_of(emulator)).requests == ()
        emulator.plant(ENDPOINT, BODY)
        assert len((await history_of(emulator)).requests) == 1
        assert asked() == 2


async def test_requests_that_end_between_two_pages_hide_no_others() -> None:
    """The first reading meets the ended ones twice and misses two; the next ones find them."""
    time = ManualClock()

    def while_answering(page: Any) -> Any:
        time.advance(10)
        return page

    emulator = FalEmulator(
        clip=b"",
        clock=time,
        concurrency=4,
        durations=lambda submission: 10 if submission.body["prompt"] == "short" else 500,
    )
    with emulator:
        async with AsyncFalClient(emulator.credentials().access()) as queue:
            prompts = ["long", "long", "short", "short"]
            tickets = [await queue.submit(ENDPOINT, {"prompt": prompt}) for prompt in prompts]
        emulator.history.page_size = 2
        emulator.faults.add(edit("history", while_answering))
        asked = watch(emulator)
        history = await history_of(emulator)
        assert asked() == 3 * 2
    assert sorted(ids(history)) == sorted(ticket.request_id for ticket in tickets)


NO_IDS: list[Any] = ["", None, 7, ["r1"], "r" * 513, "r\x001", "r\ud83e"]


@pytest.mark.parametrize("odd", NO_IDS, ids=lambda odd: repr(odd)[:12])
async def test_an_item_without_an_id_hides_no_other(odd: Any) -> None:
    """It stays one item, under an id that stands for it, the same in each reading."""
    items = [item("r1"), item(odd, json_input={"prompt": "A fox."})]
    with RawServer(page(items)) as server:
        first, again = await history_of(server), await history_of(server)
    assert ids(first) == ids(again)
    assert [past.is_named for past in first.requests] == [True, False]
    assert first.requests[1].json_input == {"prompt": "A fox."}


async def test_a_history_that_never_rests_is_read_four_times() -> None:
    """Whatever was listed in any of four readings exists, and is handed back."""
    readings = [[page([item(f"a{n}")], "Mg=="), page([item("b")])] for n in range(6)]
    with RawServer(*[reply for reading in readings for reply in reading]) as server:
        assert sorted(ids(await history_of(server))) == ["a0", "a1", "a2", "a3", "b"]
    assert server.connections == 4 * 2


async def test_a_request_on_two_pages_is_one_request() -> None:
    """It is handed back once, as it was seen last."""
    first = page([item("r1"), item("r2")], "Mg==")
    second = page([item("r2", status_code=200), item("r3")])
    with RawServer(first, second, first, second) as server:
        history = await history_of(server)
    assert sorted(ids(history)) == ["r1", "r2", "r3"]
    assert {past.status_code for past in history.requests if past.request_id == "r2"} == {200}


async def test_only_what_was_sent_within_the_window() -> None:
    """From start on and before end, in whatever zone they are given; or one request alone."""
    with FalEmulator(clip=b"") as emulator:
        young, middle, old = [
            emulator.plant(ENDPOINT, BODY, seconds_ago=60 * n) for n in (1, 30, 90)
        ]
        zone = timezone(timedelta(hours=-7))
        end = (datetime.now(zone) - timedelta(minutes=10)).astimezone(zone)
        assert ids(await history_of(emulator, end=end)) == [middle]
        assert sorted(ids(await history_of(emulator))) == sorted([young, middle])
        assert ids(await history_of(emulator, request_id=young)) == [young]
        assert ids(await history_of(emulator, request_id=old)) == []


async def test_a_window_without_a_time_zone_is_refused() -> None:
    """A guessed zone would be hours off; nothing is sent."""
    naive = START.replace(tzinfo=None)
    with RawServer() as server:
        async with asking(server) as client:
            with pytest.raises(ValueError, match="names no time zone"):
                await client.history(ENDPOINT, naive)
            with pytest.raises(ValueError, match="names no time zone"):
                await client.history(ENDPOINT, START, naive)
    assert server.connections == 0


async def test_what_is_asked() -> None:
    """One GET with the payloads, as many to a page as fal gives, and the key in its header only."""
    with RawServer(page([])) as server:
        await history_of(server, end=datetime(2030, 1, 1, tzinfo=timezone.utc), request_id="r1")
    (request,) = server.requests
    target = urlsplit(request.target)
    assert (request.method, target.path) == ("GET", "/platform/v1/models/requests/by-endpoint")
    asked = parse_qs(target.query)
    assert asked.pop("start") == [START.isoformat().replace("+00:00", "Z")]
    assert asked == {
        "endpoint_id": [ENDPOINT],
        "end": ["2030-01-01T00:00:00Z"],
        "request_id": ["r1"],
        "expand": ["payloads"],
        "limit": ["100"],
    }
    assert request.headers["authorization"] == f"Key {KEY}"
    assert request.raw.count(SECRET.encode()) == 1


@pytest.mark.parametrize("skew", [0, 7200, -7200])
async def test_fals_own_clock_is_told(skew: int) -> None:
    """Whoever's clock is wrong, the times of the history can be compared with `fal_now`."""
    with FalEmulator(clip=b"") as emulator:
        emulator.history.skew_seconds = skew
        emulator.plant(ENDPOINT, BODY, seconds_ago=10)
        async with asking(emulator) as client:
            history = await client.history(ENDPOINT, START - timedelta(hours=2))
    (past,) = history.requests
    assert abs(history.fal_now - datetime.now(timezone.utc) - timedelta(seconds=skew)) < (
        timedelta(seconds=30)
    )
    assert timedelta(seconds=8) < history.fal_now - past.sent_at < timedelta(seconds=40)


@pytest.mark.parametrize(
    "headers", [{}, {"Date": "yesterday"}, {"Date": "Fri, 31 Dec 9999 23:59:59 -0100"}]
)
async def test_without_fals_clock_this_machines_is_taken(headers: dict[str, str]) -> None:
    """No `Date`, or one that is none."""
    before = datetime.now(timezone.utc)
    with RawServer(page([], **headers)) as server:
        history = await history_of(server)
    assert before <= history.fal_now <= datetime.now(timezone.utc)


async def test_missing_payloads_are_none() -> None:
    """Whether all are left out or storing one was declined, the request itself is listed."""
    with FalEmulator(clip=b"") as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as queue:
            await queue.submit(ENDPOINT, BODY, headers={"X-Fal-Store-IO": "0"})
            await queue.submit(ENDPOINT, BODY)
        inputs = [past.json_input for past in (await history_of(emulator)).requests]
        assert sorted(inputs, key=bool) == [None, BODY]
        emulator.history.omits_payloads = True
        assert [past.json_input for past in (await history_of(emulator)).requests] == [None, None]


@pytest.mark.parametrize("odd", ["A red fox.", ["a"], 7, True])
async def test_an_input_that_is_no_object_hides_no_other_request(odd: Any) -> None:
    """Somebody's odd input counts as missing; what is beside it is read."""
    items = [item("r1", json_input=odd, json_output="x"), item("r2", json_input=BODY)]
    with RawServer(page(items)) as server:
        history = await history_of(server)
    assert [past.json_input for past in history.requests] == [None, BODY]


async def test_faults_are_waited_out_page_by_page() -> None:
    """A fault on one page repeats that page, after as long as fal asks, and nothing else."""
    clock = HurriedClock()
    busy = platforms(429, "Too many requests", Retry_After="7")
    good = [page([item("r1")], "Mg=="), page([item("r2")])]
    faults = [busy, answer(502, HTML), Reply(ending="reset"), platforms(500, "Oops")]
    with RawServer(good[0], *faults, *good[1:], *good) as server:
        async with asking(server, clock) as client:
            history = await client.history(ENDPOINT, START)
    assert sorted(ids(history)) == ["r1", "r2"]
    assert server.connections == len(faults) + 2 * len(good)
    assert (clock.slept[0], len(clock.slept)) == (7, len(faults))


async def test_the_emulators_faults_are_waited_out_too() -> None:
    """In the queue's form of an error as in the platform's own."""
    with FalEmulator(clip=b"", faults=[refuse("history", 503, count=2)]) as emulator:
        planted = emulator.plant(ENDPOINT, BODY)
        assert ids(await history_of(emulator)) == [planted]


@pytest.mark.parametrize("reply", [platforms(503, "Down for repair"), Reply(ending="close")])
async def test_nothing_is_waited_out_past_the_deadline(reply: Reply) -> None:
    """All pages share one deadline; the error tells the last fault, and that it cost nothing."""
    clock = HurriedClock()
    with RawServer(page([], "Mg=="), reply) as server:
        async with asking(server, clock) as client:
            with pytest.raises(GenerationTimeoutError, match="The last fault was: ") as caught:
                await client.history(ENDPOINT, START, timeout_seconds=5)
    assert clock.now() == pytest.approx(5)
    assert (caught.value.billed, caught.value.ticket) == (Billed.NO, None)


def test_a_past_request_is_a_value() -> None:
    """It is frozen, passes over what fal may add, and its times are in UTC, named or not."""
    fields = item("r1", started_at="2026-09-01T12:00:05", ended_at="2026-09-01T14:00:09+02:00")
    past = PastRequest.model_validate({**fields, "brand_new": 1})
    assert past.started_at and past.ended_at
    assert past.ended_at - past.started_at == timedelta(seconds=4)
    assert PastRequest.model_validate_json(past.model_dump_json()) == past
    with pytest.raises(ValueError, match="frozen"):
        past.request_id = "r2"


@pytest.mark.parametrize(
    ("told", "kind", "billed"),
    [
        ({"status_code": 499, "started_at": None}, RequestCancelledError, Billed.NO),
        ({"status_code": 499, "started_at": "2026-09-01T14:00Z"}, RequestCancelledError, "unknown"),
        ({"status_code": 499}, RequestCancelledError, Billed.UNKNOWN),
        ({"status_code": 504}, FalFaultError, Billed.NO),
        ({"status_code": 422}, InputRefusedError, Billed.UNKNOWN),
    ],
)
def test_a_failure_of_the_history_costs_what_fals_rules_say(
    told: dict[str, Any], kind: type[FalError], billed: Billed
) -> None:
    """Time in the queue and a 5xx are free. A cancelled run, or a 422, may have been charged."""
    past = PastRequest.model_validate(
        {"request_id": "r1", "endpoint_id": "a/b", "sent_at": "2026-09-01T14:00Z", **told}
    )
    error = past.failure()
    assert (type(error), error.billed) == (kind, billed)
    assert f"HTTP {told['status_code']}" in error.message


def test_what_cannot_be_read_does_not_say_that_nothing_was_charged() -> None:
    """A cancelled request cost nothing if work on it never began: null says so, and "soon" not."""
    item = {"request_id": "r1", "endpoint_id": ENDPOINT, "sent_at": "2026-09-01T12:00:00Z"}
    for started, billed in ((None, Billed.NO), ("soon", Billed.UNKNOWN)):
        past = PastRequest.model_validate({**item, "status_code": 499, "started_at": started})
        assert past.failure().billed is billed
