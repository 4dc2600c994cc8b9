"""Requests that an import entered: which take each was, fal does not know.

They are entered under the ordinary take. Until somebody says so, any of them may be what another
take's call bought before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import Billed
from prefect_hailuo.ledger.attempts import Attempt, attempt_of
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.statements import (
    among,
    attempts_of,
    is_attempt,
    latest_attempt,
    lock_key,
    void_consent,
)
from prefect_hailuo.ledger.tables import attempt
from prefect_hailuo.ledger.wishes import Wish

ORDINARY_TAKE = "0"

IMPORTED = and_(
    attempt.c.adopted,
    attempt.c.take == ORDINARY_TAKE,
    # All three are fal's own `sent_at`; what this ledger sent or found itself has its own times.
    attempt.c.intended_at == attempt.c.sent_at,
    attempt.c.intended_at == attempt.c.submitted_at,
)
"""The condition that a row was entered by an import."""

ASKED_FOR = (attempt.c.realm, attempt.c.account, attempt.c.endpoint, attempt.c.body_digest)
"""What tells what was asked for, but for the take."""

MOVED = (
    *("fate", "billed", "intended_at", "sent_at", "submitted_at", "ended_at", "request_id"),
    *("completed", "output", "error", "parked_at", "parked_because", "cancel_answer"),
    *("estimated_usd", "cost_usd", "cost_basis"),
)

BEST_FIRST = (Fate.STORED, Fate.SUCCEEDED, Fate.SUBMITTED)


async def imported_like(connection: AsyncConnection, wish: Wish) -> dict[str, float]:
    """The imported requests that a wish for another take may have made, with when each was sent."""
    return (await imported_like_any(connection, [wish]))[0]


async def imported_like_any(
    connection: AsyncConnection, wishes: Sequence[Wish]
) -> list[dict[str, float]]:
    """The same for each of many wishes."""
    like: defaultdict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    digests = {wish.body_digest for wish in wishes if wish.take != ORDINARY_TAKE}
    if not digests:
        return [{} for _ in wishes]
    found = await connection.execute(
        select(*ASKED_FOR, attempt.c.request_id, attempt.c.intended_at).where(
            IMPORTED,
            attempt.c.realm.in_(sorted({wish.realm for wish in wishes})),
            among(connection, attempt.c.body_digest, digests),
            attempt.c.billed.is_distinct_from(Billed.NO),
        )
    )
    for *asked_for, request_id, sent_at in found:
        like[tuple(asked_for)][request_id] = sent_at
    return [
        like[wish.realm, wish.account, wish.endpoint, wish.body_digest]
        if wish.take != ORDINARY_TAKE
        else {}
        for wish in wishes
    ]


async def move_imported(database: Database, one: Attempt, request_id: str) -> Attempt | None:
    """Give an attempt without a request one that an import entered under the ordinary take.

    Args:
        database: The ledger's.
        one: The latest attempt of another take of the same input.
        request_id: fal's id of the request.

    Returns:
        The attempt, with all that is known of the request; None where no such row holds it, its
        video is stored already, or the attempt is not as it was seen.
    """
    async with database.writing() as connection:
        row = await _held(connection, one, request_id)
        if row is None:
            return None
        for key in sorted({row["key"], one.key}):
            await lock_key(connection, key)
        row = await _held(connection, one, request_id)
        latest = await latest_attempt(connection, one.key)
        if row is None or latest != one or one.request_id is not None:
            return None
        return await _move(connection, row, one)


async def _held(connection: AsyncConnection, one: Attempt, request_id: str) -> RowMapping | None:
    found = await connection.execute(
        select(attempt).where(
            IMPORTED,
            attempt.c.request_id == request_id,
            attempt.c.realm == one.realm,
            attempt.c.account == one.account,
            attempt.c.endpoint == one.endpoint,
            attempt.c.body_digest == one.body_digest,
            attempt.c.key != one.key,
            attempt.c.fate != Fate.STORED,
        )
    )
    return found.mappings().first()


async def _move(connection: AsyncConnection, row: RowMapping, one: Attempt) -> Attempt:
    await connection.execute(delete(attempt).where(is_attempt(attempt_of(row))))
    await _promote(connection, row["key"])
    ticket = {**row["ticket"], "take": one.take, "labels": one.labels}
    values: dict[str, Any] = {name: row[name] for name in MOVED}
    moved = await connection.execute(
        update(attempt)
        .where(is_attempt(one))
        .values({**values, "ticket": ticket, "adopted": True})
        .returning(attempt)
    )
    await void_consent(connection, one)
    return attempt_of(moved.mappings().one())


async def _promote(connection: AsyncConnection, key: str) -> None:
    """Let the best duplicate be a key's attempt, if that was taken from it."""
    left = await attempts_of(connection, key)
    if left and all(each.duplicate for each in left):
        best = min(left, key=_worth)
        await connection.execute(update(attempt).where(is_attempt(best)).values(duplicate=False))


def _worth(one: Attempt) -> int:
    return BEST_FIRST.index(one.fate) if one.fate in BEST_FIRST else len(BEST_FIRST)
