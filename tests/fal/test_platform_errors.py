"""The platform API, where it refuses, makes no sense, never ends, or is another realm's."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from platform_ground import START, asking, history_of, item, page, platforms
from raw_server import (
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
from prefect_hailuo.emulator import EMULATOR_KEY, FalEmulator, garble
from prefect_hailuo.errors import (
    Billed,
    HailuoError,
    MalformedReplyError,
    RealmMismatchError,
    RequestRefusedError,
)
from prefect_hailuo.fal import platform
from prefect_hailuo.fal.messages import EMULATOR_HEADER
from prefect_hailuo.fal.retry import ODD_ANSWERS

REFUSALS: dict[str, tuple[Reply, type[HailuoError], str]] = {
    "bad key": (platforms(401, f"No such key: {KEY}"), errors.BadKeyError, "No such key: *"),
    "forbidden": (platforms(403, "Needs an admin key"), errors.BadKeyError, "Needs an admin key"),
    "locked": (platforms(403, "User is locked."), errors.NoCreditError, "User is locked"),
    "invalid": (platforms(422, "Bad limit"), RequestRefusedError, "HTTP 422: Bad limit."),
    "unknown": (platforms(404, "Endpoint not found"), RequestRefusedError, "Endpoint not found"),
    "no words": (answer(400, {"error": {"message": None}}), RequestRefusedError, '{"error": '),
    "queue's form": (answer(401, {"detail": "invalid"}), errors.BadKeyError, "invalid"),
}

ODD: dict[str, tuple[Reply, type[HailuoError], str]] = {
    "redirect": (answer(302, b"", {"Location": "/x"}), RequestRefusedError, "not followed"),
    "page": (answer(403, HTML), errors.BadKeyError, "Bad Gateway"),
    "page of 404": (answer(404, HTML), errors.RequestNotFoundError, "Bad Gateway"),
    "good page": (answer(200, HTML), MalformedReplyError, "Bad Gateway"),
}


@pytest.mark.parametrize(("reply", "kind", "said"), ODD.values(), ids=list(ODD))
async def test_what_fal_may_not_have_said_is_asked_again(
    reply: Reply, kind: type[HailuoError], said: str
) -> None:
    """A few times: then the error is what came, or the next answer is fal's."""
    with RawServer(reply) as server:
        async with asking(server, HurriedClock()) as client:
            with pytest.raises(kind, match=said) as caught:
                await client.history(ENDPOINT, START)
    assert caught.value.billed is Billed.NO
    assert server.connections == ODD_ANSWERS
    with RawServer(reply, reply, page([item("r1")])) as server:
        async with asking(server, HurriedClock()) as client:
            assert [each.request_id for each in (await client.history(ENDPOINT, START)).requests]


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
    emulator = FalEmulator(clip=b"", faults=[garble("history", body, count=None)])
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
    monkeypatch.setattr(platform, "MOST_PAGES", 5)
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
