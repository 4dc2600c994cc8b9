"""A POST whose answer is lost, on the whole road: it is never sent again unasked.

On PostgreSQL a sample runs, and the rest in the campaign.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from databases import address_of, run_sql
from file_server import smallest_video
from gate import Gate
from nursery import Errand, generating
from raw_server import RawServer, Reply
from test_submit import FAULTS, LOST
from workers import Nursery, Workers, is_whole

from prefect_hailuo import Video
from prefect_hailuo.emulator import (
    FalEmulator,
    Fault,
    drop_after_accepting,
    drop_before_accepting,
    refuse,
)
from prefect_hailuo.engine import acquire
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.errors import Billed, LedgerError, ParkedError
from prefect_hailuo.fal import client as fal_client
from prefect_hailuo.ledger.records import Records

HOUR = 3600.0

SAMPLE = ("closed", "reset", "cut in the body", "502 HTML", "200 HTML", "404 HTML")

READ = {name: reply for name, reply in LOST.items() if reply.ending != "slam"}
"""Answers in place of fal's: that of a connection that is closed unread cannot be."""


def on_both(replies: dict[str, Reply]) -> list[Any]:
    """Each reply on SQLite; on PostgreSQL the sample, and the others in the campaign."""
    params = []
    for name, each in replies.items():
        marks = () if name in SAMPLE else pytest.mark.campaign
        params += [
            pytest.param("ledger_url", each, id=f"sqlite-{name}"),
            pytest.param("postgresql_url", each, id=f"postgresql-{name}", marks=marks),
        ]
    return params


@pytest.fixture
def gate(fal: FalEmulator) -> Iterator[Gate]:
    """The way to fal."""
    with Gate(fal.url) as opened:
        yield opened


@pytest.fixture
def errand(ledger_url: str, fal: FalEmulator, gate: Gate, tmp_path: Path) -> Errand:
    """A video, by the gate to fal."""
    return Errand(
        key=fal.api_key,
        queue_url=gate.url,
        platform_url=f"{fal.url}/platform/v1",
        ledger_url=address_of(ledger_url).url.get_secret_value(),
        folder=str(tmp_path / "videos"),
        report="",
    )


def changed(errand: Errand, **changes: Any) -> Errand:
    """An errand on other terms."""
    return Errand(**{**vars(errand), **changes})


def on_ledger_at(url: str, errand: Errand) -> Errand:
    """An errand by another ledger."""
    return changed(errand, ledger_url=address_of(url).url.get_secret_value())


def fetch(errand: Errand) -> Video:
    """The video, by the whole road."""
    return process_loop().run(generating(errand.order()))


def is_parked(errand: Errand) -> bool:
    """Whether it comes back with the error that asks for a decision."""
    with pytest.raises(ParkedError, match="prefect-hailuo ledger resolve"):
        fetch(errand)
    return True


@pytest.mark.parametrize(("database", "reply"), on_both(READ))
def test_what_fal_accepted_is_found_in_its_history(
    request: pytest.FixtureRequest,
    database: str,
    reply: Reply,
    errand: Errand,
    gate: Gate,
    fal: FalEmulator,
) -> None:
    """Whatever came in place of fal's answer: one POST, and the video that it bought."""
    url = request.getfixturevalue(database)
    gate.answer_instead(reply)
    assert is_whole(fetch(on_ledger_at(url, errand)), smallest_video())
    assert (gate.count("POST"), fal.charged) == (1, 1)
    rows = run_sql(url, "SELECT fate, adopted FROM hailuo_attempt")
    assert [(row["fate"], bool(row["adopted"])) for row in rows] == [("stored", True)]


@pytest.mark.parametrize(("database", "reply"), on_both(LOST))
def test_what_is_not_in_the_history_is_parked(
    request: pytest.FixtureRequest, database: str, reply: Reply, errand: Errand, fal: FalEmulator
) -> None:
    """The same answers, where fal shows nothing: one POST, however often it is run again."""
    url = request.getfixturevalue(database)
    with RawServer(reply) as server:
        lost = changed(on_ledger_at(url, errand), queue_url=server.url)
        assert is_parked(lost) and is_parked(lost)
        assert (server.connections, fal.requests["submit"]) == (1, 0)
    assert run_sql(url, "SELECT fate FROM hailuo_attempt") == [{"fate": "ambiguous"}]


