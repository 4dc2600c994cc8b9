"""Pruning: the deletion of rows that no longer matter.

A row that cost money, or may have, is never deleted: budgets, the overview of spending and the
promise to buy once depend on it. Nor is one that is under way or waits for a decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from prefect_hailuo.errors import Billed
from prefect_hailuo.ledger.attempt import MOST_ATTEMPTS, Attempt, Fate, attempt_of, is_parked
from prefect_hailuo.ledger.database import Part, writes
from prefect_hailuo.ledger.tables import (
    attempt,
    cancelled_run,
    file,
    generation,
    is_attempt,
    now_in,
    waiter,
)
from prefect_hailuo.ticket import Realm

DAY_SECONDS = 86_400.0

REDACTED = "(redacted)"


@dataclass(frozen=True)
class Pruned:
    """How many rows were deleted, or would be.

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


class Pruning(Part):
    """Makes a ledger smaller, and removes prompts where that is wanted."""

    @writes
    def prune(
        self,
        connection: Connection,
        realm: Realm,
        older_than_days: float,
        *,
        redact: bool = False,
        dry_run: bool = False,
    ) -> Pruned:
        """Delete what can no longer matter, in one transaction.

        Args:
            realm: Of this realm.
            older_than_days: What ended so long ago.
            redact: Whether to remove prompts, labels and errors' words of what ended.
            dry_run: Whether to change nothing, and only say what would be.
        """
        if connection.dialect.name == "sqlite":
            # Or what is deleted stays readable in the file.
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        with connection.begin_nested() as savepoint:
            before = now_in(connection) - older_than_days * DAY_SECONDS
            redacted = _redact(connection, realm, before) if redact else 0
            pruned = Pruned(
                attempts=_drop(connection, attempt, *_worthless(realm, before)),
                generations=_drop(connection, generation, *_empty(before)),
                waiters=_drop(connection, waiter, *_gone(realm, before)),
                cancelled_runs=_drop(connection, cancelled_run, *_heeded(before)),
                redacted=redacted,
            )
            if dry_run:
                savepoint.rollback()
        return pruned


def _drop(connection: Connection, table: Table, *which: ColumnElement[bool]) -> int:
    return (connection.execute(delete(table).where(*which))).rowcount


def _ended_at() -> ColumnElement[float]:
    return func.coalesce(attempt.c.ended_at, attempt.c.submitted_at, attempt.c.intended_at)


def _worthless(realm: Realm, before: float) -> list[ColumnElement[bool]]:
    """Attempts that ended and cost nothing, except those that stop a key from being tried again."""
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
    """Waiters that ended, except those of open attempts, however old they are."""
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


def _redact(connection: Connection, realm: Realm, before: float) -> int:
    """Remove prompts and labels of attempts that ended; digests, money and places stay."""
    question: Select[Any] = select(attempt).where(
        attempt.c.realm == realm, ~_is_open(), _ended_at() < before, attempt.c.body.is_not(None)
    )
    rows = (connection.execute(question)).mappings().all()
    ended = [one for one in map(attempt_of, rows) if not is_parked(one)]
    for one in ended:
        connection.execute(update(attempt).where(is_attempt(one)).values(_redacted(one)))
    for key in sorted({one.key for one in ended}):
        _redact_files(connection, key)
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


def _redact_files(connection: Connection, key: str) -> None:
    found = connection.execute(select(file.c.place, file.c.video).where(file.c.key == key))
    for place, video in found.all():
        connection.execute(
            update(file)
            .where(file.c.key == key, file.c.place == place)
            .values(video={**video, "input": None, "labels": {}})
        )
