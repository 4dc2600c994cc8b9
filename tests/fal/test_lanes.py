"""What is known of requests that wait together: each answer tells of the others."""

from __future__ import annotations

import pytest

from prefect_hailuo.fal.follow import (
    ASKED_A_SECOND,
    CROWD,
    DEAF_SECONDS,
    WOKEN_AT_ONCE,
    Durations,
    Lane,
    Plan,
    Queue,
    Spot,
)
from prefect_hailuo.fal.messages import Completed, InProgress, InQueue

SECONDS = 60.0


def a_lane(count: int, *, first: int = 0) -> tuple[Lane, list[Spot]]:
    """Requests that stand one behind the other, all of them submitted at once."""
    lane = Lane(Durations(SECONDS, [SECONDS] * 20))
    return lane, [lane.enter(0.0, InQueue(queue_position=first + n)) for n in range(count)]


def done(seconds: float) -> Completed:
    """The end of a request that ran so long."""
    return Completed(metrics={"inference_time": seconds})


def test_few_listen() -> None:
    """Until there is a crowd, each has a stream of its own."""
    lane, spots = a_lane(CROWD)
    assert {spot.plan(1.0, True) for spot in spots} == {Plan(0, "listen")}
    lane.enter(1.0)
    assert spots[-1].plan(1.0, True).then != "listen"


def test_where_one_moved_up_all_behind_it_did() -> None:
    """From two answers about one request follows how long all the others have still to wait."""
    lane, spots = a_lane(1000)
    for at in range(1, 20):
        spots[100].saw(InQueue(queue_position=100 - 2 * at), at * 10.0)
    assert lane.until_turn(spots[900].number or 0, 190.0) == pytest.approx(5 * (900 - 38), rel=0.02)


def test_whose_turn_comes_near_is_told_once() -> None:
    """When the head of the queue comes close, and not before; then it plans anew."""
    lane, spots = a_lane(500)
    list(lane.near(0.0))
    for at in range(1, 21):
        spots[400].saw(InQueue(queue_position=400 - 10 * at), at * 10.0)
    woken = [spot.serial for spot in lane.near(200.0)]
    assert woken == list(range(min(woken), max(woken) + 1))
    assert 200 <= max(woken) <= 240
    assert not list(lane.near(200.0))


def test_who_finds_no_queue_says_nothing_of_its_pace() -> None:
    """A hundred come in some seconds and start at once; those behind them wait for one wave."""
    lane = Lane(Durations(SECONDS, [SECONDS] * 20))
    for n in range(100):
        lane.enter(n / 20, InQueue(queue_position=0))
    behind = [lane.enter(5.0, InQueue(queue_position=n)) for n in range(100)]
    behind[0].saw(InProgress(), SECONDS)
    assert lane.until_turn(behind[99].number or 0, SECONDS) <= 3 * SECONDS


def test_who_began_long_ago_does_not_hold_the_queue_back() -> None:
    """That it runs says that its turn has come, not that it came this moment."""
    lane, spots = a_lane(500)
    for at in range(1, 21):
        spots[400].saw(InQueue(queue_position=400 - 10 * at), at * 10.0)
    left = lane.until_turn(spots[300].number or 0, 260.0)
    spots[235].saw(InProgress(), 260.0)
    assert lane.until_turn(spots[300].number or 0, 260.0) == left


def test_a_queue_that_goes_back_is_followed_back() -> None:
    """Single answers may be about requests that went elsewhere; several are about the queue."""
    queue = Queue()
    for at in range(20):
        assert queue.note(at, at * 10.0, usual=0.1)
    assert [queue.note(-181, 201.0, 0.1) for _ in range(3)] == [False, False, True]
    assert queue.head(201.0, 1.0) == -181
    assert queue.pace(1.0) == pytest.approx(0.1, rel=0.1)


def test_one_that_is_queued_again_says_nothing_of_the_others() -> None:
    """fal broke it off: it stands at the end now, and the head is where it was."""
    lane, spots = a_lane(200)
    spots[0].saw(InProgress(), 1.0)
    before = lane.until_turn(100, 2.0)
    spots[0].saw(InQueue(queue_position=250), 2.0)
    assert lane.until_turn(100, 2.0) == before
    assert lane.until_turn(spots[0].number or 0, 2.0) > before


