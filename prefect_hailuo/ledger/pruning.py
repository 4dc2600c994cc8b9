"""Dropping what can matter no more, and redacting what was asked for.

Nothing that cost money, or may have, is dropped: budgets, the overview of what was spent, and the
promise to buy once stand on it. Nor is anything that is under way or waits for a decision.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import Billed
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.attempts import Attempt, attempt_of
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.fates import MOST_ATTEMPTS, Fate
from prefect_hailuo.ledger.standing import is_parked
from prefect_hailuo.ledger.statements import is_attempt, now_in
from prefect_hailuo.ledger.tables import attempt, cancelled_run, file, generation, waiter

DAY_SECONDS = 86_400.0

REDACTED = "(redacted)"


@dataclass(frozen=True)
class Pruned:
    """What was dropped, in rows; or would be.

    Args:
        attempts: Attempts that cost nothing.
        generations: Keys without any attempt left.
        waiters: Calls that ended.
        cancelled_runs: Cancelled flow runs.
        redacted: Attempts whose prompts were removed.
    """

    attempts: int = 0
    generations: int = 0
    waiters: int = 0
    cancelled_runs: int = 0
    redacted: int = 0


class Pruning:
    """Makes a ledger smaller, and forgetful where that is wanted.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune(
        self,
        realm: Realm,
        older_than_days: float,
        *,
        redact: bool = False,
        dry_run: bool = False,
    ) -> Pruned:
        """Drop what can matter no more, in one transaction.

        Args:
            realm: Of this realm.
            older_than_days: What ended so long ago.
            redact: Whether to remove prompts, labels and errors' words of what ended.
            dry_run: Whether to change nothing, and only say what would be.
        """
        async with self._changing(dry_run) as connection:
            before = await now_in(connection) - older_than_days * DAY_SECONDS
            redacted = await _redact(connection, realm, before) if redact else 0
            return Pruned(
                attempts=await _drop(connection, attempt, *_worthless(realm, before)),
                generations=await _drop(connection, generation, *_empty(before)),
                waiters=await _drop(connection, waiter, *_gone(realm, before)),
                cancelled_runs=await _drop(connection, cancelled_run, *_heeded(before)),
                redacted=redacted,
            )

    @asynccontextmanager
    async def _changing(self, dry_run: bool) -> AsyncIterator[AsyncConnection]:
        async with self._database.writing() as connection:
            if connection.dialect.name == "sqlite":
                # Or what is deleted stays readable in the file.
                await connection.exec_driver_sql("PRAGMA secure_delete = ON")
            savepoint = await connection.begin_nested()
            yield connection
            await (savepoint.rollback() if dry_run else savepoint.commit())


async def _drop(connection: AsyncConnection, table: Table, *which: ColumnElement[bool]) -> int:
    return (await connection.execute(delete(table).where(*which))).rowcount


def _ended_at() -> ColumnElement[float]:
    return func.coalesce(attempt.c.ended_at, attempt.c.submitted_at, attempt.c.intended_at)


def _worthless(realm: Realm, before: float) -> list[ColumnElement[bool]]:
    """Attempts that ended and cost nothing, but for those that stop a key from being tried more."""
    accepted = attempt.alias()
    tried_enough = (
        select(accepted.c.key)
        .where(accepted.c.request_id.is_not(None), accepted.c.duplicate.is_(False))
        .group_by(accepted.c.key)
        .having(func.count() >= MOST_ATTEMPTS)
    )
    return [
        attempt.c.realm == realm,
        attempt.c.billed == Billed.NO,
        attempt.c.fate.in_([Fate.FAILED, Fate.CANCELLED, Fate.FORGOTTEN]),
        or_(attempt.c.cost_usd == 0, attempt.c.cost_usd.is_(None)),
        _ended_at() < before,
        attempt.c.key.not_in(tried_enough),
    ]


def _empty(before: float) -> list[ColumnElement[bool]]:
    return [
        generation.c.created_at < before,
        ~exists().where(attempt.c.key == generation.c.key),
        ~exists().where(file.c.key == generation.c.key),
    ]


def _gone(realm: Realm, before: float) -> list[ColumnElement[bool]]:
    """Waiters that ended; whoever waits for what is open counts, however long ago it began."""
    open_keys = select(attempt.c.key).where(attempt.c.realm == realm, _is_open())
    return [
        waiter.c.realm == realm,
        waiter.c.lease_until < before,
        waiter.c.key.not_in(open_keys),
    ]


def _heeded(before: float) -> list[ColumnElement[bool]]:
    """Cancelled flow runs for which no waiter is left."""
    of_run = or_(
        waiter.c.flow_run_id == cancelled_run.c.flow_run_id,
        waiter.c.root_flow_run_id == cancelled_run.c.flow_run_id,
    )
    return [cancelled_run.c.cancelled_at < before, ~exists().where(of_run)]


def _is_open() -> ColumnElement[bool]:
    """Attempts that go on, that wait for a decision, or whose video may yet be collected."""
    on_its_way = [Fate.INTENDED, Fate.SENDING, Fate.SUBMITTED, Fate.SUCCEEDED, Fate.AMBIGUOUS]
    uncertain = or_(attempt.c.billed.is_(None), attempt.c.billed != Billed.NO)
    return or_(attempt.c.fate.in_(on_its_way), and_(attempt.c.fate == Fate.CANCELLED, uncertain))


async def _redact(connection: AsyncConnection, realm: Realm, before: float) -> int:
    """Remove what was asked for from what ended; digests, money and places stay."""
    question: Select[Any] = select(attempt).where(
        attempt.c.realm == realm, ~_is_open(), _ended_at() < before, attempt.c.body.is_not(None)
    )
    rows = (await connection.execute(question)).mappings().all()
    ended = [one for one in map(attempt_of, rows) if not is_parked(one)]
    for one in ended:
        await connection.execute(update(attempt).where(is_attempt(one)).values(_redacted(one)))
    for key in sorted({one.key for one in ended}):
        await _redact_files(connection, key)
    return len(ended)


def _redacted(one: Attempt) -> dict[str, Any]:
    values: dict[str, Any] = {"body": None, "labels": {}}
    if one.ticket is not None:
        bare = one.ticket.model_copy(update={"input": None, "labels": {}})
        values["ticket"] = bare.model_dump(mode="json")
    if one.completed is not None:
        quiet = one.completed.model_copy(update={"error": one.completed.error and REDACTED})
        values["completed"] = quiet.model_dump(mode="json")
    if one.error is not None:
        # fal's complaints quote the input.
        values["error"] = {**one.error, "message": REDACTED, "cure": "", "problems": []}
    return values


async def _redact_files(connection: AsyncConnection, key: str) -> None:
    found = await connection.execute(select(file.c.place, file.c.video).where(file.c.key == key))
    for place, video in found.all():
        await connection.execute(
            update(file)
            .where(file.c.key == key, file.c.place == place)
            .values(video={**video, "input": None, "labels": {}})
        )
