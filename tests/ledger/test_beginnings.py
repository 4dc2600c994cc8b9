"""A new ledger with a real key: what the account bought before is not bought again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from databases import run_sql
from file_server import smallest_video
from ledger_ground import (
    FOX,
    attempts_of,
    decided,
    latest,
    ledger_at,
    purchase,
    sending,
    submitted,
    ticket_for,
)
from sqlalchemy import event

from prefect_hailuo.emulator import FalEmulator, delay, refuse
from prefect_hailuo.errors import FalError, ParkedError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.fal.transport import open_http
from prefect_hailuo.ledger.attempt import Attempt, Fate, Purchase
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.tail import HISTORY_DAYS

HOUR = 3600.0

WATCHED = delay("history", 0.0, count=None)
"""Does no harm, and is counted."""

Deed = Callable[[Ledger], Coroutine[Any, Any, Attempt]]


@dataclass
class Beginning:
    """A ledger that began a moment ago, and an account that was used before."""

    url: str
    ledger: Ledger
    emulator: FalEmulator
    http: httpx.AsyncClient

    @property
    def access(self) -> Access:
        """The key, and where it is good."""
        return self.emulator.credentials().access()

    def purchase(self, take: str = "0") -> Purchase:
        """One on this account."""
        return purchase(f"take {take}", body=FOX.body(), take=take, account=self.access.account)

    def plant(self, seconds_ago: float = HOUR) -> str:
        """A request of the very same input, from before the ledger began."""
        return self.emulator.plant(FOX.endpoint.id, FOX.body(), seconds_ago=seconds_ago)

    async def ask(self, take: str = "0") -> str:
        """Look back, and then claim, as every call for a new key does; what it came to."""
        asked = self.purchase(take)
        if await self.ledger.claims.latest(asked.key) is None:
            platform = PlatformClient(self.access, self.http)
            await self.ledger.beginnings.look_back(asked, platform, 0)
        return await decided(self.ledger, asked)

    @property
    def looks(self) -> int:
        """How often fal's history was asked."""
        return self.emulator.faults.struck(WATCHED)


@pytest.fixture
async def beginning(each_ledger: str) -> AsyncIterator[Beginning]:
    """A new ledger, and a fal without requests."""
    video = smallest_video()
    with FalEmulator(speed=1000, clip=video, realm="fal", faults=[WATCHED]) as emulator:
        async with ledger_at(each_ledger) as ledger, open_http() as http:
            yield Beginning(each_ledger, ledger, emulator, http)


async def test_what_was_never_asked_for_is_bought(beginning: Beginning) -> None:
    """The history of the account shows other inputs only."""
    beginning.emulator.plant(FOX.endpoint.id, {"prompt": "An owl."}, seconds_ago=HOUR)
    assert await beginning.ask() == "Buy"


async def test_one_equal_request_is_adopted_for_the_ordinary_take(beginning: Beginning) -> None:
    """The video was bought before the ledger was lost: it is collected."""
    planted = beginning.plant()
    assert await beginning.ask() == "Attach"
    one = await latest(beginning.ledger, "take 0")
    assert (one.request_id, one.adopted, one.fate) == (planted, True, Fate.SUBMITTED)
    assert await beginning.ask("1") == "Buy"


async def test_another_take_of_it_is_closed(beginning: Beginning) -> None:
    """Whether the request is this take's cannot be known: an error names it, and the cures."""
    planted = beginning.plant()
    assert await beginning.ask("1") == "ParkedError"
    with pytest.raises(ParkedError, match=planted) as caught:
        await beginning.ledger.claims.claim(beginning.purchase("1"))
    assert "--adopt" in caught.value.cure and "--allow-one-resubmit" in caught.value.cure


async def test_several_equal_requests_close_the_key(beginning: Beginning) -> None:
    """Until somebody consents; that is for this key, and once."""
    planted = {beginning.plant(), beginning.plant(2 * HOUR)}
    assert await beginning.ask() == "ParkedError"
    error = attempts_of(beginning.url, "take 0")[0]["error"]
    assert all(request_id in str(error) for request_id in planted)
    assert await beginning.ledger.claims.consent("take 0", 1)
    assert await beginning.ask() == "Buy"


async def test_a_request_that_a_row_owns_is_not_in_question(beginning: Beginning) -> None:
    """It was adopted by its id for another key already."""
    planted = beginning.plant()
    await submitted(beginning.ledger, beginning.purchase("other"))
    run_sql(beginning.url, f"UPDATE hailuo_attempt SET request_id = '{planted}'")  # noqa: S608
    assert await beginning.ask() == "Buy"


@contextmanager
def between_two_questions(ledger: Ledger, url: str, deed: Deed) -> Iterator[list[Attempt]]:
    """Let something happen elsewhere right after a look's first question about its requests."""
    engine = ledger.database._opened.engine.sync_engine  # type: ignore[union-attr]
    done: list[Attempt] = []
    locked: list[str] = []

    async def elsewhere() -> Attempt:
        async with ledger_at(url) as other:
            return await deed(other)

    def after(_1: object, _2: object, statement: str, *_: object) -> None:
        if "INSERT INTO hailuo_generation" in statement:
            locked.append(statement)
        elif locked and not done and "hailuo_attempt.realm =" in statement:
            with ThreadPoolExecutor(1) as thread:
                done.append(thread.submit(asyncio.run, elsewhere()).result())

    event.listen(engine, "after_cursor_execute", after)
    yield done
    event.remove(engine, "after_cursor_execute", after)


