"""Rows of attempts that are made of what is known otherwise than from a POST."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import Billed, UnreachableError
from prefect_hailuo.fal.messages import File, Output, Ticket
from prefect_hailuo.ledger.attempts import Attempt, attempt_of
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.recorded import describe
from prefect_hailuo.ledger.tables import MICRODOLLARS, attempt, database_now, generation
from prefect_hailuo.ledger.wishes import Wish
from prefect_hailuo.video import Video, ticket_of

NEVER_SENT = UnreachableError(
    "Its process ended before anything was sent.", cure="Run it again.", billed=Billed.NO
)

UNBILLED = {"billed": Billed.NO, "cost_usd": 0, "cost_basis": "unbilled"}
"""What a row says of an attempt that cost nothing: its money is released."""


NEWLY_SUBMITTED: dict[str, Any] = {
    "fate": Fate.SUBMITTED,
    "billed": None,
    "ended_at": None,
    "error": None,
    "parked_at": None,
    "parked_because": None,
    "cost_usd": None,
    "cost_basis": None,
}
"""What a row says of an attempt which has just been given a request, whatever it said before."""


def as_accepted(ticket: Ticket) -> dict[str, Any]:
    """What a row says of an attempt whose request is known."""
    return {
        **NEWLY_SUBMITTED,
        "request_id": ticket.request_id,
        "ticket": ticket.model_dump(mode="json"),
        "submitted_at": database_now(),
    }


def as_void() -> dict[str, Any]:
    """What a row says of an intent whose owner never began to send, and after this cannot."""
    return {
        **UNBILLED,
        "fate": Fate.FAILED,
        "error": describe(NEVER_SENT),
        "ended_at": database_now(),
    }


async def add_like(
    connection: AsyncConnection, like: Attempt, ticket: Ticket, *, duplicate: bool, adopted: bool
) -> Attempt:
    """A further attempt of the same key, for a request that is known already."""
    row = {
        **_copied(like),
        **as_accepted(ticket),
        "lease_until": 0.0,
        "duplicate": duplicate,
        "adopted": adopted,
    }
    return await add_attempt(connection, row)


async def add_attempt(connection: AsyncConnection, row: dict[str, Any]) -> Attempt:
    """A further attempt of a key, whose generation's row is locked."""
    changed = await connection.execute(
        update(generation)
        .where(generation.c.key == row["key"])
        .values(attempts=generation.c.attempts + 1)
        .returning(generation.c.attempts)
    )
    numbered = {**row, "number": changed.scalar_one()}
    added = await connection.execute(insert(attempt).values(numbered).returning(attempt))
    return attempt_of(added.mappings().one())


def attempt_as_written(row: Mapping[str, Any]) -> Attempt:
    """The attempt of a row that is about to be written, as it will be read."""
    usd = row["estimated_usd"]
    # In whole millionths of a dollar, as the table keeps it.
    read = usd and Decimal(int((usd * MICRODOLLARS).to_integral_value())) / MICRODOLLARS
    return attempt_of({**dict.fromkeys(attempt.c.keys()), **row, "estimated_usd": read})


def _copied(like: Attempt) -> dict[str, Any]:
    names = (
        *("key", "realm", "endpoint", "account", "credentials", "place", "scope", "take"),
        *("body", "body_digest", "labels", "intended_at", "estimated_usd"),
    )
    return {name: getattr(like, name) for name in names}


def from_file(wish: Wish, video: Video) -> dict[str, Any]:
    """The attempt that a stored video's own record tells of."""
    bought_at = (video.submitted_at or video.stored_at).timestamp()
    return {
        **wish.asked(),
        "account": video.account or wish.account,
        "labels": video.labels,
        "fate": Fate.STORED,
        "billed": Billed.YES,
        "intended_at": bought_at,
        "submitted_at": bought_at,
        "ended_at": video.stored_at.timestamp(),
        "lease_until": 0.0,
        "request_id": video.request_id,
        "ticket": ticket_of(video).model_dump(mode="json"),
        "output": Output(video=File(url=video.url)).model_dump(mode="json"),
        "estimated_usd": video.price_usd,
        "cost_usd": video.price_usd,
        "cost_basis": "estimate",
        "duplicate": False,
        "adopted": True,
    }
