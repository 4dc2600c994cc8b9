"""Answers that are not of fal's protocol: the error shows what came, cut, and without the key."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from raw_server import (
    BODY,
    ENDPOINT,
    HTML,
    KEY,
    SECRET,
    TICKET,
    HurriedClock,
    RawServer,
    Reply,
    answer,
)

from prefect_hailuo.errors import (
    Billed,
    FalError,
    GenerationTimeoutError,
    HailuoError,
    InputRefusedError,
    MalformedReplyError,
    SubmitUnknownError,
)
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import Completed, File, InProgress, InQueue, LogLine
from prefect_hailuo.fal.retry import ODD_ANSWERS

Call = Callable[[AsyncFalClient], Awaitable[object]]

READS: dict[str, Call] = {
    "status": lambda client: client.status(TICKET),
    "result": lambda client: client.result(TICKET),
    "cancel": lambda client: client.cancel(TICKET),
}
PURCHASES: dict[str, Call] = {
    "submit": lambda client: client.submit(ENDPOINT, BODY),
    "run": lambda client: client.run(ENDPOINT, BODY),
}
SHAPES: dict[str, tuple[Any, str]] = {
    "HTML": (HTML, "What came: <html><body><h1>Bad Gateway"),
    "nothing": (b"", "What came: nothing"),
    "half": (b'{"status": "COMP', 'What came: {"status": "COMP'),
    "null": (None, "What came: null"),
    "list": ([1, 2], "What came: [1, 2]"),
    "text": ("OK", 'What came: "OK"'),
    "other object": ({"video": [], "status": 7}, 'What came: {"video": [], "status": 7}'),
    "no word": ({"status": ""}, 'What came: {"status": ""}'),
    "bytes": (b"\x89PNG\r\n\x1a\n\x00\x00", "What came: "),
    "long": (b"<p>" + b"x" * 100_000, "What came: <p>x"),
}
each_shape = pytest.mark.parametrize(("body", "shown"), SHAPES.values(), ids=list(SHAPES))


async def error_of(call: Call, reply: Reply) -> HailuoError:
    """What a call raises when it is answered so."""
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access(), clock=HurriedClock()) as client:
            with pytest.raises(HailuoError) as caught:
                await call(client)
    if isinstance(caught.value, GenerationTimeoutError):  # it was asked again to the end
        assert caught.value.ticket == TICKET
        assert isinstance(caught.value.__cause__, HailuoError)
        return caught.value.__cause__
    assert len(server.requests) in (1, ODD_ANSWERS)
    return caught.value


@each_shape
@pytest.mark.parametrize("call", READS.values(), ids=list(READS))
async def test_a_reply_that_makes_no_sense_is_shown(call: Call, body: Any, shown: str) -> None:
    """The beginning of what came tells a proxy from a change of fal's; the ticket stays good."""
    error = await error_of(call, answer(200, body))
    assert type(error) is MalformedReplyError
    assert shown in str(error)
    assert "Check that the configured hosts are fal's" in str(error)
    assert len(error.message) < 600
    assert (error.ticket, error.billed) == (TICKET, Billed.UNKNOWN)


@each_shape
@pytest.mark.parametrize("call", PURCHASES.values(), ids=list(PURCHASES))
async def test_a_purchase_answered_with_nonsense_may_have_bought(
    call: Call, body: Any, shown: str
) -> None:
    """What came is shown, and where to look for what may have been bought."""
    error = await error_of(call, answer(200, body))
    assert type(error) is SubmitUnknownError
    assert shown in str(error)
    assert "https://fal.ai/dashboard/requests" in str(error)
    assert len(error.message) < 600


ECHO = f"Headers: authorization: Key {KEY}"

ECHOES: dict[str, Reply] = {
    "page": answer(200, f"<html>{ECHO}</html>".encode()),
    "JSON": answer(200, {"headers": {"authorization": f"Key {KEY}"}}),
    "status": answer(200, {"status": KEY}),
    "request id": answer(200, {"request_id": 7, "video": KEY, "status": SECRET}),
    "key": answer(200, {KEY: "?"}),
    "just before the cut": answer(200, b"x" * 280 + KEY.encode()),
    "over two lines": answer(200, f"x {SECRET}\n{SECRET} x".encode()),
    "refusal": answer(400, {"detail": ECHO}),
    "refusal page": answer(403, f"<html>{ECHO}</html>".encode()),
    "problem": answer(422, {"detail": [{"loc": ["body", KEY], "msg": ECHO, "type": KEY}]}),
    "problem's type": answer(422, {"detail": [{"loc": [], "msg": "", "type": SECRET}]}),
    "error type": answer(400, {"detail": "No", "error_type": KEY}),
    "error type's header": answer(400, {"detail": "No"}, {"X-Fal-Error-Type": KEY}),
    "redirect": answer(307, b"", {"Location": f"https://evil.com/?key={KEY}"}),
    "reason": Reply(f"HTTP/1.1 409 {ECHO}\r\nContent-Length: 0\r\n\r\n".encode()),
    "id's header": answer(200, HTML, {"x-fal-request-id": KEY}),
}


