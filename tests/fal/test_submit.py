"""Money moves in one POST, which is sent once whatever becomes of its answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone

import httpx
import pytest
from raw_server import (
    BODY,
    ENDPOINT,
    HTML,
    KEY,
    RawServer,
    Reply,
    access_to,
    answer,
)

from prefect_hailuo.emulator import (
    LOCKED_KEY,
    FalEmulator,
    Fault,
    cut,
    delay,
    drop_after_accepting,
    drop_before_accepting,
    garble,
    lose_answer,
    redirect,
    refuse,
)
from prefect_hailuo.errors import (
    BadKeyError,
    Billed,
    FalError,
    InputRefusedError,
    NoCreditError,
    RateLimitedError,
    RequestRefusedError,
    SubmitUnknownError,
)
from prefect_hailuo.fal import client as fal_client
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import Completed
from prefect_hailuo.fal.post import NOT_HERE
from prefect_hailuo.ticket import Ticket

Purchase = Callable[[AsyncFalClient], Awaitable[object]]


async def submit(client: AsyncFalClient) -> object:
    """Buy by the queue."""
    return await client.submit(ENDPOINT, BODY)


async def run(client: AsyncFalClient) -> object:
    """Buy by a synchronous call."""
    return await client.run(ENDPOINT, BODY, timeout_seconds=fal_client.SUBMIT_SECONDS)


both_ways = pytest.mark.parametrize("buy", [submit, run])

ACCEPTED = answer(200, {"request_id": "r1", "video": {"url": "https://v3.fal.media/x.mp4"}})

LOST = {
    "closed unread": Reply(ending="slam"),
    "closed": Reply(),
    "reset": Reply(ending="reset"),
    "cut in the head": Reply(b"HTTP/1.1 20"),
    "cut in the body": ACCEPTED.cut(by=5),
    "cut by a reset": Reply(ACCEPTED.cut(by=5).data, "reset"),
    "no HTTP": Reply(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "unzippable": answer(200, b"no zip at all", {"Content-Encoding": "gzip"}),
    "500": answer(500, {"detail": "Internal Server Error"}),
    "500 HTML": answer(500, HTML),
    "502 HTML": answer(502, HTML),
    "503 HTML": answer(503, HTML, {"Retry-After": "1"}),
    "504 nothing": answer(504, b""),
    "400": answer(400, {"detail": "Bad request"}),
    "400 nested": answer(400, b"[" * 100_000),
    "401 HTML": answer(401, HTML),
    "401 nothing": answer(401, b""),
    "402 HTML": answer(402, HTML),
    "402 of a request": answer(402, {"detail": "Pay"}, {"x-fal-request-id": "r1"}),
    "403 HTML": answer(403, HTML),
    "403 of another's": answer(403, {"message": "Forbidden"}),
    "404": answer(404, {"detail": "Not Found"}),
    "404 HTML": answer(404, HTML),
    "404 of a request": answer(404, {"detail": "Application not found", "request_id": "r1"}),
    "405 HTML": answer(405, HTML),
    "405 of a request": answer(405, {"detail": "No"}, {"x-fal-request-id": "r1"}),
    "422 HTML": answer(422, HTML),
    "429 HTML": answer(429, HTML, {"Retry-After": "1"}),
    "429 nothing": answer(429, b""),
    "408": answer(408, b""),
    "409": answer(409, {"detail": "Conflict"}),
    "200 HTML": answer(200, HTML),
    "200 nothing": answer(200, b""),
    "200 null": answer(200, None),
    "200 without an id": answer(200, {"status": "IN_QUEUE", "video": None}),
    "200 with an empty id": answer(200, {"request_id": "", "video": {"url": ""}}),
    "204": answer(204, b""),
}


@both_ways
@pytest.mark.parametrize("reply", LOST.values(), ids=list(LOST))
async def test_a_lost_answer_is_called_lost_and_nothing_is_sent_again(
    buy: Purchase, reply: Reply
) -> None:
    """Whatever is no clear yes or no: one POST, and an error that says that nobody knows."""
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(SubmitUnknownError, match=r"fal\.ai/dashboard/requests") as caught:
                await buy(client)
    assert server.connections == 1
    assert server.methods == ([] if reply.ending == "slam" else ["POST"])
    assert (caught.value.billed, caught.value.retryable) == (Billed.UNKNOWN, False)


@both_ways
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(buy: Purchase, status: int) -> None:
    """A redirect repeats a POST elsewhere: it is not followed, not even to the same server."""
    with RawServer() as other:
        for base in (other.url, ""):
            reply = answer(status, b"", {"Location": f"{base}/elsewhere"})
            with RawServer(reply, ACCEPTED) as server:
                async with AsyncFalClient(server.access()) as client:
                    with pytest.raises(SubmitUnknownError, match=r"a redirect to .*/elsewhere"):
                        await buy(client)
            assert server.methods == ["POST"]
    assert other.requests == []


@both_ways
@pytest.mark.parametrize(
    "reply", [Reply(ending="hang"), Reply(b"HTTP/1.1 200 OK\r\n\r\n{", "trickle")]
)
async def test_an_answer_that_never_ends_is_lost(
    buy: Purchase, reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is for the whole: neither silence nor a trickle of bytes outlasts it."""
    monkeypatch.setattr(fal_client, "SUBMIT_SECONDS", 0.4)
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(SubmitUnknownError, match="TimeoutError"):
                await buy(client)
    assert server.methods == ["POST"]


