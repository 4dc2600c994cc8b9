"""The platform API: every request that an account sent, each once, and what models cost today."""

from __future__ import annotations

import json
import traceback
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from raw_server import (
    BODY,
    ENDPOINT,
    HTML,
    KEY,
    SECRET,
    HurriedClock,
    RawServer,
    Reply,
    access_to,
    answer,
)

from prefect_hailuo import errors
from prefect_hailuo.clock import Clock
from prefect_hailuo.emulator import EMULATOR_KEY, FalEmulator, ManualClock, edit, garble, refuse
from prefect_hailuo.endpoints import CATALOGUE
from prefect_hailuo.errors import (
    Billed,
    GenerationTimeoutError,
    HailuoError,
    MalformedReplyError,
    RealmMismatchError,
    RequestRefusedError,
)
from prefect_hailuo.fal import pages
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import EMULATOR_HEADER
from prefect_hailuo.fal.platform import History, PastRequest, PlatformClient
from prefect_hailuo.fal.transport import open_http

START = datetime.now(timezone.utc) - timedelta(hours=1)


@asynccontextmanager
async def asking(
    whom: FalEmulator | RawServer | Access, clock: Clock | None = None
) -> AsyncGenerator[PlatformClient, None]:
    """A client of this server's platform API."""
    if isinstance(whom, FalEmulator):
        whom = whom.credentials().access()
    access = whom.access() if isinstance(whom, RawServer) else whom
    async with open_http() as http:
        yield PlatformClient(access, http, clock)


async def history_of(whom: FalEmulator | RawServer | Access, **options: Any) -> History:
    """The history of the last hour, asked without waiting."""
    async with asking(whom, HurriedClock()) as client:
        return await client.history(ENDPOINT, START, **options)


def watch(emulator: FalEmulator) -> Callable[[], int]:
    """Counts the pages of the history that are asked for from now on."""
    nothing = edit("history", lambda body: body, count=None)
    emulator.faults.add(nothing)
    return lambda: emulator.faults.struck(nothing)


def ids(history: History) -> list[str]:
    """Whose history it is."""
    return [past.request_id for past in history.requests]


def item(request_id: str, **fields: Any) -> dict[str, Any]:
    """An item of the history, as fal writes it."""
    sent_at = "2026-09-01T12:00:00Z"
    return {"request_id": request_id, "endpoint_id": ENDPOINT, "sent_at": sent_at, **fields}


def page(items: Iterable[Any], cursor: str | None = None, **headers: str) -> Reply:
    """A page of the history; with a cursor, there are more."""
    body = {"items": list(items), "next_cursor": cursor, "has_more": cursor is not None}
    return answer(200, body, headers)


def platforms(status: int, message: str, **headers: str) -> Reply:
    """A refusal in the platform's own form."""
    error = {"type": "some_error", "message": message, "request_id": "q1"}
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return answer(status, {"error": error}, named)


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


REFUSALS: dict[str, tuple[Reply, type[HailuoError], str]] = {
    "bad key": (platforms(401, f"No such key: {KEY}"), errors.BadKeyError, "No such key: *"),
    "forbidden": (platforms(403, "Needs an admin key"), errors.BadKeyError, "Needs an admin key"),
    "locked": (platforms(403, "User is locked."), errors.NoCreditError, "User is locked"),
    "invalid": (platforms(422, "Bad limit"), RequestRefusedError, "HTTP 422: Bad limit."),
    "unknown": (platforms(404, "Endpoint not found"), RequestRefusedError, "Endpoint not found"),
    "no words": (answer(400, {"error": {"message": None}}), RequestRefusedError, '{"error": '),
    "queue's form": (answer(401, {"detail": "invalid"}), errors.BadKeyError, "invalid"),
    "redirect": (answer(302, b"", {"Location": "/x"}), RequestRefusedError, "not followed"),
}


@pytest.mark.parametrize(("reply", "kind", "said"), REFUSALS.values(), ids=list(REFUSALS))
@pytest.mark.parametrize("question", ["history", "prices"])
async def test_a_refusal_is_told_in_fals_words(
    reply: Reply, kind: type[HailuoError], said: str, question: str
) -> None:
    """It is asked once, the error is typed, cost nothing, and does not show the key.

    None of them is a model's refusal or a missing request, of which nobody asked.
    """
    with RawServer(reply) as server:
        async with asking(server, HurriedClock()) as client:
            with pytest.raises(HailuoError) as caught:
                if question == "history":
                    await client.history(ENDPOINT, START)
                else:
                    await client.prices([ENDPOINT])
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert caught.value.billed is Billed.NO
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert server.connections == 1


GARBAGE: dict[str, tuple[Any, str]] = {
    "HTML": (HTML, "What came: <html><body><h1>Bad Gateway"),
    "nothing": (b"", "What came: nothing"),
    "list": ([], "What came: []"),
    "no items": ({"has_more": False}, "items Field required"),
    "no end": ({"items": []}, "has_more Field required"),
    "no object": ({"items": ["r1"], "has_more": False}, "items.0 "),
    "no id": ({"items": [item("")], "has_more": False}, "items.0.request_id "),
    "no time": ({"items": [item("r1", sent_at="soon")], "has_more": False}, "items.0.sent_at "),
    "end of time": (
        {"items": [item("r1", sent_at="0001-01-01T00:00:00+14:00")], "has_more": False},
        "items.0.sent_at ",
    ),
    "no cursor": ({"items": [], "has_more": True, "next_cursor": None}, "names no next one"),
}


