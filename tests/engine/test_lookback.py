"""What is in fal's history is not bought again, however it got there and however it is written."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batches import carry, kinds, shots
from databases import holding, run_sql
from ledger_ground import latest, ledger_at
from roads import OWL, Hundredfold, generate, order_of, timed
from test_reconciling import Scene

from prefect_hailuo import Hailuo23ProTextToVideo, Video
from prefect_hailuo.emulator import FalEmulator, Fault, delay, drop_after_accepting, edit, refuse
from prefect_hailuo.emulator.faults import Answer
from prefect_hailuo.engine.decision import Resolution
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.order import Order
from prefect_hailuo.errors import Billed, GenerationTimeoutError, ParkedError
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.fal.retry import ODD_ANSWERS
from prefect_hailuo.fal.transport import open_http
from prefect_hailuo.ledger.attempt import Attempt
from prefect_hailuo.models.key import generation_key
from prefect_hailuo.runs.execution import acquiring, perform

COMPOSED = Hailuo23ProTextToVideo(prompt="A caf\u00e9.")
DECOMPOSED = Hailuo23ProTextToVideo(prompt="A cafe\u0301.")

TAKE = "2026-11-20"

DAY = 86_400.0

WATCHED = delay("history", 0.1, count=None)
"""Does no harm, and is counted."""


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in the history at once is not waited for, unless a test says so."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")


def test_accents_are_found_however_they_are_written(fal: FalEmulator, tmp_path: Path) -> None:
    """It was bought composed, before the ledger began, and is asked for decomposed."""
    planted = fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=60)
    order = order_of(fal, tmp_path, DECOMPOSED)
    assert order.request.body == DECOMPOSED.body() != COMPOSED.body()
    assert perform(acquiring(order)).request_id == planted
    assert generate(fal, tmp_path, DECOMPOSED).request_id == planted
    assert fal.submissions == []


def test_half_a_character_hides_no_other_request(fal: FalEmulator, tmp_path: Path) -> None:
    """JSON lets a prompt end within an emoji: that is somebody else's, and no obstacle."""
    fal.plant(COMPOSED.endpoint.id, {"prompt": "A fox \ud83e"}, seconds_ago=60)
    planted = fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=60)
    assert perform(acquiring(order_of(fal, tmp_path, COMPOSED))).request_id == planted


def nameless(request_id: str) -> Fault:
    """A history in which one request's id cannot be read."""

    def without(page: Any) -> Any:
        items = [
            {**each, "request_id": None} if each["request_id"] == request_id else each
            for each in page["items"]
        ]
        return {**page, "items": items}

    return edit("history", without, count=None)


@pytest.mark.usefixtures("each_ledger")
def test_a_request_without_an_id_closes_its_own_key_alone(fal: FalEmulator, tmp_path: Path) -> None:
    """It may be what is asked for, and cannot be adopted; what differs from it is bought."""
    planted = fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=60)
    fal.faults.add(nameless(planted))
    generate(fal, tmp_path, OWL)
    for _ in range(2):
        with pytest.raises(ParkedError, match="unreadable-id-") as caught:
            generate(fal, tmp_path, COMPOSED)
        assert caught.value.billed is Billed.UNKNOWN
    assert len(fal.submissions) == 1


def test_a_lost_request_without_an_id_is_not_bought_again(
    fal: FalEmulator, tmp_path: Path, each_ledger: str
) -> None:
    """It is parked: looked for to the end and not found is something else."""
    generate(fal, tmp_path, OWL)
    fal.faults.add(drop_after_accepting("submit"))

    def without(page: Any) -> Any:
        found = [each for each in page["items"] if each["json_input"] == COMPOSED.body()]
        rest = [each for each in page["items"] if each not in found]
        return {**page, "items": [*rest, *({**each, "request_id": 7} for each in found)]}

    fal.faults.add(edit("history", without, count=None))
    for _ in range(2):
        with pytest.raises(ParkedError, match="may be it"):
            generate(fal, tmp_path, COMPOSED)
    # With consent it is looked for as long as a request usually takes: by a clock that hurries.
    order = order_of(fal, tmp_path, COMPOSED, on_ambiguous="resubmit", timeout_seconds=1800)
    with pytest.raises(ParkedError, match="may be it"):
        process_loop().run(timed(order, Hundredfold()))
    assert fal.charged == 2


