"""A lost answer, and a history that keeps silent: the one end that is not a video, and its cure."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from crash_points import CRASH_POINTS, order_as_a_stranger
from scenes import Evidence, Scene, on_ledger

LOST = CRASH_POINTS["after_fal_accepted"]


def silence_by_lag(scene: Scene) -> None:
    """It lists requests later."""
    scene.emulator.history.lag_seconds = 3600


def silence_about_inputs(scene: Scene) -> None:
    """It does not say what was asked for."""
    scene.emulator.history.omits_payloads = True


def silence_about_the_queue(scene: Scene) -> None:
    """It lists no request that work has not begun on; and somebody else's is worked on."""
    scene.emulator.history.omits_queued = True
    order_as_a_stranger(scene)


silences = pytest.mark.parametrize(
    "silence", [silence_by_lag, silence_about_inputs, silence_about_the_queue]
)


@pytest.fixture
def lose(scene: Scene) -> Callable[[], None]:
    """Has a request accepted by fal, and its owner killed before it heard so."""

    def lose_one() -> None:
        with LOST.stand(scene) as worker:
            assert scene.evidence() == LOST.evidence
            worker.kill()

    return lose_one


@silences
def test_while_the_history_is_silent_it_is_parked_and_then_found(
    scene: Scene, lose: Callable[[], None], silence: Callable[[Scene], None]
) -> None:
    """However often it is run again it is one POST, and in the end the video is there."""
    silence(scene)
    lose()
    assert [scene.rerun_at_once().error for _ in range(2)] == ["ParkedError"] * 2
    assert scene.evidence() == Evidence(("ambiguous",), 0, 1, 1, 0)
    scene.emulator.history.lag_seconds = 0
    scene.emulator.history.omits_payloads = False
    scene.finish_work()  # whatever was queued is worked on now
    assert scene.got(scene.rerun())
    assert scene.evidence() == Evidence(("stored",), 1, 1, 1, 1)


def test_consent_buys_one_more_and_only_one(scene: Scene, lose: Callable[[], None]) -> None:
    """Three who come at once share it; and whoever comes later finds it."""
    silence_about_inputs(scene)
    lose()
    assert scene.rerun_at_once().error == "ParkedError"
    on_ledger(scene.ledger_url, consenting_to=1)
    racers = [scene.workers.start() for _ in range(3)]
    assert all(scene.got(scene.collect(racer)) for racer in racers)
    assert scene.got(scene.rerun())
    assert scene.evidence() == Evidence(("ambiguous", "stored"), 1, 2, 2, 2)


def test_a_consent_is_spent_by_the_attempt_that_it_allowed(
    scene: Scene, lose: Callable[[], None]
) -> None:
    """If that one is lost as well, it is parked again: a consent is no standing licence."""
    silence_about_inputs(scene)
    lose()
    assert scene.rerun_at_once().error == "ParkedError"
    on_ledger(scene.ledger_url, consenting_to=1)
    with LOST.stand(scene) as worker:
        worker.kill()
    assert [scene.rerun_at_once().error for _ in range(2)] == ["ParkedError"] * 2
    assert scene.evidence() == Evidence(("ambiguous", "ambiguous"), 0, 2, 2, 0)
