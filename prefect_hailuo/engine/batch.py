"""Any number of generations on one road: each as if it were alone, all of them counted together.

Few are let onto the road at first, and one more for each whose request is known. So a bad key, or
an account without credit, is refused a few times and not ten thousand times. From then on they
wait side by side: what fal does with them, and how often it is asked, is the road's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import anyio
from anyio.abc import TaskGroup

from prefect_hailuo.clock import Clock, SystemClock
from prefect_hailuo.engine.loop import Connections, Emit, ignore, seldom_collecting
from prefect_hailuo.engine.order import Order, settle_all
from prefect_hailuo.engine.outcome import (
    BatchProgress,
    Course,
    Failure,
    VideoOutcome,
    VideoOutcomes,
    count,
)
from prefect_hailuo.engine.road import Road
from prefect_hailuo.errors import (
    BadKeyError,
    Billed,
    ConcurrencyLimitError,
    GenerationTimeoutError,
    HailuoError,
    LedgerError,
    NoCreditError,
    RealmMismatchError,
    RunCancelledError,
    StorageError,
)
from prefect_hailuo.fal.follow import CROWD
from prefect_hailuo.fal.retry import SubmissionRetry
from prefect_hailuo.storage.place import Place

CONCERN_ALL = (
    *(BadKeyError, NoCreditError, RealmMismatchError),
    *(ConcurrencyLimitError, LedgerError, StorageError),
)
"""What would befall every other one too: after it, none is begun. A budget is no such thing, for
what is there already, or costs less, may still be had."""

FIRST_AT_ONCE = 10
MOST_AT_ONCE = 250
"""Generations on their way to a request. Claims are committed together, so that more is faster,
and what is lost with a killed process has to be looked for in fal's history."""

TOLD_SECONDS = 1.0
"""How often it is told how it goes."""

EVER_SECONDS = 30 * 86400.0
"""How long one of many may take, as long as others come through: its turn may come late."""


class Batch:
    """Carries orders to their ends.

    Args:
        orders: In the order of the outcomes. Equal ones are one generation. Their timeout is how
            long fal may let nothing of the batch come any further.
        connections: What the process shares.
        emit: Called with `BatchProgress`, every second or so, and when all has ended.
        clock: What waiting is measured with.
    """

    def __init__(
        self,
        orders: Sequence[Order],
        connections: Connections,
        emit: Emit = ignore,
        clock: Clock | None = None,
    ) -> None:
        self._connections = connections
        self._emit = emit
        self._clock: Clock = clock or SystemClock()
        self._started_at = self._clock.now()
        self._patience_seconds = max((each.timeout_seconds for each in orders), default=0.0)
        self._moved_at = self._started_at
        self._doorway = Doorway()
        self._retry = SubmissionRetry(self._clock)
        self._orders = orders
        self._courses: list[Course] = []
        self._news: list[VideoOutcome] = []
        self._concerns_all: HailuoError | None = None
        self._cancelled: RunCancelledError | None = None
        self._give_up: Callable[[], None]

    async def run(self) -> VideoOutcomes:
        """Carry all of them to their ends.

        Raises:
            StorageError: A place is found unfit before anything was bought.
            RunCancelledError: The flow run that asks was cancelled, so nothing is bought for it.
        """
        if not self._orders:
            return VideoOutcomes()
        self._courses = await self._find_courses()
        await self._check_places()
        with seldom_collecting() if len(self._courses) > CROWD else nullcontext():
            await self._carry_all()
        if self._cancelled:
            raise self._cancelled
        self._end_the_rest()
        self._tell()
        found = [outcome for course in self._courses for outcome in course.outcomes]
        return VideoOutcomes(sorted(found, key=lambda each: each.index))

    async def _find_courses(self) -> list[Course]:
        """Equal orders on one course; those whose pictures cannot be had have ended already."""
        courses: dict[str, Course] = {}
        for index, (order, flaw) in enumerate(
            await settle_all(self._orders, self._connections.pictures)
        ):
            key = order.key
            if key not in courses:
                # Nobody looks at ten thousand posters.
                patient = replace(order, timeout_seconds=EVER_SECONDS, poster=False)
                courses[key] = Course(patient, key, [], moved=self._note_movement)
            courses[key].indices.append(index)
            if flaw is not None:
                courses[key].end(Failure.of(flaw))
        self._news = [
            each for course in courses.values() if course.ended for each in course.outcomes
        ]
        return list(courses.values())

    async def _check_places(self) -> None:
        places = {each.order.place.label: each.order.place for each in self._courses}
        for place in places.values():
            await place.check()

    async def _carry_all(self) -> None:
        async with anyio.create_task_group() as telling:
            async with anyio.create_task_group() as carrying:
                self._give_up = carrying.cancel_scope.cancel
                telling.start_soon(self._keep_telling)
                await self._begin_all(carrying)
            telling.cancel_scope.cancel()

    async def _begin_all(self, carrying: TaskGroup) -> None:
        for course in self._courses:
            if course.ended:
                continue
            passage = await self._doorway.enter()
            if self._concerns_all:
                return
            course.begun, course.arrived = True, partial(self._note_arrival, passage)
            carrying.start_soon(self._carry, course, passage)

    async def _carry(self, course: Course, passage: Passage) -> None:
        order = course.order
        try:
            road = Road(order.access, order.ledger, self._connections, course.see, watched=False)
            bring = partial(road.bring, order)
            course.end(await self._retry.run(bring, course.hinder))
        except RunCancelledError as error:
            # Of the batch, not of this one alone: whoever waits for it knows what to do.
            self._cancelled = error
            self._give_up()
        except HailuoError as error:
            if await _concerns_all(error, order.place):
                self._concerns_all = self._concerns_all or error
            course.end(Failure.of(error))
        except Exception as error:
            course.end(Failure.of(_unexpected(error)))
        finally:
            passage.leave()
        if course.ended:
            self._news += course.outcomes

    async def _keep_telling(self) -> None:
        while True:
            await self._clock.sleep(TOLD_SECONDS)
            self._tell()
            if self._clock.now() - self._moved_at >= self._patience_seconds:
                self._give_up()

    def _tell(self) -> None:
        counts = count(self._courses, self._clock.now() - self._started_at)
        news, self._news = self._news, []
        self._emit(BatchProgress(counts, news))

    def _note_movement(self) -> None:
        self._moved_at = self._clock.now()

    def _note_arrival(self, passage: Passage) -> None:
        self._retry.note_reached()
        passage.arrive()

    def _end_the_rest(self) -> None:
        for course in self._courses:
            if not course.ended:
                course.end(Failure.of(self._why_not(course)))
                self._news += course.outcomes

    def _why_not(self, course: Course) -> HailuoError:
        if self._concerns_all and not course.begun:
            return _not_tried(self._concerns_all)
        if course.hindrance:
            return course.hindrance
        return GenerationTimeoutError(
            f"Nothing of the batch came any further for {self._patience_seconds:g} seconds.",
            billed=None if course.begun else Billed.NO,
            ticket=course.ticket,
        )