def test_without_positions_they_stand_as_they_were_submitted() -> None:
    """A fal that does not say how many are before a request is believed to be fair."""
    lane = Lane(Durations(SECONDS, [SECONDS] * 20))
    spots = [lane.enter(0.0, InQueue()) for _ in range(300)]
    assert spots[10].plan(0.0, False).pause < spots[290].plan(0.0, False).pause


def test_a_crowd_asks_one_after_another() -> None:
    """However many want to at once, so many a second do; few need not wait."""
    lane, _ = a_lane(CROWD + 1)
    turns = [lane.turn(10.0) for _ in range(2 * ASKED_A_SECOND)]
    assert turns[0] == 0
    assert turns == sorted(turns)
    assert turns[-1] == pytest.approx(2.0, abs=0.01)
    few, _ = a_lane(CROWD)
    assert {few.turn(10.0) for _ in range(1000)} == {0.0}


def test_what_ended_teaches_those_who_guess() -> None:
    """They plan anew when it is first known how long it takes, and not at every end after it."""
    lane = Lane(Durations(4 * SECONDS))
    spots = [lane.enter(0.0, InQueue(queue_position=0)) for _ in range(200)]
    for spot in spots:
        spot.saw(InProgress(), 0.0)
        spot.plan(0.0, False)
    told = []
    for spot in spots[:60]:
        spot.saw(done(SECONDS), SECONDS)
        lane.leave(spot)
        told.append(len(list(lane.learned())))
    assert [count for count in told if count] == [WOKEN_AT_ONCE, 192 - WOKEN_AT_ONCE]
    assert spots[90].plan(SECONDS, True).then == "ask"


@pytest.mark.parametrize(
    ("said", "learned"), [(50.0, 50.0), (5000.0, 60.0), (0.06, 60.0), ("odd", 60.0)]
)
def test_what_fal_says_of_a_duration_is_believed_within_reason(
    said: object, learned: float
) -> None:
    """An emulator's time may go faster, and a clock may be wrong: what was seen counts then."""
    lane = Lane(Durations(4 * SECONDS))
    for _ in range(20):
        spot = lane.enter(0.0, InQueue(queue_position=0))
        if said != 50.0:
            spot.listens(0.0)
            spot.saw(InProgress(), 0.0)
        spot.saw(Completed(metrics={"inference_time": said}), 60.0)
    assert lane.durations.left(0.0, 0.5) == learned


def test_a_dropped_stream_is_asked_after_and_rests() -> None:
    """The status first, then a stream again, each time a little later."""
    _, [spot] = a_lane(1)
    rests = []
    for at in (0.0, 10.0, 20.0, 30.0, 40.0, 50.0):
        spot.listens(at)
        spot.listened(at, heard=True, dropped=True)
        assert spot.plan(at, True) == Plan(0, "ask")
        spot.saw(InProgress(), at)
        assert spot.plan(at, True).then == "listen"
        rests.append(spot.plan(at, True).pause)
    assert rests == [1, 2, 4, 8, 10, 10]


def test_streams_refused_are_left_alone_for_a_while() -> None:
    """One that got none asks instead; after a few, all do; later they try again."""
    _, spots = a_lane(5)
    for spot in spots[:3]:
        assert spots[4].plan(0.0, True).then == "listen"
        spot.listens(0.0)
        spot.listened(0.0, heard=False, dropped=True)
    assert spots[4].plan(0.0, True).then == "ask"
    assert spots[4].plan(DEAF_SECONDS, True).then == "listen"


@pytest.mark.parametrize("jump", [-1e6, 1e6], ids=["back", "forward"])
def test_a_clock_that_was_set_hurts_nobody(jump: float) -> None:
    """A ticket's time is of the day's clock: that it was wrong makes no request wait for days."""
    lane = Lane(Durations(SECONDS))
    spots = [lane.enter(0.0, age=max(0.0, jump)) for _ in range(CROWD + 1)]
    spots[5].saw(InProgress(), 1.0)
    for free in (True, False):
        assert spots[5].plan(1.0, free).pause <= 2 * SECONDS
    spots[6].saw(InQueue(queue_position=10), 1.0)
    assert spots[6].plan(1.0, False).pause <= 2 * SECONDS
