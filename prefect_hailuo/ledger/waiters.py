"""The calls that wait for a key. A request is cancelled only when none of them wants it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    true,
    update,
)

from prefect_hailuo.fal.client import FRESH_SECONDS
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.ledger.attempt import Attempt, Fate, Purchase, Run, attempt_of
from prefect_hailuo.ledger.database import Answers, Database, Part, reads, reads_together, writes
from prefect_hailuo.ledger.tables import (
    UNBILLED,
    Texts,
    among,
    attempt,
    cancelled_run,
    database_now,
    insert_once,
    is_attempt,
    prepared,
    texts_for,
    waiter,
)
from prefect_hailuo.ticket import Realm

WAITER_LEASE_SECONDS = 120.0
"""How long a waiting call counts as alive; its process extends it."""

RENEWED_AT_ONCE = 1_000
"""How many leases are extended in one transaction, so that others can use the ledger, too."""


UNDER_WAY = (Fate.INTENDED, Fate.SENDING, Fate.SUBMITTED)
"""Fates of what a call may wait for, and a cancellation may end."""


@dataclass(frozen=True)
class Waiting:
    """A flow run that waits for a key, as far as the ledger knows.

    Args:
        key: The generation's key.
        run: The flow run.
    """

    key: str
    run: Run


_KEPT = (
    *(waiter.c.id, waiter.c.key, waiter.c.realm, waiter.c.flow_run_id),
    *(waiter.c.root_flow_run_id, waiter.c.started_at, waiter.c.lease_until),
)


def keep_waiters(connection: Connection, purchases: Sequence[Purchase], now: float) -> None:
    """Record the calls that wait; one that was recorded before waits again.

    Its row may say that it has ended, because another run stored or failed the key meanwhile, or
    that it was cancelled, with a run that runs again since: then nobody would want the purchase
    that it is about to make. A run that still is cancelled stays so.
    """
    rows = [
        {
            "id": purchase.waiter,
            "key": purchase.key,
            "realm": purchase.realm,
            "flow_run_id": purchase.run.flow_run_id,
            "root_flow_run_id": purchase.run.root_flow_run_id,
            "started_at": now,
            "lease_until": now + WAITER_LEASE_SECONDS,
        }
        for purchase in sorted(purchases, key=lambda each: each.waiter)  # they are locked so
    ]
    if rows:
        connection.execute(_keeping(texts_for(connection)), rows)


@cache
def _keeping(texts: Texts) -> Any:
    given = {each.name: bindparam(each.name, type_=each.type) for each in _KEPT}
    its_runs = (given["flow_run_id"], given["root_flow_run_id"])
    # Its run may have been cancelled since the claim looked.
    is_cancelled = exists().where(cancelled_run.c.flow_run_id.in_(its_runs))
    put = texts.insert(waiter).values(
        {**given, "cancelled_at": case((is_cancelled, database_now()))}
    )
    since = func.coalesce(waiter.c.cancelled_at, put.excluded.cancelled_at)
    return put.on_conflict_do_update(
        index_elements=[waiter.c.id],
        set_={
            "key": put.excluded.key,
            "lease_until": put.excluded.lease_until,
            "ended_at": None,
            "cancelled_at": case((put.excluded.cancelled_at.is_not(None), since)),
        },
    )


def end_waiters(connection: Connection, keys: Collection[str]) -> None:
    """Record that the calls that waited for some keys have a video or an error.

    Where another attempt of a key is under way, they wait for that: they may have heard of this
    one's end before, and claimed again.
    """
    if texts_for(connection).postgresql:  # in their order, before they are changed
        _locking(connection, keys)
    _ending(connection, keys)


@prepared
def _locking(keys: Texts) -> Any:
    return _to_lock(keys, _waiting_for(keys))


@prepared
def _ending(keys: Texts) -> Any:
    return update(waiter).where(_waiting_for(keys)).values(ended_at=database_now())


def _waiting_for(keys: Texts) -> ColumnElement[bool]:
    under_way = exists().where(attempt.c.key == waiter.c.key, attempt.c.fate.in_(UNDER_WAY))
    return keys.have(waiter.c.key) & waiter.c.ended_at.is_(None) & ~under_way


def cancelled_among(connection: Connection, runs: Iterable[Run]) -> set[str]:
    """The flow runs that are known to be cancelled."""
    ids = {each for run in runs for each in run.ids}
    if not ids:
        return set()
    return set((_cancelled(connection, ids)).scalars())


@prepared
def _cancelled(flow_runs: Texts) -> Any:
    named = cancelled_run.c.flow_run_id
    return select(named).where(flow_runs.have(named))


def unwanted_among(connection: Connection, keys: Collection[str]) -> set[str]:
    """The keys among some that calls waited for, and all of these calls were cancelled."""
    return set((_given_up(connection, keys)).scalars())


@prepared
def _given_up(keys: Texts) -> Any:
    wanting = func.count(case((_wants(), 1)))
    return (
        select(waiter.c.key)
        .where(keys.have(waiter.c.key))
        .group_by(waiter.c.key)
        .having(func.count(waiter.c.cancelled_at) > 0, wanting == 0)
    )


class Waiters(Part):
    """The calls that wait for a video, and the requests that none of them wants any more.

    A waiter wants its video until that is stored, or until its flow run is cancelled. One that
    failed, crashed or vanished still wants it.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
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
        """Extend the leases of this process's waiters."""
        alive = sorted(self._alive)
        for start in range(0, len(alive), RENEWED_AT_ONCE):
            await self._renew(alive[start : start + RENEWED_AT_ONCE])

    @writes
    def _renew(self, connection: Connection, names: Sequence[str]) -> None:
        those = among(connection, waiter.c.id, names)
        _lock(connection, those)
        connection.execute(
            update(waiter).where(those).values(lease_until=database_now() + WAITER_LEASE_SECONDS)
        )

    @reads_together
    def is_unwanted(self, connection: Connection, keys: Sequence[str]) -> Answers[bool]:
        """Whether calls waited for a key, and all of them were cancelled."""
        unwanted = unwanted_among(connection, keys)
        return Answers(key in unwanted for key in keys)

    @writes
    def withdraw(self, connection: Connection, flow_runs: Collection[str]) -> list[Attempt]:
        """Note that flow runs were cancelled.

        Returns:
            The submitted attempts that nobody wants any more, to be cancelled at fal.
        """
        for flow_run in flow_runs:
            connection.execute(
                insert_once(connection, cancelled_run).values(
                    flow_run_id=flow_run, cancelled_at=database_now()
                )
            )
        those = _of_runs(flow_runs) & waiter.c.ended_at.is_(None)
        _lock(connection, those)
        changed = connection.execute(
            update(waiter).where(those).values(cancelled_at=database_now()).returning(waiter.c.key)
        )
        keys = set(changed.scalars())
        return _unwanted(connection, among(connection, attempt.c.key, keys))

    @writes
    def reinstate(self, connection: Connection, flow_runs: Collection[str]) -> None:
        """Record that cancelled flow runs run again, and want what they wanted.

        Otherwise a call of theirs that still waits could claim, and never send.
        """
        connection.execute(cancelled_run.delete().where(cancelled_run.c.flow_run_id.in_(flow_runs)))
        those = _of_runs(flow_runs) & waiter.c.ended_at.is_(None)
        _lock(connection, those)
        its_own = (waiter.c.flow_run_id, waiter.c.root_flow_run_id)
        connection.execute(
            update(waiter)
            .where(those)
            .where(~exists().where(cancelled_run.c.flow_run_id.in_(its_own)))
            .values(cancelled_at=None)
        )

    @reads
    def wanting(self, connection: Connection, realm: Realm) -> list[Waiting]:
        """The flow runs that wait for requests that are at fal, or on their way."""
        open_keys = select(attempt.c.key).where(
            attempt.c.realm == realm,
            attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING, Fate.SUBMITTED, Fate.AMBIGUOUS]),
        )
        found = connection.execute(
            select(waiter.c.key, waiter.c.flow_run_id, waiter.c.root_flow_run_id)
            .where(waiter.c.key.in_(open_keys), _wants())
            .distinct()
        )
        return [Waiting(key, Run(*ids)) for key, *ids in found]

    @reads
    def unwanted(self, connection: Connection, realm: Realm) -> list[Attempt]:
        """The submitted attempts that nobody wants any more, and fal was not asked to cancel."""
        # As a subquery: PostgreSQL takes no more than 32,767 parameters.
        cancelled = select(waiter.c.key).where(
            waiter.c.realm == realm, waiter.c.cancelled_at.is_not(None)
        )
        return _unwanted(connection, attempt.c.key.in_(cancelled))

    @reads
    def is_awaited(self, connection: Connection, key: str) -> bool:
        """Whether a process that is alive waits for a key."""
        found = connection.execute(
            select(waiter.c.id).where(
                waiter.c.key == key, _wants(), waiter.c.lease_until > database_now()
            )
        )
        return found.first() is not None

    @writes
    def record_cancellation(
        self, connection: Connection, one: Attempt, answer: Cancellation
    ) -> None:
        """Write down what fal said to a cancellation.

        Only a request that was removed from the queue is known to have cost nothing, because queue
        time is never charged. For any other, its result will show. An answer that fal does not know
        the request is not recorded while the request is new: fal may not know it yet, and is asked
        to cancel it again.
        """
        values: dict[str, object] = {"cancel_answer": answer.value}
        if answer is Cancellation.REMOVED:
            values |= {**UNBILLED, "fate": Fate.CANCELLED, "ended_at": database_now()}
        # A waiting call may have recorded the cancellation before fal's answer was here; only the
        # answer says that the request was removed from the queue.
        unanswered = attempt.c.cancel_answer.is_(None) & (attempt.c.fate == Fate.CANCELLED)
        known: ColumnElement[bool] = true()
        if answer is Cancellation.UNKNOWN_REQUEST:
            known = attempt.c.submitted_at < database_now() - FRESH_SECONDS
        connection.execute(
            update(attempt)
            .where(is_attempt(one), (attempt.c.fate == Fate.SUBMITTED) | unanswered, known)
            .values(**values)
        )


def _lock(connection: Connection, those: ColumnElement[bool]) -> None:
    """Lock waiters in their order before they are changed: see the head of `tables`."""
    texts = texts_for(connection)
    if texts.postgresql:
        connection.execute(_to_lock(texts, those))


def _to_lock(texts: Texts, those: ColumnElement[bool]) -> Any:
    return select(waiter.c.id).where(those).order_by(texts.sorting(waiter.c.id)).with_for_update()


def _unwanted(connection: Connection, which: ColumnElement[bool]) -> list[Attempt]:
    found = connection.execute(
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
