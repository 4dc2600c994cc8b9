"""Emulator and fal are never taken for each other: what costs nothing is not shown as bought."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest
from raw_server import BODY, ENDPOINT, RawServer, access_to, answer, event, events

from prefect_hailuo.emulator import EMULATOR_KEY, FalEmulator
from prefect_hailuo.errors import Billed, RealmMismatchError
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import EMULATOR_HEADER
from prefect_hailuo.ticket import Realm, Ticket

Call = Callable[[AsyncFalClient, Ticket], Awaitable[object]]


async def heard(client: AsyncFalClient, ticket: Ticket) -> None:
    """Listen to a stream."""
    async for _ in client.stream(ticket):
        pass


PURCHASES: dict[str, Call] = {
    "submit": lambda client, _: client.submit(ENDPOINT, BODY),
    "run": lambda client, _: client.run(ENDPOINT, BODY),
}
READS: dict[str, Call] = {
    "status": lambda client, ticket: client.status(ticket),
    "stream": heard,
    "result": lambda client, ticket: client.result(ticket),
    "cancel": lambda client, ticket: client.cancel(ticket),
}
CHECK: dict[str, Call] = {"check_key": lambda client, _: client.check_key()}
CALLS = {**PURCHASES, **READS, **CHECK}

REALMS: list[tuple[Realm, str]] = [("fal", "r1"), ("emulator", "emulator-r1")]
"""The realm of the credentials, and a request id of it; the server is of the other realm."""

CURE = r"Use emulator\.credentials\(\) for the emulator, and a real key for fal only"


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[Realm, FalEmulator]]:
    """The emulator as itself, and playing fal."""
    with (
        FalEmulator(clip=b"", concurrency=1) as marked,
        FalEmulator(clip=b"", concurrency=1, realm="fal") as unmarked,
    ):
        yield {"fal": marked, "emulator": unmarked}


@pytest.mark.parametrize(("realm", "request_id"), REALMS)
@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
async def test_an_answer_of_the_other_realm_is_refused(
    servers: dict[Realm, FalEmulator], call: Call, realm: Realm, request_id: str
) -> None:
    """Whoever answers in the wrong name is not believed, not even a refusal."""
    ticket = Ticket(endpoint=ENDPOINT, request_id=request_id, realm=realm)
    async with AsyncFalClient(access_to(servers[realm].url, realm, EMULATOR_KEY)) as client:
        with pytest.raises(RealmMismatchError, match=CURE):
            await call(client, ticket)


@pytest.mark.parametrize(("realm", "request_id"), REALMS)
@pytest.mark.parametrize("call", READS.values(), ids=list(READS))
async def test_a_ticket_of_the_other_realm_is_not_shown_to_anybody(
    call: Call, realm: Realm, request_id: str
) -> None:
    """Such a request is refused before anything is sent, and the error names it."""
    other: Realm = "emulator" if realm == "fal" else "fal"
    ticket = Ticket(endpoint=ENDPOINT, request_id=request_id)
    with RawServer() as server:
        async with AsyncFalClient(server.access(other)) as client:
            with pytest.raises(RealmMismatchError, match=request_id) as caught:
                await call(client, ticket)
    assert server.connections == 0
    assert caught.value.ticket == ticket


MARK = {EMULATOR_HEADER: "1"}


@pytest.mark.parametrize(("realm", "headers"), [("fal", {}), ("emulator", MARK)])
async def test_an_id_of_the_other_realm_is_no_receipt(
    realm: Realm, headers: dict[str, str]
) -> None:
    """A submission that is answered with a request of the other realm is not taken for bought."""
    request_id = "r1" if realm == "emulator" else "emulator-r1"
    with RawServer(answer(200, {"request_id": request_id}, headers)) as server:
        async with AsyncFalClient(server.access(realm)) as client:
            with pytest.raises(RealmMismatchError, match=request_id) as caught:
                await client.submit(ENDPOINT, BODY)
    assert server.methods == ["POST"]
    assert caught.value.billed is (Billed.UNKNOWN if realm == "fal" else Billed.NO)


@pytest.mark.parametrize(("realm", "billed"), [("fal", Billed.NO), ("emulator", Billed.UNKNOWN)])
async def test_only_the_emulators_own_mark_says_that_nothing_was_charged(
    servers: dict[Realm, FalEmulator], realm: Realm, billed: Billed
) -> None:
    """An answer without the mark may have come from where money is spent, whatever the key."""
    async with AsyncFalClient(access_to(servers[realm].url, realm, EMULATOR_KEY)) as client:
        for call in PURCHASES.values():
            with pytest.raises(RealmMismatchError) as caught:
                await call(client, Ticket(endpoint=ENDPOINT, request_id="r1"))
            assert caught.value.billed is billed


async def test_each_realm_believes_its_own(servers: dict[Realm, FalEmulator]) -> None:
    """With credentials of its realm, either is spoken to, and its tickets say which it was."""
    for realm, other in (("fal", "emulator"), ("emulator", "fal")):
        server = servers[other]  # type: ignore[index]
        access = access_to(server.url, realm, EMULATOR_KEY)  # type: ignore[arg-type]
        async with AsyncFalClient(access) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            await client.status(ticket)
            await client.check_key()
        assert ticket.realm == realm
        assert ticket.request_id.startswith("emulator-") == (realm == "emulator")


async def test_a_mark_counts_whatever_it_says() -> None:
    """The header is the mark, in any spelling and with any value; a stream carries it too."""
    reply = events(event({"status": "COMPLETED"}))
    marked = type(reply)(reply.data.replace(b"\r\n", b"\r\nx-fal-EMULATOR: \r\n", 1))
    with RawServer(marked) as server:
        async with AsyncFalClient(server.access("fal")) as client:
            with pytest.raises(RealmMismatchError, match="answered as 'emulator'"):
                await heard(client, Ticket(endpoint=ENDPOINT, request_id="r1"))
