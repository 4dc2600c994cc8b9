"""Who waits for what: a request is cancelled only when nobody wants it any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, exists, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.fal.client import FRESH_SECONDS
from prefect_hailuo.fal.messages import Cancellation, Realm
from prefect_hailuo.ledger.attempts import Attempt, attempt_of
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.rows import UNBILLED
from prefect_hailuo.ledger.statements import insert_once, is_attempt
from prefect_hailuo.ledger.tables import attempt, cancelled_run, database_now, waiter
from prefect_hailuo.ledger.wishes import Run, Wish

WAITER_LEASE_SECONDS = 120.0
"""How long a waiter counts as waiting; its process renews it."""


@dataclass(frozen=True)
class Waiting:
    """A flow run that waits for a key, as far as the ledger knows.

    Args:
        key: The generation's key.
        run: The flow run.
    """

    key: str
    run: Run


async def keep_waiter(connection: AsyncConnection, wish: Wish, now: float) -> None:
    """Write down that a call waits, or that it still does."""
    row = {
        "id": wish.waiter,
        "key": wish.key,
        "realm": wish.realm,
        "flow_run_id": wish.run.flow_run_id,
        "root_flow_run_id": wish.run.root_flow_run_id,
        "started_at": now,
        "lease_until": now + WAITER_LEASE_SECONDS,
    }
    await connection.execute(insert_once(connection, waiter).values(row))


class Waiters:
    """The calls that wait for a video, and what becomes of it when none does.

    A waiter counts as wanting until the video is stored, or its flow run was cancelled: one that
    failed, crashed, or was never heard of again, wants its video.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._alive: set[str] = set()

    @contextmanager
    def alive(self, name: str) -> Iterator[None]:
        """Count a waiter as alive in this process."""
        self._alive.add(name)
        try:
            yield
        finally:
            self._alive.discard(name)

    async def renew(self) -> None:
        """Prolong the leases of this process's waiters."""
        if not self._alive:
            return
        async with self._database.writing() as connection:
            await connection.execute(
                update(waiter)
                .where(waiter.c.id.in_(list(self._alive)))
                .values(lease_until=database_now() + WAITER_LEASE_SECONDS)
            )

    async def is_unwanted(self, key: str) -> bool:
        """Whether there were waiters for a key, and all of them were cancelled."""
        async with self._database.reading() as connection:
            return bool((await connection.execute(unwanted(key))).scalar_one())

    async def withdraw(self, flow_runs: Collection[str]) -> list[Attempt]:
        """Note that flow runs were cancelled.

        Returns:
            The submitted attempts that nobody wants any more, to be cancelled at fal.
        """
        async with self._database.writing() as connection:
            for flow_run in flow_runs:
                await connection.execute(
                    insert_once(connection, cancelled_run).values(
                        flow_run_id=flow_run, cancelled_at=database_now()
                    )
                )
            changed = await connection.execute(
                update(waiter)
                .where(_of_runs(flow_runs), waiter.c.ended_at.is_(None))
                .values(cancelled_at=database_now())
                .returning(waiter.c.key)
            )
            return await _unwanted(connection, attempt.c.key.in_(set(changed.scalars())))

    async def reinstate(self, flow_runs: Collection[str]) -> None:
        """Note that flow runs which were cancelled run again after all, and want what they wanted.

        Else a call of theirs that still waits could claim, and never send.
        """
        async with self._database.writing() as connection:
            await connection.execute(
                cancelled_run.delete().where(cancelled_run.c.flow_run_id.in_(flow_runs))
            )
            its_own = (waiter.c.flow_run_id, waiter.c.root_flow_run_id)
            await connection.execute(
                update(waiter)
                .where(_of_runs(flow_runs), waiter.c.ended_at.is_(None))
                .where(~exists().where(cancelled_run.c.flow_run_id.in_(its_own)))
                .values(cancelled_at=None)
            )

    async def wanting(self, realm: Realm) -> list[Waiting]:
        """The flow runs that wait for requests that are at fal, or on their way."""
        open_keys = select(attempt.c.key).where(
            attempt.c.realm == realm,
            attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING, Fate.SUBMITTED, Fate.AMBIGUOUS]),
        )
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(waiter.c.key, waiter.c.flow_run_id, waiter.c.root_flow_run_id)
                .where(waiter.c.key.in_(open_keys), _wants())
                .distinct()
            )
            return [Waiting(key, Run(*ids)) for key, *ids in found]

    async def unwanted(self, realm: Realm) -> list[Attempt]:
        """The submitted attempts whose waiters were all cancelled, and fal was not told yet."""
        async with self._database.reading() as connection:
            # In one question, for PostgreSQL takes no more than 32,767 parameters.
            cancelled = select(waiter.c.key).where(
                waiter.c.realm == realm, waiter.c.cancelled_at.is_not(None)
            )
            return await _unwanted(connection, attempt.c.key.in_(cancelled))

    async def is_awaited(self, key: str) -> bool:
        """Whether a process that is alive waits for a key."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(waiter.c.id).where(
                    waiter.c.key == key, _wants(), waiter.c.lease_until > database_now()
                )
            )
            return found.first() is not None

    async def record_cancellation(self, one: Attempt, answer: Cancellation) -> None:
        """Write down what fal said to a cancellation.

        Only a request that was taken from the queue is known to have cost nothing: queue time is
        never charged. Of any other, its result will tell. That fal knows no such request is not
        written down of a new one, which it may not know yet: it is told again.
        """
        values: dict[str, object] = {"cancel_answer": answer.value}
        if answer is Cancellation.REMOVED:
            values |= {**UNBILLED, "fate": Fate.CANCELLED, "ended_at": database_now()}
        # Whoever waits for the request may have written down that it was cancelled, before fal's
        # answer was here; that it was taken from the queue only the answer says.
        unanswered = attempt.c.cancel_answer.is_(None) & (attempt.c.fate == Fate.CANCELLED)
        known: ColumnElement[bool] = true()
        if answer is Cancellation.UNKNOWN_REQUEST:
            known = attempt.c.submitted_at < database_now() - FRESH_SECONDS
        async with self._database.writing() as connection:
            await connection.execute(
                update(attempt)
                .where(is_attempt(one), (attempt.c.fate == Fate.SUBMITTED) | unanswered, known)
                .values(**values)
            )


def unwanted(key: str) -> Select[tuple[bool]]:
    """Whether there were waiters for a key, and all of them were cancelled."""
    of_key = waiter.c.key == key
    cancelled = exists().where(of_key, waiter.c.cancelled_at.is_not(None))
    return select(cancelled & ~exists().where(of_key, _wants()))


async def _unwanted(connection: AsyncConnection, which: ColumnElement[bool]) -> list[Attempt]:
    found = await connection.execute(
        select(attempt).where(
            which,
            attempt.c.fate == Fate.SUBMITTED,
            attempt.c.cancel_answer.is_(None),
            ~exists().where(waiter.c.key == attempt.c.key, _wants()),
        )
    )
    return [attempt_of(row) for row in found.mappings()]


def _wants() -> ColumnElement[bool]:
    return waiter.c.ended_at.is_(None) & waiter.c.cancelled_at.is_(None)


def _of_runs(flow_runs: Collection[str]) -> ColumnElement[bool]:
    return or_(waiter.c.flow_run_id.in_(flow_runs), waiter.c.root_flow_run_id.in_(flow_runs))
