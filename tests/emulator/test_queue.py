"""The queue, as a function of time."""

from __future__ import annotations

import random
from datetime import datetime, timezone

import pytest

from prefect_hailuo.emulator import ManualClock, State
from prefect_hailuo.emulator.outcome import VIDEO, Outcome
from prefect_hailuo.emulator.queue import Disruptions, Generation, Simulation, WaitingLine
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo


def request(
    number: int = 1,
    *,
    duration: float = 10,
    outcome: Outcome = VIDEO,
    disruptions: Disruptions | None = None,
    start_within: float | None = None,
) -> Generation:
    """A request that takes 10 s."""
    return Generation(
        number=number,
        request_id=f"request-{number}",
        input_class=Hailuo02ProTextToVideo,
        body={"prompt": "A red fox."},
        headers={},
        account="key",
        submitted_at=0,
        sent_at=datetime.now(timezone.utc),
        outcome=outcome,
        duration=duration,
        disruptions=disruptions or Disruptions(),
        start_within=start_within,
    )


def test_no_more_run_at_once_than_there_are_runners(clock: ManualClock) -> None:
    """Two run, the third waits, and starts the moment that a runner is free."""
    queue = Simulation(clock, concurrency=2)
    first, second, third = (request(number) for number in (1, 2, 3))
    for each in (first, second, third):
        queue.accept(each)
    assert (queue.running, third.state) == (2, State.IN_QUEUE)
    clock.advance(25)
    queue.settle()
    assert third.started_at == 10
    assert third.ended_at == 20


def test_positions_count_those_before_and_shrink(clock: ManualClock) -> None:
    """A position is how many wait before; it goes down as the queue moves and as others leave."""
    queue = Simulation(clock, concurrency=1)
    requests = [request(number) for number in range(5)]
    assert [queue.accept(each) for each in requests] == [0, 0, 1, 2, 3]
    queue.cancel(requests[2])
    assert queue.position(requests[4]) == 2
    clock.advance(10)
    queue.settle()
    assert [queue.position(each) for each in requests[3:]] == [0, 1]


def test_looking_seldom_or_often_gives_the_same_history(clock: ManualClock) -> None:
    """When things happen does not depend on when anybody looks."""
    seldom, often = Simulation(clock, 3), Simulation(clock, 3)
    lengths = [random.Random(7).uniform(1, 9) for _ in range(50)]  # noqa: S311
    pairs = [(request(duration=each), request(duration=each)) for each in lengths]
    for one, other in pairs:
        seldom.accept(one)
        often.accept(other)
    for _ in range(300):
        clock.advance(1)
        often.settle()
    seldom.settle()
    assert [one.ended_at for one, _ in pairs] == [other.ended_at for _, other in pairs]


def test_only_videos_are_charged(clock: ManualClock) -> None:
    """A success is charged once, with its price; a failure and a cancellation are not."""
    queue = Simulation(clock, concurrency=1)
    for each in (request(1), request(2, outcome=Outcome(500, {}, "internal_error")), request(3)):
        queue.accept(each)
    assert queue.cancel(each) is Cancellation.REMOVED
    clock.advance(1000)
    queue.settle()
    assert (queue.charged, str(queue.charged_usd), queue.completed) == (1, "0.48", 3)


def test_a_request_can_go_back_to_the_queue(clock: ManualClock) -> None:
    """After a lost runner it waits again, behind those that came meanwhile, then completes."""
    queue = Simulation(clock, concurrency=1)
    lost, other = request(1, disruptions=Disruptions(back_to_queue_after=(4,))), request(2)
    queue.accept(lost)
    queue.accept(other)
    clock.advance(4)
    queue.settle()
    assert (lost.state, other.state) == (State.IN_QUEUE, State.IN_PROGRESS)
    clock.advance(20)
    queue.settle()
    assert (lost.ended_at, queue.charged) == (24, 2)


def test_a_request_that_does_not_start_in_time_fails(clock: ManualClock) -> None:
    """fal's start timeout ends a request that still waits, and frees its place."""
    queue = Simulation(clock, concurrency=1)
    queue.accept(request(1))
    impatient, patient = request(2, start_within=5), request(3)
    queue.accept(impatient)
    queue.accept(patient)
    clock.advance(6)
    assert queue.waiting == 1
    assert (impatient.outcome.status, impatient.outcome.error_type) == (504, "request_timeout")


def test_a_heeded_cancellation_frees_the_runner(clock: ManualClock) -> None:
    """A model that heeds a cancellation makes room for the next at once, and is not charged."""
    queue = Simulation(clock, concurrency=1)
    heeding, waiting = request(1, disruptions=Disruptions(stops_when_cancelled=True)), request(2)
    queue.accept(heeding)
    queue.accept(waiting)
    clock.advance(3)
    assert queue.cancel(heeding) is Cancellation.REQUESTED
    assert (heeding.outcome.status, waiting.started_at) == (499, 3)
    clock.advance(100)
    queue.settle()
    assert queue.charged == 1


def test_the_next_event_is_announced(clock: ManualClock) -> None:
    """Whoever sleeps until something happens is told when something is to happen earlier."""
    told: list[float | None] = []
    queue = Simulation(clock, 2, on_event=lambda: told.append(queue.next_event()))
    queue.accept(request(1, duration=50))
    queue.accept(request(2, duration=5))
    assert told == [50, 5]


def test_ten_thousand_requests_are_cheap(clock: ManualClock) -> None:
    """Ten thousand requests with cancellations run their course in well under a second or two."""
    queue = Simulation(clock, concurrency=40)
    requests = [request(number) for number in range(10_000)]
    for each in requests:
        queue.accept(each)
    for each in requests[5000::3]:
        queue.cancel(each)
    assert queue.position(requests[-1]) > 8000
    clock.advance(10_000)
    queue.settle()
    assert queue.completed == 10_000


def test_a_line_agrees_with_a_list() -> None:
    """Positions are those of a plain list, whatever joins, leaves and is served."""
    chance = random.Random(3)  # noqa: S311
    line, plain, numbers = WaitingLine[int](), list[int](), dict[int, int]()
    for name in range(2000):
        what = chance.random()
        if what < 0.5 or not plain:
            numbers[name] = line.join(name)
            plain.append(name)
        elif what < 0.7:
            gone = plain.pop(chance.randrange(len(plain)))
            line.leave(numbers[gone])
        else:
            assert line.pop() == plain.pop(0)
        assert all(line.position(numbers[each]) == place for place, each in enumerate(plain[:9]))
    assert len(line) == len(plain)


def test_a_clock_does_not_go_back(clock: ManualClock) -> None:
    """Negative advances are refused."""
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
