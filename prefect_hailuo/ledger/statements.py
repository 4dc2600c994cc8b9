"""The few statements that more than one part of the ledger makes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.attempts import Attempt, attempt_of, latest_of
from prefect_hailuo.ledger.tables import attempt, database_now, generation


async def now_in(connection: AsyncConnection) -> float:
    """The database's time; to be asked after the locks, for waiting for them took some."""
    return float((await connection.execute(select(database_now()))).scalar_one())


async def lock_key(connection: AsyncConnection, key: str) -> int:
    """Lock a generation's row; how many attempts there were when a consent was given, or 0."""
    found = await connection.execute(
        select(generation.c.consented).where(generation.c.key == key).with_for_update()
    )
    return found.scalar() or 0


async def lock_or_make_key(connection: AsyncConnection, key: str) -> int:
    """Lock a generation's row, made if need be; as `lock_key`."""
    row = {"key": key, "attempts": 0, "consented": 0, "created_at": database_now()}
    await connection.execute(insert_once(connection, generation).values(row))
    return await lock_key(connection, key)


async def attempts_of(connection: AsyncConnection, key: str) -> list[Attempt]:
    """The attempts of a key in their order."""
    found = await connection.execute(
        select(attempt).where(attempt.c.key == key).order_by(attempt.c.number)
    )
    return [attempt_of(row) for row in found.mappings()]


async def latest_attempt(connection: AsyncConnection, key: str) -> Attempt | None:
    """The attempt of a key that counts: see `latest_of`."""
    return latest_of(await attempts_of(connection, key))


async def owned_requests(
    connection: AsyncConnection, realm: Realm, request_ids: Collection[str]
) -> set[str]:
    """Those of some requests that attempts have: one request is never given to two."""
    found = await connection.execute(
        select(attempt.c.request_id).where(
            attempt.c.realm == realm, attempt.c.request_id.in_(request_ids)
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


def is_attempt(one: Attempt) -> ColumnElement[bool]:
    """The condition that a row is this attempt's."""
    return (attempt.c.key == one.key) & (attempt.c.number == one.number)


def insert_once(connection: AsyncConnection, table: Table) -> Any:
    """An INSERT that lets a row be which is there already."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing()