def test_a_page_that_is_too_long_buys_nothing_and_says_so(
    fal: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked, what came, and how to go on: it costs nothing."""
    fal.plant(OWL.endpoint.id, {"prompt": "x" * 5000}, seconds_ago=60)
    monkeypatch.setattr("prefect_hailuo.fal.transport.MOST_ANSWER_BYTES", 4000)
    with pytest.raises(GenerationTimeoutError, match="longer than 4,000 bytes") as caught:
        process_loop().run(timed(order_of(fal, tmp_path, OWL), Hundredfold()))
    assert "fal's history" in caught.value.message
    assert "ledger import --skip" in caught.value.cure
    assert (caught.value.billed, fal.charged) == (Billed.NO, 0)
    monkeypatch.undo()


def patiently(fal: FalEmulator, place: Path, input: Hailuo23ProTextToVideo) -> Video:
    """A video, by a caller for whom a minute is over soon, and who lets the history lag by one."""
    order = replace(order_of(fal, place, input), reconcile_seconds=60)
    return process_loop().run(timed(order, Hundredfold()))


def hide(request_id: str, looks: int) -> Fault:
    """A history that lists a request only after so many looks."""

    def without(page: Any) -> Any:
        items = [each for each in page["items"] if each["request_id"] != request_id]
        return {**page, "items": items}

    return edit("history", without, count=looks)


def test_a_new_ledger_waits_for_a_lagging_history(fal: FalEmulator, tmp_path: Path) -> None:
    """The account was at work right before: what it sent last may not be listed yet."""
    fal.plant(COMPOSED.endpoint.id, {"prompt": "An owl."}, seconds_ago=DAY / 2)
    planted = fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=60)
    hidden = hide(planted, looks=3)
    fal.faults.add(hidden)
    assert patiently(fal, tmp_path, COMPOSED).request_id == planted
    assert (fal.faults.struck(hidden), fal.submissions) == (3, [])


@pytest.mark.parametrize("ages", [[], [2 * DAY]], ids=["empty", "old"])
def test_a_newcomer_does_not_wait(fal: FalEmulator, tmp_path: Path, ages: list[float]) -> None:
    """Nobody used the account lately: one look is enough, and then it is bought."""
    for age in ages:
        fal.plant(COMPOSED.endpoint.id, {"prompt": "An owl."}, seconds_ago=age)
    fal.faults.add(WATCHED)
    patiently(fal, tmp_path, COMPOSED)
    assert (fal.faults.struck(WATCHED), len(fal.submissions)) == (1, 1)


def test_many_first_purchases_look_together(fal: FalEmulator, tmp_path: Path) -> None:
    """Whoever comes while the history is read waits for that reading, or shares the next."""
    fal.faults.add(WATCHED)
    inputs = [Hailuo23ProTextToVideo(prompt=f"Fox {n}.") for n in range(15)]
    with ThreadPoolExecutor(15) as threads:
        list(threads.map(lambda each: patiently(fal, tmp_path, each), inputs))
    assert fal.faults.struck(WATCHED) <= 5
    assert len(fal.submissions) == 15


def test_what_this_ledger_is_sending_is_not_from_before(
    fal: FalEmulator, tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first POST is in the history before its answer is here; another take is bought beside."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "60")
    fal.faults.add(delay("submit", 1, nth=1))
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(generate, fal, tmp_path, COMPOSED)
        while not fal.submissions:
            time.sleep(0.01)
        run_sql(ledger_url, "UPDATE hailuo_origin SET began_at = began_at + 10")
        other = generate(fal, tmp_path, COMPOSED, take="other")
        assert first.result().request_id != other.request_id
    assert fal.charged == 2


def test_a_history_out_of_reach_stops_the_purchase(fal: FalEmulator, tmp_path: Path) -> None:
    """Nothing is bought blindly; the error names the ways on."""
    fal.faults.add(refuse("history", 503, count=None))
    with pytest.raises(GenerationTimeoutError) as caught:
        patiently(fal, tmp_path, COMPOSED)
    assert "ledger import;" in caught.value.cure and "ledger import --skip" in caught.value.cure
    assert fal.submissions == []


REFUSED = {
    "401": (Answer(401, {"detail": "invalid key credentials"}), "BadKeyError"),
    "403": (
        Answer(403, {"error": {"type": "authorization_error", "message": "No"}}),
        "BadKeyError",
    ),
    "404": (Answer(404, {"error": {"type": "not_found", "message": "No"}}), "RequestRefusedError"),
    "405": (Answer(405, {"detail": "Method Not Allowed"}), "RequestRefusedError"),
    "HTML": (Answer(200, b"<html>"), "MalformedReplyError"),
    "odd item": (Answer(200, {"items": [7], "has_more": False}), "MalformedReplyError"),
}


@pytest.mark.parametrize(("answer", "kind"), REFUSED.values(), ids=list(REFUSED))
def test_an_unread_history_is_said_once_for_all(
    fal: FalEmulator, tmp_path: Path, answer: Answer, kind: str
) -> None:
    """What was asked, why, what came, and the cures that there are; nothing is bought."""
    refused = Fault("history", answer, count=None)
    fal.faults.add(refused)
    outcomes = carry(fal, shots(100), storage=tmp_path)
    assert set(kinds(outcomes)) == {kind}
    for outcome in outcomes:
        assert outcome.failure is not None
        assert "what the account bought before is looked for" in outcome.failure.message
        assert "ledger import --skip" in outcome.failure.cure
        assert outcome.failure.billed is Billed.NO
    assert "Not tried" in str(outcomes[-1].error)
    assert fal.faults.struck(refused) <= 2 * ODD_ANSWERS
    assert fal.submissions == []


def test_an_odd_field_of_an_item_hides_nothing(fal: FalEmulator, tmp_path: Path) -> None:
    """Needed are the request's id and its time; what was bought before is found."""
    planted = fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=60)

    def odd(page: Any) -> Any:
        news = {"status_code": "?", "duration": [], "started_at": "soon", "ended_at": 7.5e99}
        return {**page, "items": [{**each, **news} for each in page["items"]]}

    fal.faults.add(edit("history", odd, count=None))
    assert perform(acquiring(order_of(fal, tmp_path, COMPOSED))).request_id == planted
    assert fal.submissions == []