class Doorway:
    """Lets generations onto the road: a few at first, and more for each that came through."""

    def __init__(self) -> None:
        self._room = anyio.Semaphore(FIRST_AT_ONCE)
        self._width = FIRST_AT_ONCE

    async def enter(self) -> Passage:
        """Wait for room."""
        await self._room.acquire()
        return Passage(self)

    def free(self, widening: bool) -> None:
        """Make room for the next one, and for one more where that went well."""
        self._room.release()
        if widening and self._width < MOST_AT_ONCE:
            self._width += 1
            self._room.release()


class Passage:
    """One generation's way through the doorway, which it frees once."""

    def __init__(self, doorway: Doorway) -> None:
        self._doorway: Doorway | None = doorway

    def arrive(self) -> None:
        """It is through: its request, or its video, is known."""
        self._free(widening=True)

    def leave(self) -> None:
        """It has ended, one way or another."""
        self._free(widening=False)

    def _free(self, widening: bool) -> None:
        doorway, self._doorway = self._doorway, None
        if doorway is not None:
            doorway.free(widening)


async def _concerns_all(error: HailuoError, place: Place) -> bool:
    """Whether an error would befall every other one too."""
    if isinstance(error, StorageError) and error.billed is Billed.NO:
        # Nothing was to be written yet: it may be one damaged file that cannot be read.
        try:
            await place.check()
        except StorageError:
            return True
        return False
    return isinstance(error, CONCERN_ALL)


def _not_tried(error: HailuoError) -> HailuoError:
    """The error of one that was not begun, because of another's that concerns all."""
    return type(error)(
        f"Not tried, and nothing was bought for it, for another of the batch ended so: "
        f"{error.message}",
        cure=error.cure,
        billed=Billed.NO,
        retryable=error.retryable,
    )


def _unexpected(error: Exception) -> HailuoError:
    """A mistake in a package; its own words might hold what is secret."""
    return HailuoError(
        f"It ended by an error that is not foreseen: {type(error).__name__}.",
        cure="Run this input alone, with generate_video, to see all of it; and report it.",
        billed=Billed.UNKNOWN,
    )