@pytest.mark.parametrize("each_ledger", ["postgresql"], indirect=True)
async def test_a_ticket_that_comes_in_mid_look_is_not_from_before(beginning: Beginning) -> None:
    """Another take was bought in the ledger's first second; its ticket is written down just now."""
    other = await sending(beginning.ledger, beginning.purchase("0"))
    planted = beginning.plant(0)
    # However long that took on a busy machine, it was in the first second.
    run_sql(beginning.url, "UPDATE hailuo_origin SET began_at = began_at + 60")

    def deed(elsewhere: Ledger) -> Coroutine[Any, Any, Attempt]:
        return elsewhere.records.accepted(other, ticket_for(planted))

    with between_two_questions(beginning.ledger, beginning.url, deed) as done:
        assert await beginning.ask("1") == "Buy"
    assert [each.request_id for each in done] == [planted]


@pytest.mark.parametrize("each_ledger", ["postgresql"], indirect=True)
async def test_a_ticket_that_comes_in_mid_import_is_known(beginning: Beginning) -> None:
    """An import does not enter for the ordinary take what another take is just being given."""
    other = await sending(beginning.ledger, beginning.purchase("1"))
    planted = beginning.plant(0)

    def deed(elsewhere: Ledger) -> Coroutine[Any, Any, Attempt]:
        return elsewhere.records.accepted(other, ticket_for(planted))

    with between_two_questions(beginning.ledger, beginning.url, deed) as done:
        platform = PlatformClient(beginning.access, beginning.http)
        found = await beginning.ledger.rebuilding.rebuild(platform)
    assert [(each.request_id, each.outcome) for each in found] == [(planted, "known")]
    assert len(done) == 1


async def test_what_came_after_the_beginning_and_has_no_row_is_adopted(
    beginning: Beginning,
) -> None:
    """The ledger is an older copy of itself, which has lost the row of an equal request."""
    run_sql(beginning.url, "SELECT 1")
    assert await beginning.ledger.claims.latest("any") is None
    run_sql(beginning.url, "UPDATE hailuo_origin SET began_at = began_at - 100")
    beginning.plant(seconds_ago=30)
    assert await beginning.ask() == "Attach"


@pytest.mark.parametrize("skew", [HOUR, -HOUR])
async def test_fals_clock_may_be_off(beginning: Beginning, skew: float) -> None:
    """By fal's clock the request may be from after the beginning: it is adopted all the same."""
    beginning.emulator.history.skew_seconds = skew
    beginning.plant(seconds_ago=60)
    assert await beginning.ask() == "Attach"


async def test_an_unreadable_history_stops_the_purchase(beginning: Beginning) -> None:
    """Nothing is bought blindly; the next call looks again."""
    beginning.plant()
    beginning.emulator.faults.add(refuse("history", 403))
    with pytest.raises(FalError):
        await beginning.ask()
    assert attempts_of(beginning.url, "take 0") == []
    assert await beginning.ask() == "Attach"


async def test_an_account_that_was_settled_is_not_looked_into(beginning: Beginning) -> None:
    """After an import, or because somebody said so; for this account and realm only."""
    beginning.plant()
    await beginning.ledger.beginnings.settle("fal", "another")
    await beginning.ledger.beginnings.settle("fal", beginning.access.account)
    await beginning.ledger.beginnings.settle("fal", beginning.access.account)
    assert (await beginning.ask(), beginning.looks) == ("Buy", 1)  # since it was settled


async def test_an_old_ledger_looks_since_its_newest_row(beginning: Beginning) -> None:
    """fal has forgotten what was before it, and not what it may have lost."""
    await beginning.ledger.claims.latest("any")
    age = (HISTORY_DAYS + 1) * 24 * HOUR
    run_sql(beginning.url, f"UPDATE hailuo_origin SET began_at = began_at - {age}")  # noqa: S608
    assert (await beginning.ask(), beginning.looks) == ("Buy", 1)


async def test_the_past_is_read_once(beginning: Beginning) -> None:
    """It changes no more: a batch of a hundred does not ask a hundred times."""
    beginning.plant()
    for take in ("0", "1", "2"):
        await beginning.ask(take)
    assert beginning.looks == 1


async def test_an_emulators_past_does_not_matter(ledger_url: str) -> None:
    """It forgets, and charges nothing."""
    with FalEmulator(speed=1000, clip=smallest_video(), faults=[WATCHED]) as emulator:
        async with ledger_at(ledger_url, "emulator") as ledger, open_http() as http:
            platform = PlatformClient(emulator.credentials().access(), http)
            await ledger.beginnings.look_back(purchase(realm="emulator"), platform)
            assert emulator.faults.struck(WATCHED) == 0
