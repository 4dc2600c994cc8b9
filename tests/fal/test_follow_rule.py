"""When a request is asked about or listened to, and what an answer about one tells of others."""

from __future__ import annotations

from itertools import pairwise

import pytest

from prefect_hailuo.fal.follow import (
    ASKED_A_SECOND,
    CROWD,
    CROWD_GAP_SECONDS,
    DEAF_SECONDS,
    FEW,
    FEW_GAP_SECONDS,
    LONGEST_UNHEARD_SECONDS,
    MOST_SAMPLES,
    PART_OF_RUN,
    WOKEN_AT_ONCE,
    Durations,
    Plan,
    Queue,
    Waiting,
)
from prefect_hailuo.fal.messages import Completed, InProgress, InQueue

SECONDS = 60.0


def a_queue(
    count: int, *, first: int = 0, observed: list[float] | None = None
) -> tuple[Queue, list[Waiting]]:
    """Requests that stand one behind the other, all of them submitted at once."""
    queue = Queue(Durations(SECONDS, [SECONDS] * 20 if observed is None else observed))
    return queue, [queue.enter(0.0, InQueue(queue_position=first + n)) for n in range(count)]


def running(count: int, *, observed: list[float] | None = None) -> tuple[Queue, list[Waiting]]:
    """Requests that have just begun to run."""
    queue, waiting = a_queue(0, observed=observed)
    waiting = [queue.enter(0.0, InQueue(queue_position=0)) for _ in range(count)]
    for each in waiting:
        each.saw(InProgress(), 0.0)
    return queue, waiting


def asked_at(waiting: Waiting, until: float, status: InQueue | InProgress) -> list[float]:
    """When it is asked about, if nothing ever changes and no stream is to be had."""
    now, times = 0.0, []
    while now < until:
        plan = waiting.plan(now, False)
        now += plan.pause
        if plan == Plan(0, "ask"):
            times.append(now)
            waiting.saw(status, now)
    return times


def done(seconds: float) -> Completed:
    """The end of a request that ran so long."""
    return Completed(metrics={"inference_time": seconds})


def test_few_listen() -> None:
    """Until there is a crowd, each has a stream of its own."""
    queue, requests = a_queue(CROWD)
    assert {request.plan(1.0, True) for request in requests} == {Plan(0, "listen")}
    queue.enter(1.0)
    assert requests[-1].plan(1.0, True) != Plan(0, "listen")


def test_where_one_moved_up_all_behind_it_did() -> None:
    """From two answers about one request follows how long all the others have still to wait."""
    queue, requests = a_queue(1000)
    for at in range(1, 20):
        requests[100].saw(InQueue(queue_position=100 - 2 * at), at * 10.0)
    assert queue.until_turn(requests[900].number or 0, 190.0) == pytest.approx(
        5 * (900 - 38), rel=0.02
    )


def test_whose_turn_comes_near_is_told_once() -> None:
    """When the head of the queue comes close, and not before; then it plans anew."""
    queue, requests = a_queue(500)
    for request in requests:
        request.plan(0.0, True)
    list(queue.news(0.0))
    list(queue.news(0.0))  # what the twenty durations changed
    for at in range(1, 21):
        requests[400].saw(InQueue(queue_position=400 - 10 * at), at * 10.0)
    woken = sorted(each.serial for each in queue.news(200.0))
    *near, first = woken  # the first of those who are still far plans anew, too: see below
    assert near == list(range(min(woken), max(near) + 1))
    assert 200 <= max(near) <= 240
    assert first == max(near) + 1
    assert not list(queue.news(200.0))


def test_the_first_in_line_is_asked_in_time() -> None:
    """Where nobody is nearer its turn, only this one can tell how the queue moves."""
    queue, requests = a_queue(200, first=5000)
    for request in requests:
        request.plan(0.0, True)
    list(queue.news(0.0))
    requests[0].saw(InQueue(queue_position=60), 1e4)
    requests[1].saw(InQueue(queue_position=61), 1e4)
    left = queue.until_turn(requests[0].number or 0, 1e4)
    assert requests[0].plan(1e4, False).pause <= left / 2 < requests[1].plan(1e4, False).pause


def test_who_finds_no_queue_says_nothing_of_its_pace() -> None:
    """A hundred come in some seconds and start at once; those behind them wait for one wave."""
    queue = Queue(Durations(SECONDS, [SECONDS] * 20))
    for n in range(100):
        queue.enter(n / 20, InQueue(queue_position=0))
    behind = [queue.enter(5.0, InQueue(queue_position=n)) for n in range(100)]
    behind[0].saw(InProgress(), SECONDS)
    assert queue.until_turn(behind[99].number or 0, SECONDS) <= 3 * SECONDS


def test_who_began_long_ago_does_not_hold_the_queue_back() -> None:
    """That it runs says that its turn has come, not that it came this moment."""
    queue, requests = a_queue(500)
    for at in range(1, 21):
        requests[400].saw(InQueue(queue_position=400 - 10 * at), at * 10.0)
    left = queue.until_turn(requests[300].number or 0, 260.0)
    requests[235].saw(InProgress(), 260.0)
    assert queue.until_turn(requests[300].number or 0, 260.0) == left