async def test_an_answer_that_names_the_request_is_worth_reading() -> None:
    """Where fal's head arrived and its body did not, the error names the id to look for."""
    with RawServer(answer(200, HTML, {"x-fal-request-id": "019df76d"})) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(SubmitUnknownError, match=r"It is said to be request 019df76d\."):
                await submit(client)


async def test_a_refusal_that_names_a_request_is_worth_reading_too() -> None:
    """Whoever answers so has seen one."""
    with RawServer(answer(409, {"request_id": "019df76d", "detail": "Conflict"})) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(SubmitUnknownError, match=r"It is said to be request 019df76d\."):
                await submit(client)


@pytest.mark.parametrize(
    "more",
    [{"status_url": 5}, {"cancel_url": []}, {"queue_position": "first"}, {"metrics": [1]}],
)
async def test_of_an_accepted_request_only_its_id_is_needed(more: dict[str, object]) -> None:
    """The rest helps, and nobody's paid video hangs on it."""
    with RawServer(answer(200, {"request_id": "r1", **more})) as server:
        async with AsyncFalClient(server.access()) as client:
            ticket = await client.submit(ENDPOINT, BODY)
    assert (ticket.request_id, ticket.status_url, ticket.queue_position) == ("r1", None, None)


async def test_an_id_that_fits_into_no_address_is_none() -> None:
    """It is an answer that says neither yes nor no."""
    with RawServer(answer(200, {"request_id": "r" * 100_000})) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(SubmitUnknownError) as caught:
                await submit(client)
    assert len(caught.value.message) < 1000


REFUSALS = [
    (401, "invalid key credentials", BadKeyError, "fal.ai/dashboard/keys"),
    (402, "Payment required", NoCreditError, "fal.ai/dashboard/billing"),
    (404, 'Application "h3-max" not found', RequestRefusedError, "Check the endpoint's id"),
    (405, "Method Not Allowed", RequestRefusedError, "Check the endpoint's id"),
    (403, "Access denied", BadKeyError, "fal.ai/dashboard/keys"),
    (403, "User is locked. Reason: Exhausted balance.", NoCreditError, "fal.ai/dashboard/billing"),
    (429, "Too many requests", RateLimitedError, "Wait as long as fal asks"),
]


@both_ways
@pytest.mark.parametrize(("status", "detail", "kind", "cure"), REFUSALS)
async def test_a_refusal_is_definite_and_free(
    buy: Purchase, status: int, detail: str, kind: type[FalError], cure: str
) -> None:
    """What fal refuses at the door was not bought, is not sent again, and is said as it is."""
    with RawServer(answer(status, {"detail": detail}, {"Retry-After": "3"})) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(kind, match=cure) as caught:
                await buy(client)
    assert server.methods == ["POST"]
    assert caught.value.billed is Billed.NO
    assert caught.value.retryable is (kind is RateLimitedError)
    assert (caught.value.retry_after == 3) is (status not in NOT_HERE)


@pytest.mark.parametrize(
    ("buy", "headers", "billed"),
    [
        (submit, {}, Billed.NO),
        (run, {}, Billed.UNKNOWN),
        (submit, {"x-fal-billable-units": "0"}, Billed.NO),
        (run, {"x-fal-billable-units": "0"}, Billed.NO),
        (run, {"x-fal-billable-units": "1"}, Billed.YES),
    ],
)
async def test_an_input_refused_at_the_door_costs_nothing_but_the_model_may_charge(
    buy: Purchase, headers: dict[str, str], billed: Billed
) -> None:
    """A 422 of the queue came before any request was; one of a run is the model's own."""
    problem = {"loc": ["body", "prompt"], "msg": "Field required", "type": "missing"}
    with RawServer(answer(422, {"detail": [problem]}, headers)) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(InputRefusedError, match=r"body\.prompt: Field required") as caught:
                await buy(client)
    assert server.methods == ["POST"]
    assert caught.value.billed is billed


