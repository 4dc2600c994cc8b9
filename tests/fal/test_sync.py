"""The synchronous client: the same calls, from a thread without an event loop."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator

import pytest
from raw_server import BODY, ENDPOINT, RawServer, access_to, event, events

from prefect_hailuo import FalCredentials
from prefect_hailuo.emulator import FalEmulator, drop_after_accepting, refuse
from prefect_hailuo.errors import (
    BadKeyError,
    GenerationTimeoutError,
    InputRefusedError,
    SubmitUnknownError,
)
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import Cancellation, Completed, InProgress, InQueue
from prefect_hailuo.runs.blocks import FalClient
from prefect_hailuo.ticket import Ticket

TICKET = Ticket(endpoint=ENDPOINT, request_id="r1")


@pytest.fixture
def emulator() -> Iterator[FalEmulator]:
    """An emulator that takes 20 ms a video."""
    with FalEmulator(speed=1000, durations=20, clip=b"video", concurrency=1) as started:
        yield started


@pytest.fixture
def client(emulator: FalEmulator) -> FalClient:
    """The client that a credentials block gives out."""
    return emulator.credentials().get_client()


def test_a_video_is_bought_step_by_step(emulator: FalEmulator, client: FalClient) -> None:
    """Submit, listen, collect, in plain functions."""
    seen: list[InQueue | InProgress | Completed] = []
    ticket = client.submit(ENDPOINT, BODY, headers={"X-Fal-Queue-Priority": "low"})
    client.stream(ticket, seen.append)
    assert isinstance(seen[-1], Completed)
    assert client.status(ticket, logs=False) == seen[-1].model_copy(update={"logs": None})
    assert client.result(ticket).video.file_size == 5
    assert client.cancel(ticket) is Cancellation.TOO_LATE
    assert emulator.charged == 1
    assert emulator.submissions[0].headers["x-fal-queue-priority"] == "low"


def test_statuses_are_told_in_the_callers_thread(emulator: FalEmulator, client: FalClient) -> None:
    """What the caller does with a status, such as Prefect's logging, happens where it called."""
    threads: set[threading.Thread] = set()
    client.stream(client.submit(ENDPOINT, BODY), lambda _: threads.add(threading.current_thread()))
    assert threads == {threading.current_thread()}


def test_it_works_in_any_thread(emulator: FalEmulator, client: FalClient) -> None:
    """Threads of the caller's own share the client; each gets its own answers."""
    tickets: list[Ticket] = []

    def buy() -> None:
        ticket = client.submit(ENDPOINT, BODY)
        client.stream(ticket, lambda _: None)
        tickets.append(ticket)

    threads = [threading.Thread(target=buy) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ticket.request_id for ticket in tickets}) == emulator.charged == 3


def test_a_run_and_a_check_of_the_key(emulator: FalEmulator, client: FalClient) -> None:
    """The calls that take no ticket."""
    client.check_key()
    assert emulator.stats()["submitted"] == 0
    assert client.run(ENDPOINT, BODY).output.video.url.startswith(emulator.url)
    with pytest.raises(BadKeyError):
        FalClient(access_to(emulator.url, "emulator", "id:wrong")).check_key()


def test_a_submission_is_sent_once_here_too(emulator: FalEmulator, client: FalClient) -> None:
    """Errors are the same, and so is the promise."""
    emulator.faults.add(drop_after_accepting("submit"))
    with pytest.raises(SubmitUnknownError):
        client.submit(ENDPOINT, BODY)
    assert emulator.requests["submit"] == 1


def test_reads_are_patient_here_too(emulator: FalEmulator, client: FalClient) -> None:
    """A deadline is kept, and its error carries the ticket."""
    ticket = client.submit(ENDPOINT, BODY)
    emulator.faults.add(refuse("status", 503, count=None))
    with pytest.raises(GenerationTimeoutError) as caught:
        client.status(ticket, timeout_seconds=0.1)
    assert caught.value.ticket == ticket


def test_a_refusal_has_its_problems_here_too(client: FalClient) -> None:
    """fal's own words arrive whole."""
    ticket = client.submit(ENDPOINT, {"prompt": ""})
    client.stream(ticket, lambda _: None)
    with pytest.raises(InputRefusedError) as caught:
        client.result(ticket)
    assert [problem.place for problem in caught.value.problems] == ["body.prompt"]


def test_what_the_listener_raises_ends_the_listening() -> None:
    """A caller who has heard enough says so by an exception, which comes back as it is."""

    def raise_enough(status: object) -> None:
        raise LookupError("enough")

    with RawServer(events(event({"status": "IN_PROGRESS"}), whole=False)) as server:
        client = FalClient(server.access())
        with pytest.raises(LookupError, match="enough"):
            client.stream(TICKET, raise_enough)


@pytest.mark.parametrize("logs", [True, False])
def test_logs_are_asked_of_a_stream_or_not(logs: bool) -> None:
    """The synchronous stream takes the same settings."""
    with RawServer(events(event({"status": "COMPLETED"}))) as server:
        FalClient(server.access()).stream(TICKET, lambda _: None, logs=logs)
    assert server.requests[0].target.endswith("?logs=1") is logs


def test_both_clients_have_the_same_calls_with_the_same_settings() -> None:
    """What one takes, the other takes, with the same defaults; only `stream` is heard otherwise.

    `before_sending` is for the road, which uses the asynchronous one.
    """
    calls = {name for name in vars(FalClient) if not name.startswith("_")}
    assert calls == {name for name in vars(AsyncFalClient) if not name.startswith("_")}
    for name in calls - {"stream"}:
        sync = inspect.signature(getattr(FalClient, name)).parameters
        twin = dict(inspect.signature(getattr(AsyncFalClient, name)).parameters)
        twin.pop("before_sending", None)
        assert sync == twin


def test_a_block_gives_out_both_clients(emulator: FalEmulator) -> None:
    """Neither shows its key."""
    block: FalCredentials = emulator.credentials()
    assert repr(block.get_client()) == f"FalClient({emulator.url!r}, 'emulator')"
    assert repr(block.get_client("async")) == f"AsyncFalClient({emulator.url!r}, 'emulator')"
    with pytest.raises(ValueError, match="Use 'sync' or 'async'"):
        block.get_client("either")  # type: ignore[call-overload]


async def test_an_async_client_is_a_context_manager(emulator: FalEmulator) -> None:
    """Used without `async with`, it says how to use it; it closes only what it opened itself."""
    client = emulator.credentials().get_client("async")
    with pytest.raises(RuntimeError, match="async with client"):
        await client.status(TICKET.model_copy(update={"request_id": "emulator-1"}))
    async with client:
        await client.check_key()
    with pytest.raises(RuntimeError, match="async with client"):
        await client.check_key()
