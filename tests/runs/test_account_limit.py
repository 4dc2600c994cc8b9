"""A cap on what an account has at fal at once, by a global concurrency limit of Prefect's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from batches import carry, kinds, shots
from deployments import A_GENERATION, until
from file_server import smallest_video
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_servers import free_port

from prefect_hailuo import Hailuo02ProTextToVideo, generate_video, submit_video
from prefect_hailuo.emulator import FalEmulator, ManualClock
from prefect_hailuo.errors import GenerationTimeoutError
from prefect_hailuo.runs import limit
from prefect_hailuo.runs.limit import Leases

pytestmark = pytest.mark.usefixtures("prefect_server")

NAME = "fal-account"

A_WHILE = 1.0
"""Seconds in which one more would have come, if it were to come."""


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    """Of Prefect's API."""
    with get_client(sync_client=True, httpx_settings={"timeout": 60.0}) as opened:
        yield opened


@pytest.fixture
def limited(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int], None]]:
    """Makes the limit that the setting names; it is gone after the test."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_CONCURRENCY_LIMIT", NAME)
    monkeypatch.setattr(limit, "_limits", {})  # it knows of no other test's limit

    def make(slots: int) -> None:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=NAME, limit=slots))

    yield make
    client.delete_global_concurrency_limit_by_name(NAME)


@pytest.fixture
def clock() -> ManualClock:
    """The emulator's time."""
    return ManualClock()


@pytest.fixture
def still(clock: ManualClock) -> Iterator[FalEmulator]:
    """An emulator in which a generation takes until the test lets it end."""
    with FalEmulator(clock=clock, concurrency=100, clip=smallest_video()) as started:
        yield started


def lend(client: SyncPrefectClient, slots: int) -> UUID:
    """Take slots, as another worker does."""
    answer = client.increment_concurrency_slots_with_lease([NAME], slots, "concurrency", 60.0)
    return UUID(answer.json()["lease_id"])


def taken(client: SyncPrefectClient) -> int:
    """How many slots are taken, by whomever."""
    return client.read_global_concurrency_limit_by_name(NAME).active_slots


def test_no_more_are_at_fal_at_once_than_the_limit_says(
    limited: Callable[[int], None],
    client: SyncPrefectClient,
    still: FalEmulator,
    clock: ManualClock,
    tmp_path: Path,
) -> None:
    """Of all workers together; what another gives back is used, and in the end none is held."""
    limited(3)
    others = lend(client, 1)
    with ThreadPoolExecutor() as threads:
        batch = threads.submit(carry, still, shots(5), storage=tmp_path)
        until("two are at fal", lambda: len(still.submissions) == 2)
        time.sleep(A_WHILE)
        assert len(still.submissions) == 2
        client.release_concurrency_slots_with_lease(others)
        until("a third is", lambda: len(still.submissions) == 3)
        assert taken(client) == 3
        clock.advance(A_GENERATION)
        until("the others are", lambda: len(still.submissions) == 5)
        clock.advance(A_GENERATION)
        assert kinds(batch.result()) == ["video"] * 5
    until("all slots are free", lambda: taken(client) == 0)


def test_what_is_there_or_under_way_needs_no_slot(
    limited: Callable[[int], None], client: SyncPrefectClient, tiny: FalEmulator, tmp_path: Path
) -> None:
    """A rerun takes what was bought, though the account has no room."""
    limited(1)
    fox, owl = shots(2)
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}
    first = generate_video(fox, **options)
    ticket = submit_video(owl, credentials=tiny.credentials())
    until("their slot is free, though nobody waits for the owl", lambda: taken(client) == 0)
    lend(client, 1)
    assert generate_video(fox, **options).request_id == first.request_id
    assert generate_video(owl, **options).request_id == ticket.request_id
    assert tiny.charged == 2


def test_more_may_be_submitted_than_the_limit_lets_through(
    limited: Callable[[int], None], client: SyncPrefectClient, tiny: FalEmulator
) -> None:
    """Though nobody waits for them yet: those before are watched until they have ended."""
    limited(1)
    for shot in shots(3):
        submit_video(shot, credentials=tiny.credentials())
    assert len(tiny.submissions) == 3
    until("the last one's slot is free", lambda: taken(client) == 0)
    assert tiny.charged == 3


