"""The few statements that more than one part of the ledger makes.

Whoever locks several keys does so in one statement, in the keys' order, so that no two transactions
lock each other out: all keys first, then attempts and waiters, then the scopes of budgets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    CursorResult,
    Table,
    bindparam,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.attempts import Attempt, attempt_of, latest_of
from prefect_hailuo.ledger.prepared import Texts, prepared, texts_for
from prefect_hailuo.ledger.tables import attempt, database_now, generation

IS_THIS = (attempt.c.key == bindparam("this_key")) & (attempt.c.number == bindparam("this_number"))
"""The condition that a row is the attempt which `this` names: for many at once."""


class Locked(NamedTuple):
    """What a generation's row says, once it is locked.

    Args:
        attempts: How many attempts there were.
        consented: How many there were when a consent was given, or 0.
    """

    attempts: int
    consented: int


def this(one: Attempt) -> dict[str, Any]:
    """An attempt as the parameters of `IS_THIS`."""
    return {"this_key": one.key, "this_number": one.number}


_NOW = select(database_now())


async def now_in(connection: AsyncConnection) -> float:
    """The database's time; to be asked after the locks, for waiting for them took some."""
    return float((await connection.execute(_NOW)).scalar_one())


async def lock_key(connection: AsyncConnection, key: str) -> int:
    """Lock a generation's row; how many attempts there were when a consent was given, or 0."""
    locked = await lock_keys(connection, [key])
    return locked[key].consented if key in locked else 0


async def lock_keys(connection: AsyncConnection, keys: Iterable[str]) -> dict[str, Locked]:
    """Lock the rows of some generations, those that there are."""
    found = await _locking(connection, keys)
    return {key: Locked(attempts, consented) for key, attempts, consented in found}


@prepared
def _locking(keys: Texts) -> Any:
    return (
        select(generation.c.key, generation.c.attempts, generation.c.consented)
        .where(keys.have(generation.c.key))
        .order_by(keys.sorting(generation.c.key))
        .with_for_update()
    )


async def lock_or_make_key(connection: AsyncConnection, key: str) -> None:
    """Lock a generation's row, made if need be."""
    await make_keys(connection, [key])
    await lock_key(connection, key)


async def make_keys(connection: AsyncConnection, keys: Iterable[str]) -> set[str]:
    """Make the rows of generations that are not there yet, in their order; those that were made."""
    return set((await _making(connection, sorted(set(keys)))).scalars())


@prepared
def _making(keys: Texts) -> Any:
    new = keys.table().c.value
    rows = select(new, literal(0), literal(0), database_now()).where(new.is_not(None))
    names = ["key", "attempts", "consented", "created_at"]
    made = keys.insert(generation).on_conflict_do_nothing().from_select(names, rows)
    return made.returning(generation.c.key)


async def attempts_of(connection: AsyncConnection, key: str) -> list[Attempt]:
    """The attempts of a key in their order."""
    return (await attempts_of_keys(connection, [key]))[key]


async def attempts_of_keys(
    connection: AsyncConnection, keys: Iterable[str]
) -> defaultdict[str, list[Attempt]]:
    """The attempts of each of some keys in their order."""
    found = await _attempts(connection, keys)
    attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
    for one in all_attempts(found):
        attempts[one.key].append(one)
    return attempts


@prepared
def _attempts(keys: Texts) -> Any:
    return select(attempt).where(keys.have(attempt.c.key)).order_by(attempt.c.number)


def all_attempts(found: CursorResult[Any]) -> list[Attempt]:
    """The attempts that a result holds the rows of."""
    names = tuple(found.keys())
    return [attempt_of(dict(zip(names, row, strict=True))) for row in found]


async def latest_attempt(connection: AsyncConnection, key: str) -> Attempt | None:
    """The attempt of a key that counts: see `latest_of`."""
    return latest_of(await attempts_of(connection, key))


async def owned_requests(
    connection: AsyncConnection, realm: Realm, request_ids: Collection[str]
) -> set[str]:
    """Those of some requests that attempts have: one request is never given to two."""
    found = await connection.execute(
        select(attempt.c.request_id).where(
            attempt.c.realm == realm, among(connection, attempt.c.request_id, request_ids)
        )
    )
    return set(found.scalars())


async def void_consent(connection: AsyncConnection, found: Attempt) -> None:
    """A request has turned up: a consent to replace it was given for its not being there."""
    await connection.execute(
        update(generation)
        # That of the attempt which replaces it may still fail at no cost.
        .where(generation.c.key == found.key, generation.c.consented >= found.number)
        .values(consented=0)
    )


async def void_consents(
    connection: AsyncConnection, found: Iterable[Attempt], locked: dict[str, Locked]
) -> None:
    """The same for many, whose keys are locked: hardly ever is there any."""
    for one in found:
        if one.key in locked and locked[one.key].consented >= one.number:
            await void_consent(connection, one)


def is_attempt(one: Attempt) -> ColumnElement[bool]:
    """The condition that a row is this attempt's."""
    return (attempt.c.key == one.key) & (attempt.c.number == one.number)


def insert_once(connection: AsyncConnection, table: Table) -> Any:
    """An INSERT that lets a row be which is there already."""
    return texts_for(connection).insert(table).on_conflict_do_nothing()


def among(
    connection: AsyncConnection, column: Column[Any], values: Iterable[str]
) -> ColumnElement[bool]:
    """The condition that a column holds one of some texts, for a statement that is seldom made."""
    texts = texts_for(connection)
    return texts.have(column).unique_params({texts.name: texts.given(values)})


def is_one_of(column: Column[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """The condition that a column holds one of a few values, also where many rows are changed.

    SQLAlchemy's own `in_` cannot be executed with many parameters.
    """
    return or_(*(column == value for value in values))
