"""An owner that is frozen past its lease, and thawed when others have taken over.

The campaign also lets the lease end by itself, which takes a minute.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from databases import address_of
from scenes import Evidence, Scene, on_ledger
from withholding import Withholding, withholding
from workers import Worker

from prefect_hailuo.ledger.claims import LEASE_SECONDS

SENDING = ("sending",)

on_postgresql = pytest.mark.parametrize("each_ledger", ["postgresql"], indirect=True)
"""Only a server's word can be withheld; SQLite is in the process itself."""


def test_an_owner_frozen_in_its_post_and_its_successor_share_one_video(scene: Scene) -> None:
    """The successor finds the request in fal's history; the owner wakes up to its answer."""
    with scene.gate.holding("POST", "answer") as held:
        owner = scene.workers.start()
        held.wait()
        owner.freeze()
        assert scene.evidence() == Evidence(SENDING, 0, 1, 1, 0)
        assert scene.got(scene.rerun())
    owner.thaw()
    assert scene.got(scene.collect(owner))
    assert scene.evidence() == Evidence(("stored",), 1, 1, 1, 1)


def test_what_fal_has_not_seen_yet_is_parked_until_the_owner_wakes(scene: Scene) -> None:
    """Its request may come still, so that nobody else may buy; when it has come, all is well."""
    with scene.gate.holding("POST", "request") as held:
        owner = scene.workers.start()
        held.wait()
        owner.freeze()
        assert scene.rerun().error == "ParkedError"
        assert scene.evidence() == Evidence(("ambiguous",), 0, 1, 0, 0)
    owner.thaw()
    assert scene.got(scene.collect(owner))
    assert scene.got(scene.rerun())
    assert scene.evidence() == Evidence(("stored",), 1, 1, 1, 1)


def test_with_consent_there_may_be_two_and_both_are_recorded(scene: Scene) -> None:
    """Somebody said that it may be bought again, while its owner was frozen: that is the gap."""
    with scene.gate.holding("POST", "request") as held:
        owner = scene.workers.start()
        held.wait()
        owner.freeze()
        assert scene.rerun().error == "ParkedError"
        on_ledger(scene.ledger_url, consenting_to=1)
        assert scene.got(scene.rerun())
    owner.thaw()
    assert scene.got(scene.collect(owner))
    tickets = {row["request_id"] for row in scene.rows}
    assert tickets == {one.request_id for one in scene.emulator.submissions}
    assert len(tickets) == 2


@contextmanager
def before_the_first_byte(scene: Scene) -> Iterator[tuple[Worker, Withholding]]:
    """A worker whose mark `sending` is in the ledger, who has not heard so and sends nothing."""
    with withholding(scene.ledger_url, b"sending") as database:
        behind = address_of(database.url).url.get_secret_value()
        worker = scene.workers.start(ledger_url=behind)
        scene.wait_for_fate("sending")
        assert database.committing.is_set()
        assert scene.evidence() == Evidence(SENDING, 0, 0, 0, 0)
        yield worker, database


@on_postgresql
def test_killed_before_the_first_byte_it_is_parked(scene: Scene) -> None:
    """Nothing was bought, and nobody can know it: the one crash that needs somebody's consent."""
    with before_the_first_byte(scene) as (worker, _):
        worker.kill()
    assert [scene.rerun().error, scene.rerun().error] == ["ParkedError", "ParkedError"]
    on_ledger(scene.ledger_url, consenting_to=1)
    assert scene.got(scene.rerun())
    assert (scene.gate.count("POST"), scene.emulator.charged) == (1, 1)


@on_postgresql
def test_frozen_before_the_first_byte_it_sends_when_it_wakes(scene: Scene) -> None:
    """Until then it is parked, so that its request stays the only one."""
    with before_the_first_byte(scene) as (owner, database):
        owner.freeze()
        assert scene.rerun().error == "ParkedError"
        database.released.set()
        owner.thaw()
        assert scene.got(scene.collect(owner))
    assert scene.got(scene.rerun())
    assert scene.evidence() == Evidence(("stored",), 1, 1, 1, 1)


@on_postgresql
def test_an_owner_that_loses_the_ledger_before_the_first_byte_has_sent_nothing(
    scene: Scene,
) -> None:
    """The mark `sending` is there, and it never heard so: it takes the mark back."""
    with withholding(scene.ledger_url, b"sending", cutting=True) as database:
        behind = address_of(database.url).url.get_secret_value()
        owner = scene.workers.start(ledger_url=behind)
        assert owner.outcome().error == "LedgerError"
        assert scene.evidence() == Evidence(("failed",), 0, 0, 0, 0)
    assert scene.got(scene.rerun())
    assert (scene.gate.count("POST"), scene.emulator.charged) == (1, 1)


@pytest.mark.campaign
@on_postgresql
def test_frozen_for_longer_than_its_lease_it_sends_nothing(scene: Scene) -> None:
    """By then the time for the POST is over, too: it knows that nothing was sent, and says so."""
    with before_the_first_byte(scene) as (owner, database):
        owner.freeze()
        time.sleep(LEASE_SECONDS + 1)
        assert scene.collect(scene.workers.start()).error == "ParkedError"
        database.released.set()
        owner.thaw()
        assert scene.collect(owner).error == "UnreachableError"
    assert scene.got(scene.collect(scene.workers.start()))
    assert (scene.gate.count("POST"), scene.emulator.charged) == (1, 1)
