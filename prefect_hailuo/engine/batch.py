"""A batch: any number of generations side by side, each bought as if it were alone.

It starts slowly: a few are begun at first, and one more for each whose request is known. So a bad
key, or an account without credit, is refused a few times and not ten thousand times. An error that
concerns all of them ends the rest; any other ends its own generation only.
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
    Failure,
    Generation,
    VideoOutcome,
    VideoOutcomes,
    count,
)
from prefect_hailuo.engine.road import bring
from prefect_hailuo.engine.session import Session
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

CONCERN_ALL = (ConcurrencyLimitError, LedgerError, StorageError)
"""Errors that every other generation would meet too: after one, none is begun. A budget's is not
among them: what is there already, or costs less, may still be had."""

REFUSALS = (BadKeyError, NoCreditError, RealmMismatchError)
"""The same, as long as they are about no request: then fal refused to take one."""

FIRST_AT_ONCE = 10
MOST_AT_ONCE = 250
"""How many generations may be between claim and ticket. Claims are committed together, so more is
faster; but what a killed process had under way has to be looked for in fal's history."""

TOLD_SECONDS = 1.0
"""How often progress is reported."""

EVER_SECONDS = 30 * 86400.0
"""How long one of many may take while others make progress: its turn may come late."""


class Batch:
    """Many orders, and what became of each.

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
        self._slow_start = SlowStart()
        self._retry = SubmissionRetry(self._clock)
        self._orders = orders
        self._generations: list[Generation] = []
        self._news: list[VideoOutcome] = []
        self._concerns_all: HailuoError | None = None
        self._cancelled: RunCancelledError | None = None
        self._give_up: Callable[[], None]

    async def run(self) -> VideoOutcomes:
        """Make all of them, each to its end.

        Raises:
            StorageError: A place is found unfit before anything was bought.
            RunCancelledError: The flow run that asks was cancelled, so nothing is bought for it.
        """
        if not self._orders:
            return VideoOutcomes()
        self._generations = await self._find_generations()
        await self._check_places()
        with seldom_collecting() if len(self._generations) > CROWD else nullcontext():
            await self._carry_all()
        if self._cancelled:
            raise self._cancelled
        self._end_the_rest()
        self._tell()
        found = [outcome for generation in self._generations for outcome in generation.outcomes]
        return VideoOutcomes(sorted(found, key=lambda each: each.index))

    async def _find_generations(self) -> list[Generation]:
        """Equal orders are one generation; one whose images cannot be had has ended already."""
        generations: dict[str, Generation] = {}
        for index, (order, flaw) in enumerate(
            await settle_all(self._orders, self._connections.pictures)
        ):
            key = order.key
            if key not in generations:
                # Nobody looks at ten thousand posters.
                patient = replace(order, timeout_seconds=EVER_SECONDS, poster=False)
                generations[key] = Generation(patient, key, [], moved=self._note_movement)
            generations[key].indices.append(index)
            if flaw is not None:
                generations[key].end(Failure.of(flaw))
        ended = [each for each in generations.values() if each.ended]
        self._news = [outcome for each in ended for outcome in each.outcomes]
        return list(generations.values())

    async def _check_places(self) -> None:
        places = {each.order.place.label: each.order.place for each in self._generations}
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
        for generation in self._generations:
            if generation.ended:
                continue
            permit = await self._slow_start.enter()
            if self._concerns_all:
                return
            generation.begun, generation.arrived = True, partial(self._note_arrival, permit)
            carrying.start_soon(self._carry, generation, permit)

    async def _carry(self, generation: Generation, permit: Permit) -> None:
        order = generation.order
        try:
            session = Session(
                order.access, order.ledger, self._connections, generation.see, watched=False
            )
            generation.end(await bring(order, session, self._retry, generation.hinder))
        except RunCancelledError as error:
            # Of the batch, not of this one alone: the caller knows what to do.
            self._cancelled = error
            self._give_up()
        except HailuoError as error:
            if await _concerns_all(error, order.place):
                self._concerns_all = self._concerns_all or error
            generation.end(Failure.of(error))
        except Exception as error:
            generation.end(Failure.of(_unexpected(error)))
        finally:
            permit.leave()
        if generation.ended:
            self._news += generation.outcomes

    async def _keep_telling(self) -> None:
        while True:
            await self._clock.sleep(TOLD_SECONDS)
            self._tell()
            if self._clock.now() - self._moved_at >= self._patience_seconds:
                self._give_up()

    def _tell(self) -> None:
        counts = count(self._generations, self._clock.now() - self._started_at)
        news, self._news = self._news, []
        reach = self._connections.reach(self._orders[0].access.hosts)
        self._emit(BatchProgress(counts, news, reach.outage))

    def _note_movement(self) -> None:
        self._moved_at = self._clock.now()

    def _note_arrival(self, permit: Permit) -> None:
        self._retry.note_reached()
        permit.arrive()

    def _end_the_rest(self) -> None:
        for generation in self._generations:
            if not generation.ended:
                generation.end(Failure.of(self._why_not(generation)))
                self._news += generation.outcomes

    def _why_not(self, generation: Generation) -> HailuoError:
        if self._concerns_all and not generation.begun:
            return _not_tried(self._concerns_all)
        if generation.hindrance:
            return generation.hindrance
        return GenerationTimeoutError(
            f"No video of the batch made any progress for {self._patience_seconds:g} seconds.",
            billed=None if generation.begun else Billed.NO,
            ticket=generation.ticket,
        )


class SlowStart:
    """Lets generations begin: a few at first, and one more for each whose request is known."""

    def __init__(self) -> None:
        self._room = anyio.Semaphore(FIRST_AT_ONCE)
        self._width = FIRST_AT_ONCE

    async def enter(self) -> Permit:
        """Wait for room."""
        await self._room.acquire()
        return Permit(self)

    def free(self, widening: bool) -> None:
        """Make room for the next one, and for one more where that went well."""
        self._room.release()
        if widening and self._width < MOST_AT_ONCE:
            self._width += 1
            self._room.release()


class Permit:
    """One generation's leave to begin, which it gives back once."""

    def __init__(self, slow_start: SlowStart) -> None:
        self._slow_start: SlowStart | None = slow_start

    def arrive(self) -> None:
        """Its request, or its video, is known."""
        self._free(widening=True)

    def leave(self) -> None:
        """It has ended, one way or another."""
        self._free(widening=False)

    def _free(self, widening: bool) -> None:
        slow_start, self._slow_start = self._slow_start, None
        if slow_start is not None:
            slow_start.free(widening)


async def _concerns_all(error: HailuoError, place: Place) -> bool:
    """Whether every other generation would meet the same error."""
    if isinstance(error, StorageError) and (error.billed is Billed.NO or error.untold):
        # Nothing was to be written yet: it may be one damaged file, or one that cannot be read.
        try:
            await place.check()
        except StorageError:
            return True
        return False
    refused = isinstance(error, REFUSALS) and error.ticket is None
    return refused or error.concerns_all or isinstance(error, CONCERN_ALL)


def _not_tried(error: HailuoError) -> HailuoError:
    """The error of a generation that was not begun, because of an error that concerns all."""
    return type(error)(
        f"Not tried, and nothing was bought for it, for another of the batch ended so: "
        f"{error.message}",
        cure=error.cure,
        billed=Billed.NO,
        retryable=error.retryable,
    )


def _unexpected(error: Exception) -> HailuoError:
    """The error for a bug, without its own message, which might hold a secret."""
    return HailuoError(
        f"It ended with an unexpected error: {type(error).__name__}.",
        cure="Run this input alone, with generate_video, to see all of it; and report it.",
        billed=Billed.UNKNOWN,
    )