@pytest.mark.parametrize("reply", ECHOES.values(), ids=list(ECHOES))
@pytest.mark.parametrize("call", [*READS.values(), *PURCHASES.values()])
async def test_a_server_that_says_the_key_back_is_not_quoted_on_it(
    call: Call, reply: Reply
) -> None:
    """Wherever in an answer the key stands, no part of the error shows it."""
    error = await error_of(call, reply)
    told = [str(error), repr(error), repr(vars(error)), json.dumps(vars(error), default=repr)]
    assert SECRET not in "".join(told)


async def test_a_stream_that_says_the_key_back_is_not_quoted_on_it() -> None:
    """The same of what is no stream, by its type."""
    reply = answer(200, HTML, {"Content-Type": KEY})
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(MalformedReplyError, match="fal sent no event stream") as caught:
                [_ async for _ in client.stream(TICKET)]
    assert SECRET not in str(caught.value)


ODD: dict[str, tuple[Any, Any]] = {
    "no position": ({"status": "IN_QUEUE"}, InQueue()),
    "more than we know": (
        {"status": "IN_QUEUE", "queue_position": 2, "priority": "low", "eta": {"s": 3}},
        InQueue(queue_position=2),
    ),
    "bare progress": ({"status": "IN_PROGRESS"}, InProgress()),
    "bare completion": ({"status": "COMPLETED"}, Completed()),
    "a new word": ({"status": "PONDERING"}, InProgress(word="PONDERING")),
    "byte order mark": (b'\xef\xbb\xbf{"status": "COMPLETED"}', Completed()),
    "position": ({"status": "IN_QUEUE", "queue_position": 2.5}, InQueue()),
    "metrics": ({"status": "COMPLETED", "metrics": [1]}, Completed()),
    "false error": ({"status": "COMPLETED", "error": False}, Completed()),
    "error of a shape": ({"status": "COMPLETED", "error": {"a": 1}}, Completed(error="{'a': 1}")),
    "error type": ({"status": "COMPLETED", "error_type": 7}, Completed()),
    "logs": ({"status": "IN_PROGRESS", "logs": {"message": "A"}}, InProgress()),
    "lines": (
        {
            "status": "IN_PROGRESS",
            "logs": [None, "A", {"message": None}, {"message": "B", "timestamp": 7, "level": []}],
        },
        InProgress(logs=[LogLine(message="B")]),
    ),
    "nulls": (
        {"status": "COMPLETED", "logs": None, "metrics": None, "error": None},
        Completed(),
    ),
}


@pytest.mark.parametrize(("body", "status"), ODD.values(), ids=list(ODD))
@pytest.mark.parametrize("code", [200, 202])
async def test_what_fal_may_leave_out_or_add_does_not_matter(
    body: Any, status: object, code: int
) -> None:
    """Only what is needed is asked of a status, and its body decides, not its HTTP code."""
    with RawServer(answer(code, body)) as server:
        async with AsyncFalClient(server.access()) as client:
            assert await client.status(TICKET) == status


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"content_type": None, "file_size": None},
        {"new": 1},
        {"file_name": 7, "file_size": "big", "content_type": ["video/mp4"]},
    ],
)
async def test_of_a_file_only_its_address_is_certain(more: dict[str, Any]) -> None:
    """fal guarantees the URL and no more; what it tells besides the file is kept as it is."""
    video = {"url": "https://v3.fal.media/x.mp4", **more}
    with RawServer(answer(200, {"video": video, "seed": 7})) as server:
        async with AsyncFalClient(server.access()) as client:
            output = await client.result(TICKET)
    assert output.video == File(url="https://v3.fal.media/x.mp4")
    assert output.told == {"seed": 7}


@pytest.mark.parametrize("units", ["many", "", "-1", "\xb2", "1e3", "."])
async def test_a_charge_that_is_no_number_is_not_known(units: str) -> None:
    """What fal charged is believed if it is a number, and else not known."""
    reply = answer(422, {"detail": "No"}, {"x-fal-billable-units": units})
    error = await error_of(READS["result"], reply)
    assert type(error) is InputRefusedError
    assert error.billed is Billed.UNKNOWN


async def test_problems_of_any_shape_are_told() -> None:
    """fal's lists of problems are not always as documented; what can be read is."""
    detail = [{"msg": "A"}, "B", {"loc": "body", "msg": None}, {"loc": ["x", 1], "type": "t"}]
    error = await error_of(READS["result"], answer(422, {"detail": detail}))
    assert isinstance(error, InputRefusedError)
    assert [(problem.loc, problem.type) for problem in error.problems] == [
        ((), ""),
        ((), ""),
        (("x", 1), "t"),
    ]
    assert isinstance(error, FalError)