def test_who_stands_further_back_than_believed_says_nothing_of_the_others() -> None:
    """Others were let in before it: it has a new place, and the queue's pace is as it was."""
    queue, requests = a_queue(300)
    for at in range(1, 21):
        requests[200].saw(InQueue(queue_position=200 - 2 * at), at * 10.0)
    before = queue.until_turn(150, 200.0)
    requests[200].saw(InQueue(queue_position=360), 200.0)
    assert queue.until_turn(150, 200.0) == before
    assert queue.until_turn(requests[200].number or 0, 200.0) == pytest.approx(5 * 360, rel=0.1)
    requests[200].saw(InQueue(queue_position=358), 210.0)
    assert queue.until_turn(requests[200].number or 0, 210.0) == pytest.approx(5 * 358, rel=0.1)


def test_one_that_is_queued_again_says_nothing_of_the_others() -> None:
    """fal broke it off: it stands at the end now, and the head is where it was."""
    queue, requests = a_queue(200)
    requests[0].saw(InProgress(), 1.0)
    before = queue.until_turn(100, 2.0)
    requests[0].saw(InQueue(queue_position=250), 2.0)
    assert queue.until_turn(100, 2.0) == before
    assert queue.until_turn(requests[0].number or 0, 2.0) > before


def test_without_positions_they_stand_as_they_were_submitted() -> None:
    """A fal that does not say how many are before a request is believed to be fair."""
    queue = Queue(Durations(SECONDS, [SECONDS] * 20))
    requests = [queue.enter(0.0, InQueue()) for _ in range(300)]
    assert queue.until_turn(requests[10].number or 0, 0.0) < queue.until_turn(
        requests[290].number or 0, 0.0
    )


def test_a_crowd_asks_one_after_another() -> None:
    """However many want to at once, so many a second do; few need not wait."""
    queue, _ = a_queue(CROWD + 1)
    turns = [queue.turn(10.0) for _ in range(2 * ASKED_A_SECOND)]
    assert turns[0] == 0
    assert turns == sorted(turns)
    assert turns[-1] == pytest.approx(2.0, abs=0.01)
    few, _ = a_queue(CROWD)
    assert {few.turn(10.0) for _ in range(1000)} == {0.0}


def test_what_ended_teaches_those_who_guess() -> None:
    """They plan anew when it is first known how long it takes, and not at every end after it."""
    queue = Queue(Durations(4 * SECONDS))
    requests = [queue.enter(0.0, InQueue(queue_position=0)) for _ in range(200)]
    for request in requests:
        request.saw(InProgress(), 0.0)
        request.plan(0.0, False)
    told = []
    for request in requests[:60]:
        request.saw(done(SECONDS), SECONDS)
        queue.leave(request)
        told.append(len(list(queue.news(SECONDS))))
    assert [count for count in told if count] == [WOKEN_AT_ONCE, 192 - WOKEN_AT_ONCE]
    assert requests[90].plan(SECONDS, False) == Plan(0, "ask")


@pytest.mark.parametrize(
    ("said", "learned"), [(50.0, 50.0), (5000.0, 60.0), (0.06, 60.0), ("odd", 60.0)]
)
def test_what_fal_says_of_a_duration_is_believed_within_reason(
    said: object, learned: float
) -> None:
    """An emulator's time may go faster, and a clock may be wrong: what was seen counts then."""
    queue = Queue(Durations(4 * SECONDS))
    for _ in range(20):
        request = queue.enter(0.0, InQueue(queue_position=0))
        if said != 50.0:
            request.listens(0.0)
            request.saw(InProgress(), 0.0)
        request.saw(Completed(metrics={"inference_time": said}), 60.0)
    assert queue.durations.left(0.0, 0.5) == learned


def test_a_dropped_stream_is_asked_after_and_rests() -> None:
    """The status first, then a stream again, each time a little later."""
    _, [request] = a_queue(1)
    rests = []
    for at in (0.0, 10.0, 20.0, 30.0, 40.0, 50.0):
        request.listens(at)
        request.listened(at, heard=True, dropped=True)
        assert request.plan(at, True) == Plan(0, "ask")
        request.saw(InProgress(), at)
        assert request.plan(at, True).then == "listen"
        rests.append(request.plan(at, True).pause)
    assert rests == [1, 2, 4, 8, 10, 10]


def test_streams_refused_are_left_alone_for_a_while() -> None:
    """One that got none asks instead; after a few, all do; later they try again."""
    _, requests = a_queue(5)
    for request in requests[:3]:
        assert requests[4].plan(0.0, True).then == "listen"
        request.listens(0.0)
        request.listened(0.0, heard=False, dropped=True)
    assert requests[4].plan(0.0, True).then == "ask"
    assert requests[4].plan(DEAF_SECONDS, True).then == "listen"