@pytest.mark.parametrize(("body", "shown"), GARBAGE.values(), ids=list(GARBAGE))
async def test_a_page_that_makes_no_sense_is_an_error(body: Any, shown: str) -> None:
    """Nothing is passed over: what cannot be read might be the request that is looked for."""
    emulator = FalEmulator(clip=b"", faults=[garble("history", body)])
    with emulator, pytest.raises(MalformedReplyError) as caught:
        await history_of(emulator)
    assert shown in str(caught.value)
    assert caught.value.billed is Billed.NO


@pytest.mark.parametrize("cursors", [["Mg=="], ["Mg==", "Mw=="]])
async def test_pages_that_go_round_in_circles_are_an_error(cursors: list[str]) -> None:
    """The same cursor once more would be followed for ever; what was read may not be all."""
    pages = [page([item(cursor)], cursor) for cursor in cursors]
    server = RawServer(*pages, *pages, *pages)
    with server, pytest.raises(MalformedReplyError, match="do not end") as caught:
        await history_of(server)
    assert (server.connections, caught.value.billed) == (len(cursors) + 1, Billed.NO)


async def test_pages_that_never_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new cursor each time is followed often, but not for ever."""
    monkeypatch.setattr(pages, "MOST_PAGES", 5)
    server = RawServer(*[page([item(f"r{n}")], f"c{n}") for n in range(9)])
    with server, pytest.raises(MalformedReplyError, match="do not end: 5 were read"):
        await history_of(server)
    assert server.connections == 5


async def test_an_answer_of_the_other_realm_is_refused() -> None:
    """The emulator's history is no evidence of what was bought at fal, nor the other way about."""
    with FalEmulator(clip=b"") as marked, FalEmulator(clip=b"", realm="fal") as unmarked:
        for access in (
            access_to(marked.url, "fal", EMULATOR_KEY),
            access_to(unmarked.url, "emulator", EMULATOR_KEY),
        ):
            with pytest.raises(RealmMismatchError, match="answered as") as caught:
                await history_of(access)
            assert caught.value.billed is Billed.NO
            async with asking(access) as client:
                with pytest.raises(RealmMismatchError):
                    await client.prices([ENDPOINT])


async def test_a_request_of_the_other_realm_is_refused() -> None:
    """One in an answer is not taken for ours; one that is asked about is not shown to anybody."""
    with RawServer(page([item("r1"), item("emulator-r2")])) as server:
        with pytest.raises(RealmMismatchError, match="emulator-r2"):
            await history_of(server)
        with pytest.raises(RealmMismatchError, match="emulator-r3") as caught:
            await history_of(server, request_id="emulator-r3")
    assert (server.connections, caught.value.billed) == (1, Billed.NO)
    server = RawServer(page([item("r1")], **{EMULATOR_HEADER: "1"}))
    with server, pytest.raises(RealmMismatchError, match="r1"):
        await history_of(server.access("emulator"))


async def test_prices_are_those_of_the_catalogue() -> None:
    """What is asked for is told, for each endpoint, exactly."""
    with FalEmulator(clip=b"") as emulator:
        async with asking(emulator) as client:
            prices = await client.prices(list(CATALOGUE))
            with pytest.raises(RequestRefusedError, match="Endpoint not found: fal-ai/none"):
                await client.prices(["fal-ai/none"])
    assert {each.endpoint_id: (each.unit_price, each.unit, each.currency) for each in prices} == {
        name: (price.usd, price.unit, "USD")
        for name, cls in CATALOGUE.items()
        if (price := cls.endpoint.default.price)
    }


def price(text: str, cursor: str | None = None) -> Reply:
    """A page with one price, its number written so."""
    given = {"endpoint_id": ENDPOINT, "unit_price": "?", "unit": "videos", "currency": "USD"}
    body = {"prices": [given], "next_cursor": cursor, "has_more": cursor is not None}
    return answer(200, json.dumps(body).replace('"?"', text).encode())


async def test_prices_have_the_digits_that_fal_wrote() -> None:
    """A price is a Decimal, without a float's noise, on whichever page it is."""
    written = ["0.49", "0.1", '"0.28"', "1e-3"]
    replies = [price(text, f"c{n}") for n, text in enumerate(written)]
    with RawServer(*replies, price("3")) as server:
        async with asking(server) as client:
            prices = await client.prices([ENDPOINT, "fal-ai/other"])
    assert [str(each.unit_price) for each in prices] == ["0.49", "0.1", "0.28", "0.001", "3"]
    assert parse_qs(urlsplit(server.requests[0].target).query) == {
        "endpoint_id": [ENDPOINT, "fal-ai/other"]
    }


@pytest.mark.parametrize("text", ["NaN", "-1", "null", "true", '"dear"', "1e999"])
async def test_a_price_that_is_none_is_an_error(text: str) -> None:
    """No budget is counted with it."""
    with RawServer(price(text)) as server:
        async with asking(server) as client:
            with pytest.raises(MalformedReplyError, match=r"prices\.0\.unit_price"):
                await client.prices([ENDPOINT])


async def test_prices_of_nothing_are_not_asked_for() -> None:
    """Without an endpoint's name fal would tell those of all."""
    with RawServer() as server:
        async with asking(server) as client:
            assert await client.prices([]) == []
    assert server.connections == 0


def test_a_past_request_is_a_value() -> None:
    """It is frozen, passes over what fal may add, and its times are in UTC, named or not."""
    fields = item("r1", started_at="2026-09-01T12:00:05", ended_at="2026-09-01T14:00:09+02:00")
    past = PastRequest.model_validate({**fields, "brand_new": 1})
    assert past.started_at and past.ended_at
    assert past.ended_at - past.started_at == timedelta(seconds=4)
    assert PastRequest.model_validate_json(past.model_dump_json()) == past
    with pytest.raises(ValueError, match="frozen"):
        past.request_id = "r2"