@pytest.mark.parametrize(("fault", "charged"), FAULTS.values(), ids=list(FAULTS))
def test_whether_fal_took_it_or_not_it_is_one_post(
    fault: Fault,
    charged: int,
    errand: Errand,
    gate: Gate,
    fal: FalEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It looks the same from here; in fal's history it does not."""
    monkeypatch.setattr(fal_client, "SUBMIT_SECONDS", 1.5)  # one of them is late
    fal.faults.add(fault)
    assert is_whole(fetch(errand), smallest_video()) if charged else is_parked(errand)
    assert (gate.count("POST"), fal.charged) == (1, charged)


def test_an_answer_beyond_the_limit_is_lost(
    each_ledger: str, errand: Errand, gate: Gate, fal: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is a hard one; what fal did with the request, its history tells."""
    monkeypatch.setattr(fal_client, "SUBMIT_SECONDS", 0.5)
    with gate.holding("POST", "answer"):
        assert is_whole(fetch(on_ledger_at(each_ledger, errand)), smallest_video())
    assert (gate.count("POST"), fal.charged) == (1, 1)


@pytest.mark.parametrize("drop", [drop_before_accepting, drop_after_accepting])
def test_resubmitting_is_allowed_once_a_call(
    drop: Any,
    each_ledger: str,
    errand: Errand,
    gate: Gate,
    fal: FalEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who allows to resubmit has one more POST sent: if its answer is lost as well, that is it."""
    fal.history.lag_seconds = HOUR
    monkeypatch.setattr(acquire, "usual_seconds", lambda job: 0.0)
    fal.faults.add(drop("submit", count=None))
    allowed = changed(on_ledger_at(each_ledger, errand), on_ambiguous="resubmit")
    assert is_parked(allowed)
    assert gate.count("POST") == 2


def test_two_reruns_that_may_resubmit_share_one_more_post(
    each_ledger: str, errand: Errand, gate: Gate, fal: FalEmulator, nursery: Nursery
) -> None:
    """The consent is for the one attempt that was lost; afterwards there is a video."""
    fal.history.lag_seconds = HOUR
    fal.faults.add(drop_after_accepting("submit"))
    lost = on_ledger_at(each_ledger, errand)
    assert is_parked(lost) and is_parked(lost)
    assert gate.count("POST") == 1
    run_sql(each_ledger, "UPDATE hailuo_attempt SET sent_at = sent_at - 3600")  # it is time
    shot = Path(errand.folder).with_name("shot")
    allowed = Workers(nursery, changed(lost, on_ambiguous="resubmit", starting_shot=str(shot)))
    racers = [allowed.start(), allowed.start()]
    shot.touch()
    assert all(is_whole(racer.outcome().video, smallest_video()) for racer in racers)
    assert is_whole(fetch(changed(lost, on_ambiguous="resubmit")), smallest_video())
    assert (gate.count("POST"), fal.charged) == (2, 2)


def hide_payloads(fal: FalEmulator) -> None:
    """The history does not say what was asked for."""
    fal.history.omits_payloads = True


def send_two_more(fal: FalEmulator) -> None:
    """Somebody sends the very same in the same moment, twice."""
    given = fal.submissions[0]
    for _ in "ab":
        fal.plant(given.endpoint, given.body)


def hide_history(fal: FalEmulator) -> None:
    """The key may not read the history."""
    fal.faults.add(refuse("history", 403, count=None))


def list_later(fal: FalEmulator) -> None:
    """The history lists only what has begun, and this has not."""
    fal.history.omits_queued = True
    fal.history.lag_seconds = HOUR


UNCLEAR = [
    (hide_payloads, "inputs"),
    (send_two_more, "3 requests"),
    (hide_history, "could not be read"),
]


@pytest.mark.parametrize(("happen", "why"), UNCLEAR)
def test_a_consent_is_only_to_what_was_looked_for_and_not_found(
    happen: Any, why: str, each_ledger: str, errand: Errand, gate: Gate, fal: FalEmulator
) -> None:
    """Two equal requests, a history that cannot be read: the first POST may have bought it."""
    fal.faults.add(drop_after_accepting("submit"))
    lost = on_ledger_at(each_ledger, errand)
    # Parked first, so that what is asked about is there already.
    with holding_history(fal):
        assert is_parked(lost)
    happen(fal)
    allowed = changed(lost, on_ambiguous="resubmit")
    with pytest.raises(ParkedError, match=why) as caught:
        fetch(changed(allowed, timeout_seconds=2.0))
    assert "not bought again" in caught.value.message
    assert (gate.count("POST"), fal.charged) == (1, 1)


@contextmanager
def holding_history(fal: FalEmulator) -> Iterator[None]:
    """Meanwhile the history lists nothing of now."""
    before, fal.history.lag_seconds = fal.history.lag_seconds, HOUR
    yield
    fal.history.lag_seconds = before


def test_a_consent_waits_for_the_usual_time(
    each_ledger: str, errand: Errand, gate: Gate, fal: FalEmulator
) -> None:
    """A request that waits in fal's queue may not be listed: it is not bought again at once."""
    list_later(fal)
    fal.faults.add(drop_after_accepting("submit"))
    allowed = changed(on_ledger_at(each_ledger, errand), on_ambiguous="resubmit")
    with pytest.raises(ParkedError, match="not bought again yet"):
        fetch(changed(allowed, timeout_seconds=2.0))
    assert (gate.count("POST"), fal.charged) == (1, 1)
    fal.history.omits_queued, fal.history.lag_seconds = False, 0.0
    assert is_whole(fetch(allowed), smallest_video())
    assert (gate.count("POST"), fal.charged) == (1, 1)


@pytest.mark.parametrize("method", ["answer_lost", "parked"])
def test_a_ledger_out_of_reach_after_a_lost_answer_says_unknown(
    method: str, errand: Errand, fal: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be bought, and only this ledger knows: the cure names no other one."""

    async def break_down(*_: object) -> None:
        raise LedgerError("The ledger cannot be used.")

    monkeypatch.setattr(Records, method, break_down)
    fal.history.lag_seconds = HOUR
    fal.faults.add(drop_after_accepting("submit"))
    with pytest.raises(LedgerError, match="cannot be used") as caught:
        fetch(errand)
    assert caught.value.billed is Billed.UNKNOWN
    assert "the same ledger" in caught.value.cure
    assert "Nothing was bought" not in caught.value.cure