def test_others_get_their_turn(
    limited: Callable[[int], None],
    client: SyncPrefectClient,
    still: FalEmulator,
    clock: ManualClock,
    tmp_path: Path,
) -> None:
    """A large batch does not keep a slot for ever."""
    limited(1)

    def lend_after_another() -> UUID | None:
        clock.advance(A_GENERATION)
        with suppress(PrefectHTTPStatusError):
            return lend(client, 1)
        return None

    def all_made() -> bool:
        clock.advance(A_GENERATION)
        return batch.done()

    with ThreadPoolExecutor() as threads, pytest.MonkeyPatch.context() as patch:
        patch.setattr(limit, "TURN_SECONDS", 0.0)
        patch.setattr(limit, "CHANCE_SECONDS", inf)
        batch = threads.submit(carry, still, shots(6), storage=tmp_path)
        until("one is at fal", lambda: still.submissions)
        others = until("another has it", lend_after_another)
        assert len(still.submissions) < 6
        patch.undo()
        [ours] = limit._limits.values()
        ours._ask_at = 0.0
        client.release_concurrency_slots_with_lease(others)
        until("the rest are made", all_made)
        assert kinds(batch.result()) == ["video"] * 6


def test_what_prefect_took_back_is_counted_on_no_more(
    limited: Callable[[int], None], client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was frozen for long has lost its slots, and renews the others."""
    limited(3)
    leases = Leases(NAME)
    leases.held = [each for number in (1, 2) if (each := leases.borrow(client, number))]
    assert (leases.slots, leases.limit, leases.borrow(client, 1)) == (3, 3, None)
    client.release_concurrency_slots_with_lease(leases.held[0].id)
    before = leases.held[1].renewed
    monkeypatch.setattr("prefect_hailuo.runs.limit.RENEW_SECONDS", 0.0)
    leases.renew(client)
    assert (leases.slots, taken(client), leases.held[0].renewed > before) == (2, 2, True)


def test_who_waits_too_long_for_a_slot_has_bought_nothing(
    limited: Callable[[int], None], client: SyncPrefectClient, tiny: FalEmulator, tmp_path: Path
) -> None:
    """And has left nothing behind that would hold others up."""
    limited(1)
    others = lend(client, 1)
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}
    with pytest.raises(GenerationTimeoutError, match=f"No slot of .*{NAME}"):
        generate_video(shots(1)[0], timeout_seconds=0.5, **options)
    assert tiny.charged == 0
    client.release_concurrency_slots_with_lease(others)
    generate_video(shots(1)[0], **options)
    assert tiny.charged == 1


def test_a_limit_that_is_not_there_is_told(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that makes it; of a batch, none is begun."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_CONCURRENCY_LIMIT", "nowhere")
    outcomes = carry(tiny, shots(20), storage=tmp_path)
    assert set(kinds(outcomes)) == {"ConcurrencyLimitError"}
    assert "prefect gcl create nowhere" in str(outcomes[0].error)
    assert tiny.requests["submit"] == 0


def test_without_prefect_nothing_is_bought(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, for a short outage is waited out."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_CONCURRENCY_LIMIT", NAME)
    monkeypatch.setattr(limit, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "0")
    gone = f"http://127.0.0.1:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: gone}):
        outcomes = carry(tiny, shots(3), storage=tmp_path)
    assert set(kinds(outcomes)) == {"ConcurrencyLimitError"}
    assert all(each.failure and each.failure.retryable for each in outcomes)
    assert "PREFECT_API_URL" in str(outcomes[0].error)
    assert tiny.requests["submit"] == 0


@pytest.mark.campaign
def test_hundreds_ask_prefect_a_few_times(
    limited: Callable[[int], None],
    client: SyncPrefectClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slots are lent several at once, and handed on: less than a tenth of a call for each."""
    limited(100)
    calls = [0]
    ask = SyncPrefectClient.request

    def count(self: SyncPrefectClient, *arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        return ask(self, *arguments, **options)

    monkeypatch.setattr(SyncPrefectClient, "request", count)
    with FalEmulator(speed=1000, concurrency=300, clip=smallest_video()) as emulator:
        assert kinds(carry(emulator, shots(300), storage=tmp_path)) == ["video"] * 300
        assert emulator.charged == 300
    until("all was given back", lambda: limit.THREAD not in threads())
    assert 0 < calls[0] <= 30


def threads() -> set[str]:
    """The names of this process's threads."""
    return {each.name for each in threading.enumerate()}


def test_who_sets_no_limit_asks_nothing(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs nothing by default."""
    monkeypatch.setattr(SyncPrefectClient, "request", None)
    owl = Hailuo02ProTextToVideo(prompt="An owl.")
    assert kinds(carry(tiny, [owl], storage=tmp_path)) == ["video"]