def take_in(order: Order) -> list[str]:
    """Import the history of an order's account; what became of each request."""

    async def job(connections: Connections, emit: Emit) -> list[str]:
        ledger = connections.ledgers.at(order.ledger)
        platform = PlatformClient(order.access, connections.http)
        found = await ledger.rebuilding.rebuild(platform)
        await ledger.beginnings.settle(order.access.realm, order.access.account)
        return [each.outcome for each in found]

    return process_loop().run(job)


def adopt(order: Order, request_id: str) -> None:
    """A person's decision that a request is this order's."""

    async def job(connections: Connections, emit: Emit) -> Attempt:
        resolving = Resolution(connections.ledgers.at(order.ledger), order.key)
        return await resolving.adopt(request_id, order.access, connections)

    process_loop().run(job)


def test_after_an_import_no_take_is_bought_again(fal: FalEmulator, tmp_path: Path) -> None:
    """It was bought as a take that the history does not know: the call asks, and names the ways."""
    planted = fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=60)
    order = order_of(fal, tmp_path, COMPOSED, take=TAKE)
    assert take_in(order) == ["attempt"]
    with pytest.raises(ParkedError, match=planted) as caught:
        perform(acquiring(order))
    cures = ("--adopt REQUEST_ID", "--allow-one-resubmit", "ledger import --skip")
    assert all(cure in caught.value.cure for cure in cures)
    assert fal.submissions == []


