"""Looking for lost requests in fal's history: one clear case, and nothing else is evidence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from databases import run_sql
from file_server import smallest_video
from ledger_ground import (
    FOX,
    attempts_of,
    claimed,
    decided,
    end_leases,
    latest,
    ledger_at,
    purchase,
)

from prefect_hailuo.emulator import FalEmulator, refuse
from prefect_hailuo.errors import SubmitUnknownError
from prefect_hailuo.fal.client import SUBMIT_SECONDS, AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.fal.transport import open_http
from prefect_hailuo.ledger.attempt import Attempt, Fate, Purchase
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.search import Finding, Reconciling
from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo, VideoInput
from prefect_hailuo.ticket import Ticket

OWL = Hailuo23ProTextToVideo(prompt="An owl lands.")


@dataclass
class Scene:
    """A ledger, and an emulator that plays fal."""

    url: str
    ledger: Ledger
    emulator: FalEmulator
    http: httpx.AsyncClient

    @property
    def access(self) -> Access:
        """The key, and where it is good."""
        return self.emulator.credentials().access()

    def purchase(self, key: str, input: VideoInput = FOX) -> Purchase:
        """One on this account."""
        return purchase(key, body=input.body(), account=self.access.account)

    async def send(self, key: str, input: VideoInput = FOX, *, arrives: bool = True) -> Attempt:
        """A POST by an owner who dies of it; whether it arrived, only fal knows."""
        mine = await claimed(self.ledger, self.purchase(key, input))
        assert await self.ledger.claims.begin_sending(mine, SUBMIT_SECONDS)
        if arrives:
            await self.post(input)
        return mine

    async def lose(self, key: str, input: VideoInput = FOX, *, arrives: bool = True) -> Attempt:
        """A POST whose answer was lost."""
        mine = await self.send(key, input, arrives=arrives)
        await self.ledger.records.answer_lost(mine, SubmitUnknownError("Lost."))
        return await latest(self.ledger, key)

    async def post(self, input: VideoInput = FOX) -> Ticket:
        """A POST, over HTTP."""
        return await AsyncFalClient(self.access, self.http).submit(input.endpoint.id, input.body())

    def searching(self) -> Reconciling:
        """One search of this account's."""
        return Reconciling(self.ledger.database, PlatformClient(self.access, self.http))

    async def look(self, one: Attempt) -> Finding:
        """Look once."""
        return await self.searching().look(one)

    def age(self, seconds: float) -> None:
        """Let an attempt's POST have been sent so long ago."""
        run_sql(self.url, f"UPDATE hailuo_attempt SET sent_at = sent_at - {seconds}")  # noqa: S608

    @property
    def submitted(self) -> list[str]:
        """The ids of what fal accepted, in order."""
        return [each.request_id for each in self.emulator.submissions]


@pytest.fixture
async def scene(each_ledger: str) -> AsyncIterator[Scene]:
    """An empty ledger, and a fal without requests."""
    with FalEmulator(speed=1000, clip=smallest_video(), durations=10, realm="fal") as emulator:
        async with ledger_at(each_ledger) as ledger, open_http() as http:
            yield Scene(each_ledger, ledger, emulator, http)


async def test_exactly_one_request_is_adopted(scene: Scene) -> None:
    """Its ticket is complete, and it is marked as found."""
    lost = await scene.lose("fox")
    assert (await scene.look(lost)).adopted
    one = await latest(scene.ledger)
    assert (one.fate, one.adopted, one.request_id) == (Fate.SUBMITTED, True, scene.submitted[0])
    assert one.open_ticket().input == FOX.body()
    assert one.open_ticket().account == scene.access.account
    assert (one.open_ticket().key, one.open_ticket().price_usd) == (one.key, one.estimated_usd)
    assert await decided(scene.ledger, scene.purchase("fox")) == "Attach"


async def test_nothing_listed_is_no_evidence(scene: Scene) -> None:
    """It stays ambiguous: it may have been bought all the same."""
    lost = await scene.lose("fox", arrives=False)
    finding = await scene.look(lost)
    assert (finding.adopted, "no request" in finding.because) == (False, True)
    assert await decided(scene.ledger, scene.purchase("fox")) == "Reconcile"


