"""The key goes to the configured origins, in one header, and nowhere else."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
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
    Received,
    Reply,
    access_to,
    answer,
    closed_port,
    event,
    events,
)
from tblib.pickling_support import install

from prefect_hailuo.clock import Deadline
from prefect_hailuo.emulator import FalEmulator, foreign_urls
from prefect_hailuo.errors import DownloadError, HailuoError
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.follow import follow
from prefect_hailuo.fal.messages import Cancellation, Completed
from prefect_hailuo.fal.transport import open_http, open_reading
from prefect_hailuo.runs.blocks import FalClient
from prefect_hailuo.storage.download import Downloads
from prefect_hailuo.storage.place import Directory
from prefect_hailuo.storage.store import VideoStore
from prefect_hailuo.ticket import Ticket

Call = Callable[[AsyncFalClient, Ticket], Awaitable[object]]


async def heard(client: AsyncFalClient, ticket: Ticket) -> list[object]:
    """Everything that a stream says."""
    return [status async for status in client.stream(ticket)]


READS: dict[str, Call] = {
    "status": lambda client, ticket: client.status(ticket, timeout_seconds=5),
    "stream": heard,
    "result": lambda client, ticket: client.result(ticket, timeout_seconds=5),
    "cancel": lambda client, ticket: client.cancel(ticket, timeout_seconds=5),
    "check_key": lambda client, _: client.check_key(timeout_seconds=5),
}
CALLS: dict[str, Call] = {
    **READS,
    "submit": lambda client, _: client.submit(ENDPOINT, BODY, webhook_url="https://me.example"),
    "run": lambda client, _: client.run(ENDPOINT, BODY, timeout_seconds=5),
}


async def test_foreign_addresses_in_a_submissions_answer_are_not_used() -> None:
    """Whoever can change fal's answer learns no key: requests go to the configured hosts."""
    with RawServer() as thief, FalEmulator(speed=1000, durations=20, clip=b"") as emulator:
        emulator.faults.add(foreign_urls(thief.url))
        async with AsyncFalClient(emulator.credentials().access()) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            assert ticket.status_url and ticket.status_url.startswith(thief.url)
            await follow(client, ticket, Deadline(10), lambda status: None)
            assert isinstance(await client.status(ticket), Completed)
            assert (await client.result(ticket)).video.url.startswith(emulator.url)
            assert await client.cancel(ticket) is Cancellation.TOO_LATE
    assert thief.connections == 0


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("call", READS.values(), ids=list(READS))
async def test_redirects_are_not_followed(call: Call, status: int) -> None:
    """A redirect is an error that says where it would have led; nobody is sent the key there."""
    with (
        RawServer() as thief,
        RawServer(answer(status, b"", {"Location": f"{thief.url}/here"})) as server,
    ):
        async with AsyncFalClient(server.access(), clock=HurriedClock()) as client:
            with pytest.raises(HailuoError, match="/here, which is not followed with the key"):
                await call(client, TICKET)
    assert thief.connections == 0