def test_an_imported_request_is_adopted_for_its_take(
    fal: FalEmulator, tmp_path: Path, each_ledger: str
) -> None:
    """It is moved there with all that is known of it; the ordinary take has the other one."""
    planted = {fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=60) for _ in "ab"}
    order = order_of(fal, tmp_path, COMPOSED, take=TAKE)
    assert take_in(order) == ["attempt", "duplicate"]
    with pytest.raises(ParkedError):
        perform(acquiring(order))
    ordinary = perform(acquiring(order_of(fal, tmp_path, COMPOSED))).request_id
    adopt(order, ordinary)
    found = perform(acquiring(order))
    assert (found.request_id, found.key, found.price_usd) == (
        ordinary,
        generation_key(COMPOSED, realm="fal", take=TAKE),
        COMPOSED.price_usd,
    )
    assert generate(fal, tmp_path, COMPOSED, take=TAKE).request_id == ordinary
    assert generate(fal, tmp_path, COMPOSED).request_id == (planted - {ordinary}).pop()
    assert fal.submissions == []


def test_by_somebodys_word_another_take_is_bought(fal: FalEmulator, tmp_path: Path) -> None:
    """All that was bought before is accounted for, so this take was not."""
    fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=60)
    order = order_of(fal, tmp_path, COMPOSED, take=TAKE)
    take_in(order)

    async def skip(connections: Connections, emit: Emit) -> None:
        await connections.ledgers.at(order.ledger).beginnings.skip("fal", order.access.account)

    process_loop().run(skip)
    perform(acquiring(order))
    assert len(fal.submissions) == 1


@pytest.mark.parametrize("skew", [0.0, DAY, -DAY])
def test_a_search_reads_no_more_than_it_must(
    fal: FalEmulator, tmp_path: Path, ledger_url: str, skew: float
) -> None:
    """An old attempt is looked for around its own time, however much was sent since."""
    fal.history.skew_seconds = skew
    fal.faults.add(drop_after_accepting("submit"))
    fal.history.omits_payloads = True
    with pytest.raises(ParkedError):
        perform(acquiring(order_of(fal, tmp_path, COMPOSED)))
    fal.history.omits_payloads = False
    planted = fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=3 * DAY)
    run_sql(ledger_url, f"UPDATE hailuo_attempt SET sent_at = sent_at - {3 * DAY}")  # noqa: S608
    fal.plant(COMPOSED.endpoint.id, {"prompt": "An owl."}, seconds_ago=DAY)
    read: set[str] = set()
    fal.faults.add(edit("history", lambda page: _noted(page, read), count=None))
    assert perform(acquiring(order_of(fal, tmp_path, COMPOSED))).request_id == planted
    assert read == {planted}


def _noted(page: Any, read: set[str]) -> Any:
    read |= {each["request_id"] for each in page["items"]}
    return page


async def test_who_joins_meanwhile_is_locked_too(fal: FalEmulator, postgresql_url: str) -> None:
    """Another take of the body misses its request only since the locks were waited for."""
    lock = "SELECT 1 FROM hailuo_generation WHERE key = 'take {}' FOR UPDATE"
    async with ledger_at(postgresql_url) as ledger, open_http() as http:
        scene = Scene(postgresql_url, ledger, fal, http)
        lost = await scene.lose("take 0")
        await scene.post()
        with ExitStack() as later, ExitStack() as first:
            first.enter_context(holding(postgresql_url, lock.format(0)))
            looking = asyncio.create_task(scene.look(lost))
            await asyncio.sleep(0.5)
            await scene.lose("take 1", arrives=False)
            later.enter_context(holding(postgresql_url, lock.format(1)))
            first.close()
            assert not (await asyncio.wait({looking}, timeout=1))[0]
        assert (await looking).adopted
        assert (await latest(ledger, "take 1")).request_id in scene.submitted