@pytest.mark.parametrize("jump", [-1e6, 1e6], ids=["back", "forward"])
def test_a_clock_that_was_set_hurts_nobody(jump: float) -> None:
    """A ticket's time is of the day's clock: that it was wrong makes no request wait for days."""
    queue = Queue(Durations(SECONDS))
    requests = [queue.enter(0.0, age=max(0.0, jump)) for _ in range(CROWD + 1)]
    requests[5].saw(InProgress(), 1.0)
    for free in (True, False):
        assert requests[5].plan(1.0, free).pause <= 2 * SECONDS
    requests[6].saw(InQueue(queue_position=10), 1.0)
    assert requests[6].plan(1.0, False).pause <= 2 * SECONDS


def test_the_catalogue_is_believed_until_a_few_were_seen() -> None:
    """Then the observed ones count, the latest of them only."""
    durations = Durations(100, [5.0] * (FEW - 1))
    assert durations.left(0, 0.5) == 100
    durations.add(5.0)
    assert durations.left(0, 0.5) == 5
    for _ in range(MOST_SAMPLES):
        durations.add(7.0)
    assert (durations.left(0, 0.0), durations.observed) == (7, MOST_SAMPLES)


def test_a_thin_tail_is_no_knowledge() -> None:
    """What has run longer than nearly all before may end at any time, not when the longest did."""
    durations = Durations(100, [*[10.0] * 50, 2000.0])
    assert durations.left(20, 0.25) < 10


VARIED = [float(each) for each in range(20, 220, 2)]


@pytest.mark.parametrize("observed", [[], [60.0] * 20, VARIED, [1.0, 9.0] * 4])
@pytest.mark.parametrize("count", [1, CROWD + 50])
def test_no_running_request_is_left_alone_for_long(observed: list[float], count: int) -> None:
    """At most a tenth of the time that it ran, or 30 seconds; and at most ten, if few wait. Nor
    is it asked about again at once."""
    _, requests = running(count, observed=observed)
    times = asked_at(requests[-1], 5000.0, InProgress())
    longest = FEW_GAP_SECONDS if count == 1 else CROWD_GAP_SECONDS
    for before, after in pairwise([0.0, *times]):
        assert 0.9 <= after - before <= max(longest, PART_OF_RUN * before) + 0.1


@pytest.mark.parametrize("position", [0, 3, 200, 2000, 1_000_000, None])
@pytest.mark.parametrize("observed", [[], VARIED], ids=["nothing known", "known"])
def test_no_queued_request_is_forgotten(position: int | None, observed: list[float]) -> None:
    """Whether its position stands still, or there is none: at most for 45 minutes, or, after a wait
    of days, until that has doubled. One at the head of the queue is asked about often."""
    queue, _ = a_queue(200, first=5, observed=observed)
    request = queue.enter(0.0, InQueue(queue_position=position))
    times = asked_at(request, 200_000.0, InQueue(queue_position=position))
    for before, after in pairwise([0.0, *times]):
        assert 0.9 <= after - before <= max(LONGEST_UNHEARD_SECONDS, before) + 0.1
        if position == 0:
            assert after - before <= SECONDS


def test_a_queue_that_tells_nothing_is_asked_by_position() -> None:
    """Who stands far back is asked about seldom, and who comes next often."""
    _, requests = a_queue(2000, observed=VARIED)
    pauses = [requests[n].plan(0.0, False).pause for n in (50, 500, 1999)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 60
    assert pauses[2] >= 300


def test_its_end_is_known_and_it_is_asked_right_after() -> None:
    """Where all take equally long, one question is enough."""
    _, requests = running(CROWD + 1, observed=[20.0] * 20)
    assert requests[0].plan(1.0, False) == Plan(19.0, "ask")
    assert requests[0].plan(20.0, False) == Plan(0.0, "ask")


def test_nobody_can_listen_so_a_few_are_asked_often() -> None:
    """While it is not known how long they take, others learn it from the first few."""
    _, requests = running(CROWD + 1, observed=[])
    pauses = [request.plan(0.0, False).pause for request in requests]
    assert pauses[:FEW] == [1.0] * FEW
    assert min(pauses[FEW:]) > 10


def test_many_come_back_and_are_asked_about() -> None:
    """Of a crowd that is waited for anew, nothing is known; alone, one listens at once."""
    queue = Queue(Durations(SECONDS))
    requests = [queue.enter(0.0, age=1e4) for _ in range(CROWD + 1)]
    assert {request.plan(0.0, True) for request in requests} == {Plan(0, "ask")}
    queue.leave(requests[0])
    assert requests[1].plan(0.0, True) == Plan(0, "listen")


def test_a_stream_of_one_that_is_far_is_given_up() -> None:
    """Once many wait, who is far from its turn needs none; who is near keeps it."""
    _, requests = a_queue(CROWD + 200)
    assert requests[1].should_go_on_listening(0.0)
    assert not requests[CROWD + 100].should_go_on_listening(0.0)