async def test_too_many_are_no_evidence(scene: Scene) -> None:
    """Somebody else sent the very same, in the same moment: nobody can tell which is whose."""
    lost = await scene.lose("fox")
    scene.emulator.plant(FOX.endpoint.id, FOX.body())
    finding = await scene.look(lost)
    assert (finding.adopted, "2 requests" in finding.because) == (False, True)


async def test_a_strangers_request_outside_of_the_window_is_none(scene: Scene) -> None:
    """The very same input, sent a few minutes before: it is neither adopted nor in the way."""
    lost = await scene.lose("fox", arrives=False)
    scene.emulator.plant(FOX.endpoint.id, FOX.body(), seconds_ago=300)
    assert not (await scene.look(lost)).adopted
    await scene.post()
    assert (await scene.look(lost)).adopted
    assert (await latest(scene.ledger)).request_id == scene.submitted[0]


async def test_another_input_is_none(scene: Scene) -> None:
    """An owl of the same moment is no fox."""
    lost = await scene.lose("fox", arrives=False)
    await scene.post(OWL)
    assert not (await scene.look(lost)).adopted


async def test_defaults_that_were_left_out_are_filled_in(scene: Scene) -> None:
    """fal may list the input without them, or with its fields in another order."""
    lost = await scene.lose("fox", arrives=False)
    bare = {"prompt": FOX.body()["prompt"]}
    assert bare != FOX.body()
    planted = scene.emulator.plant(FOX.endpoint.id, bare)
    assert (await scene.look(lost)).adopted
    assert (await latest(scene.ledger)).request_id == planted


async def test_hidden_inputs_are_no_evidence(scene: Scene) -> None:
    """Without its payload, the one request there may be anything."""
    lost = await scene.lose("fox")
    scene.emulator.history.omits_payloads = True
    finding = await scene.look(lost)
    assert (finding.adopted, "inputs" in finding.because) == (False, True)


async def test_an_unreadable_history_is_no_evidence(scene: Scene) -> None:
    """The error says why it could not be read; later it can."""
    lost = await scene.lose("fox")
    scene.emulator.faults.add(refuse("history", 403))
    finding = await scene.look(lost)
    assert (finding.adopted, "could not be read" in finding.because) == (False, True)
    assert (await scene.look(lost)).adopted


async def test_every_page_is_read(scene: Scene) -> None:
    """Five owls were sent after the fox, and a page holds two."""
    lost = await scene.lose("fox")
    for _ in range(5):
        await scene.post(OWL)
    scene.emulator.history.page_size = 2
    assert (await scene.look(lost)).adopted


async def test_a_lagging_history_is_read_again(scene: Scene) -> None:
    """It shows the request after two seconds: a search goes on until it does."""
    lost = await scene.lose("fox")
    scene.emulator.history.lag_seconds = 2
    assert not (await scene.look(lost)).adopted
    assert (await scene.searching().search(lost, 30)).adopted


async def test_a_search_ends(scene: Scene) -> None:
    """Its time counts from the POST: for an old one, once is enough."""
    lost = await scene.lose("fox", arrives=False)
    scene.age(100)
    old = await latest(scene.ledger, lost.key)
    finding = await asyncio.wait_for(scene.searching().search(old, 60), 10)
    assert not finding.adopted


async def test_a_search_ends_by_any_clock(scene: Scene) -> None:
    """The database's clock was set back by an hour since the POST: that is not waited for."""
    lost = await scene.lose("fox", arrives=False)
    scene.age(-3600)
    early = await latest(scene.ledger, lost.key)
    finding = await asyncio.wait_for(scene.searching().search(early, 1), 10)
    assert not finding.adopted


@pytest.mark.parametrize("skew", [3600, -3600])
async def test_fals_clock_may_be_off(scene: Scene, skew: int) -> None:
    """By an hour, either way: its `Date` tells, and the window is moved."""
    scene.emulator.history.skew_seconds = skew
    lost = await scene.lose("fox")
    scene.emulator.plant(FOX.endpoint.id, FOX.body(), seconds_ago=300)
    assert (await scene.look(lost)).adopted
    assert (await latest(scene.ledger)).request_id == scene.submitted[0]