async def test_the_file_server_is_sent_no_key(tmp_path: Path) -> None:
    """Videos are public: whoever serves them is not told whose they are."""
    with FalEmulator(speed=1000, durations=1, clip=b"no video") as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client, open_http() as http:
            output = (await client.run(ENDPOINT, BODY)).output
            with pytest.raises(DownloadError):
                hosts = emulator.credentials().hosts()
                store = VideoStore(
                    Downloads(http), Directory(tmp_path), HurriedClock(), hosts=hosts
                )
                await store.store(TICKET, output)
        assert {request.authorized for request in emulator.media_requests} == {False}


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "::1"])
async def test_no_proxy_reads_what_goes_to_this_machine(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would see the key in plain text: what goes to loopback goes there directly."""
    try:
        address = host.replace("localhost", "127.0.0.1")
        server = RawServer(answer(200, {"request_id": "r1"}), host=address)
    except OSError:
        pytest.skip(f"This machine has no {host}.")
    with RawServer() as proxy, server:
        for name in PROXIES:
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with AsyncFalClient(access_to(server.url.replace(address, host))) as client:
            await client.submit(ENDPOINT, BODY)
    assert (proxy.connections, server.connections) == (0, 1)


async def test_cookies_are_not_kept() -> None:
    """Requests of different accounts share a client: what one is given, another does not send."""
    reply = answer(200, {"status": "COMPLETED"}, {"Set-Cookie": "session=1; Path=/"})
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access()) as client:
            await client.status(TICKET)
            await client.status(TICKET)
    assert ["cookie" in request.headers for request in server.requests] == [False, False]


ECHO = f"authorization: Key {KEY}"

WEATHER: list[Reply] = [
    answer(200, {"request_id": "r1", "status": "COMPLETED", "video": {"url": "https://x/y.mp4"}}),
    events(event({"status": "IN_PROGRESS"}), event({"status": "COMPLETED"})),
    events(event({"status": ECHO})),
    answer(200, ECHO.encode()),
    answer(401, {"detail": ECHO}),
    answer(403, {"detail": f"locked: {ECHO}"}),
    answer(404, HTML),
    answer(422, {"detail": [{"loc": ["body", ECHO], "msg": ECHO, "type": SECRET}]}),
    answer(429, {"detail": ECHO}, {"Retry-After": "1"}),
    answer(502, ECHO.encode()),
    answer(504, {"detail": ECHO, "error_type": SECRET}),
    answer(307, b"", {"Location": "https://evil.com/"}),
    Reply(),
    Reply(ending="reset"),
]
"""What servers say; bodies only, for httpcore itself logs the heads of answers when debugging."""


def without_authorization(request: Received) -> bytes:
    """A request as it came, but for the one header that may carry the key."""
    lines = request.raw.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(b"authorization:"))


def shown(error: BaseException) -> str:
    """Everything that an error may show, to a reader or to another process."""
    printed = "".join(traceback.format_exception(error))
    # Dask does so: errors are pickled with all that led to them.
    install(error)  # type: ignore[no-untyped-call]
    told = pickle.dumps(error).decode("latin-1") if isinstance(error, HailuoError) else ""
    return "".join([printed, repr(error), str(error), repr(vars(error)), told])


async def test_come_what_may_the_key_is_in_one_header_only(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every call in every weather: servers, logs, errors, output; the key is where it belongs."""
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    requests: list[Received] = []
    async with open_http() as http:
        for reply in WEATHER:
            with RawServer(reply) as server:
                client = AsyncFalClient(server.access(), http, HurriedClock())
                for call in CALLS.values():
                    try:
                        told.append(repr(await call(client, TICKET)))
                    except (HailuoError, httpx.RequestError) as error:
                        told.append(shown(error))
                told.extend([repr(client), repr(client.access), repr(FalClient(client.access))])
            requests.extend(server.requests)
    assert len(requests) > len(WEATHER) * len(CALLS)
    assert {request.headers["authorization"] for request in requests} == {f"Key {KEY}"}
    assert not [each for each in requests if SECRET.encode() in without_authorization(each)]
    assert not [each for each in told if SECRET in each]
    assert "send_request_headers" in caplog.text
    assert SECRET not in "".join([caplog.text, *capfd.readouterr()])


async def test_a_ticket_tells_nothing_of_the_key() -> None:
    """Tickets are stored, logged and handed about: they name the account by a label only."""
    with RawServer(answer(200, {"request_id": "r1"})) as server:
        async with AsyncFalClient(server.access()) as client:
            ticket = await client.submit(ENDPOINT, BODY)
    assert ticket.account == client.access.account
    identity = KEY.partition(":")[0]
    told = ticket.model_dump_json() + repr(ticket) + pickle.dumps(ticket).decode("latin-1")
    assert not [part for part in (SECRET, identity) if part in told]


def led_to(error: BaseException) -> list[BaseException]:
    """An error, and all its causes and contexts."""
    found, left = [], [error]
    while left:
        found.append(one := left.pop())
        left += [each for each in (one.__cause__, one.__context__) if each and each not in found]
    return found


async def test_no_error_of_the_reads_transport_hands_the_key_on() -> None:
    """aiohttp's errors hold the headers that were sent: none of them is a cause or a context."""
    async with open_reading() as http:
        for reply in WEATHER:
            with RawServer(reply) as server:
                client = AsyncFalClient(server.access(), http, HurriedClock())
                for call in READS.values():
                    try:
                        await call(client, TICKET)
                    except (HailuoError, httpx.RequestError) as error:
                        assert SECRET not in shown(error)
                        kinds = {type(each).__module__.partition(".")[0] for each in led_to(error)}
                        assert "aiohttp" not in kinds


async def test_where_nobody_listens_nothing_is_told() -> None:
    """An error without an answer shows no key either."""
    with closed_port() as url:
        async with AsyncFalClient(access_to(url), clock=HurriedClock()) as client:
            for call in CALLS.values():
                with pytest.raises((HailuoError, httpx.RequestError)) as caught:
                    await call(client, TICKET)
                assert SECRET not in shown(caught.value)