FAULTS: dict[str, tuple[Fault, int]] = {
    "dropped before": (drop_before_accepting("submit"), 0),
    "dropped after": (drop_after_accepting("submit"), 1),
    "reset before": (drop_before_accepting("submit", reset=True), 0),
    "reset after": (drop_after_accepting("submit", reset=True), 1),
    "answer lost": (lose_answer("submit", 502), 1),
    "answer garbled": (garble("submit"), 1),
    "answer cut": (cut("submit", 20), 1),
    "redirected": (redirect("submit", "/elsewhere", 307), 0),
    "refused with 500": (refuse("submit", 500), 0),
    "late": (delay("submit", 5), 1),
}


@pytest.mark.parametrize(("fault", "charged"), FAULTS.values(), ids=list(FAULTS))
async def test_what_fal_charges_is_one_or_nothing_never_two(
    fault: Fault, charged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From here both look the same, which is why nobody may send again: the account was charged."""
    if fault.what == delay("submit", 5).what:
        monkeypatch.setattr(fal_client, "SUBMIT_SECONDS", 0.4)
    with FalEmulator(speed=100_000, clip=b"", faults=[fault]) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            with pytest.raises(SubmitUnknownError):
                await submit(client)
        assert emulator.requests["submit"] == 1
        assert len(emulator.submissions) == charged


async def test_an_accepted_submission_is_a_ticket(emulator: FalEmulator) -> None:
    """The ticket holds what it takes to go on from another process, and is a plain value."""
    before = datetime.now(timezone.utc)
    async with AsyncFalClient(emulator.credentials().access()) as client:
        ticket = await client.submit(ENDPOINT, BODY)
    assert ticket.endpoint == ENDPOINT
    assert ticket.request_id == emulator.submissions[0].request_id
    assert ticket.status_url == f"{ticket.response_url}/status"
    assert (ticket.realm, ticket.account) == ("emulator", "emulator")
    assert ticket.submitted_at and before <= ticket.submitted_at <= datetime.now(timezone.utc)
    told = Ticket.model_validate_json(ticket.model_dump_json())
    async with AsyncFalClient(emulator.credentials().access()) as another:
        statuses = [status async for status in another.stream(told)]
    assert isinstance(statuses[-1], Completed)


async def test_fal_gets_the_body_as_it_is_and_its_own_headers() -> None:
    """The body goes unwrapped, the webhook into the query, the settings into the head."""
    body = {"prompt": 'Füchse, "狐" \N{FOX FACE}\n', "prompt_optimizer": False}
    webhook = "https://me.example/done?id=1&x=ü"
    with RawServer(answer(200, {"request_id": "r1"})) as server:
        async with AsyncFalClient(server.access()) as client:
            await client.submit(
                ENDPOINT, body, webhook_url=webhook, headers={"X-Fal-Queue-Priority": "low"}
            )
    [request] = server.requests
    assert json.loads(request.body) == body
    assert httpx.URL(request.target).path == f"/{ENDPOINT}"
    assert httpx.URL(request.target).params["fal_webhook"] == webhook
    assert request.headers["x-fal-queue-priority"] == "low"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == f"Key {KEY}"


async def test_callers_headers_cannot_replace_the_key() -> None:
    """Whatever headers a caller adds, one key goes out, and it is the configured one."""
    with RawServer(answer(200, {"request_id": "r1"})) as server:
        async with AsyncFalClient(server.access()) as client:
            await client.submit(ENDPOINT, BODY, headers={"authorization": "Key another"})
    assert server.requests[0].raw.lower().count(b"authorization:") == 1
    assert server.requests[0].headers["authorization"] == f"Key {KEY}"


async def test_an_account_without_credit_is_told_so(emulator: FalEmulator) -> None:
    """The emulator's locked account is refused as fal refuses one."""
    locked = access_to(emulator.url, "emulator", LOCKED_KEY)
    async with AsyncFalClient(locked) as client:
        with pytest.raises(NoCreditError, match=r"Exhausted balance\..*Top up the account"):
            await submit(client)
    assert (emulator.charged, len(emulator.submissions)) == (0, 0)


async def test_a_run_answers_with_output_id_and_units() -> None:
    """A synchronous call brings the output, what it was called, and what it is charged at."""
    with FalEmulator(speed=100_000, clip=b"") as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            reply = await client.run(ENDPOINT, BODY)
        assert reply.output.video.url.startswith(emulator.url)
        assert reply.request_id == emulator.submissions[0].request_id
        assert reply.billable_units == "6"
        assert emulator.charged == 1