async def test_takes_of_one_body_are_assigned_one_to_one(scene: Scene) -> None:
    """Three were lost, and three requests are there: each take gets one, and no two the same."""
    lost = [await scene.lose(f"take {number}") for number in range(3)]
    findings = await asyncio.gather(*(scene.look(one) for one in lost))
    assert all(finding.adopted for finding in findings)
    owned = [(await latest(scene.ledger, one.key)).request_id for one in lost]
    assert sorted(map(str, owned)) == sorted(scene.submitted)


async def test_fewer_requests_than_takes_are_no_evidence(scene: Scene) -> None:
    """Two were lost and one arrived: whose it is, nobody can tell, so none gets it."""
    first = await scene.lose("take 0")
    second = await scene.lose("take 1", arrives=False)
    findings = [await scene.look(one) for one in (first, second)]
    assert [finding.adopted for finding in findings] == [False, False]
    assert "2 attempts miss one" in findings[0].because


async def test_an_owned_request_is_not_in_question(scene: Scene) -> None:
    """Of two takes one has its ticket: the other request is the lost one's."""
    mine = await scene.send("take 0", arrives=False)
    await scene.ledger.records.accepted(mine, await scene.post())
    lost = await scene.lose("take 1")
    assert (await scene.look(lost)).adopted
    assert (await latest(scene.ledger, "take 1")).request_id == scene.submitted[1]


async def test_only_an_owned_request_there_is_none(scene: Scene) -> None:
    """It is another take's, and is not taken from it."""
    mine = await scene.send("take 0", arrives=False)
    await scene.ledger.records.accepted(mine, await scene.post())
    lost = await scene.lose("take 1", arrives=False)
    assert not (await scene.look(lost)).adopted


async def test_a_living_sender_of_the_same_body_is_in_the_way(scene: Scene) -> None:
    """The one request there may be his, whose answer is on its way to him."""
    sender = await scene.send("take 0")
    lost = await scene.lose("take 1", arrives=False)
    finding = await scene.look(lost)
    assert (finding.adopted, "being submitted" in finding.because) == (False, True)
    ticket = Ticket(endpoint=FOX.endpoint.id, request_id=scene.submitted[0])
    await scene.ledger.records.accepted(sender, ticket)
    assert not (await scene.look(lost)).adopted
    assert (await latest(scene.ledger, "take 0")).request_id == scene.submitted[0]


async def test_a_dead_sender_of_the_same_body_is_counted(scene: Scene) -> None:
    """He and the lost one miss a request each: there are two, and both are assigned."""
    await scene.send("take 0")
    lost = await scene.lose("take 1")
    end_leases(scene.url)
    assert (await scene.look(lost)).adopted
    assert (await latest(scene.ledger, "take 0")).fate is Fate.SUBMITTED


async def test_takes_of_other_times_are_not_in_the_way(scene: Scene) -> None:
    """One was lost an hour ago, and stays so: today's request is today's."""
    await scene.lose("old", arrives=False)
    scene.age(3600)
    lost = await scene.lose("new")
    assert (await scene.look(lost)).adopted
    assert (await latest(scene.ledger, "old")).fate is Fate.AMBIGUOUS


async def test_a_late_owner_is_first(scene: Scene) -> None:
    """He comes with his ticket while the history is read: there is nothing to adopt any more."""
    mine = await scene.send("fox")
    end_leases(scene.url)
    lost = await claimed(scene.ledger, scene.purchase("fox"))
    [request_id] = scene.submitted
    ticket = Ticket(endpoint=FOX.endpoint.id, request_id=request_id)
    finding, _ = await asyncio.gather(scene.look(lost), scene.ledger.records.accepted(mine, ticket))
    assert finding.adopted
    assert [row["request_id"] for row in attempts_of(scene.url)] == [request_id]


async def test_of_many_searches_at_once_one_adopts(scene: Scene) -> None:
    """Ten processes look for the same attempt; its row is written once."""
    lost = await scene.lose("fox")
    async with ledger_at(scene.url) as other:
        platform = PlatformClient(scene.access, scene.http)
        there = Reconciling(other.database, platform)
        searches = [scene.searching().look(lost) if n % 2 else there.look(lost) for n in range(10)]
        findings = await asyncio.gather(*searches)
    assert all(finding.adopted for finding in findings)
    assert len(attempts_of(scene.url)) == 1
