"""What became of an attempt, written down as it becomes known. Nothing here buys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import Billed, HailuoError, RequestCancelledError
from prefect_hailuo.fal.messages import Completed, Output, Realm, Ticket
from prefect_hailuo.ledger.attempts import Attempt, attempt_of
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.files import put_file
from prefect_hailuo.ledger.recorded import describe, storable
from prefect_hailuo.ledger.rows import UNBILLED, add_attempt, add_like, as_accepted, from_file
from prefect_hailuo.ledger.standing import DECIDABLE
from prefect_hailuo.ledger.statements import (
    is_attempt,
    latest_attempt,
    lock_key,
    lock_or_make_key,
    void_consent,
)
from prefect_hailuo.ledger.tables import attempt, database_now, waiter
from prefect_hailuo.ledger.wishes import Wish
from prefect_hailuo.video import Video

OPEN = (Fate.SUBMITTED, Fate.SUCCEEDED, Fate.CANCELLED)
"""Fates that an outcome may still change; a cancellation whose cost is open may end in a video."""


class Records:
    """Writes outcomes.

    Every change names the state that it changes, so that whoever comes late changes nothing. Those
    that a claim may make too lock the generation's row first, as it does.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accepted(self, mine: Attempt, ticket: Ticket) -> Attempt:
        """Write down the ticket that an attempt's POST was answered with.

        An owner that was frozen and comes late records it all the same. If its attempt was given
        another request meanwhile, the ticket becomes a further attempt, shown as a duplicate.

        Returns:
            The attempt that holds the ticket.
        """
        try:
            return await self._accepted(mine, ticket)
        except IntegrityError:
            # In this very moment the request was given to an equal attempt: now that is seen.
            return await self._accepted(mine, ticket)

    async def refused(self, mine: Attempt, error: HailuoError) -> None:
        """Write down that nothing was accepted: no connection stood, or fal refused for certain.

        Its owner knows, also one that was frozen and whose attempt others call ambiguous by now.
        """
        unknown = (Fate.INTENDED, Fate.SENDING, Fate.AMBIGUOUS)
        async with self._database.writing() as connection:
            await _end(connection, mine, Fate.FAILED, error, unknown)

    async def answer_lost(self, mine: Attempt, error: HailuoError) -> None:
        """Write down that the POST went out and its answer was lost."""
        async with self._database.writing() as connection:
            await lock_key(connection, mine.key)
            await connection.execute(
                update(attempt)
                .where(is_attempt(mine), attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING]))
                .values(fate=Fate.AMBIGUOUS, error=describe(error))
            )

    async def succeeded(self, one: Attempt, output: Output, completed: Completed) -> None:
        """Write down a result: from here on the money is known to be spent."""
        values: dict[str, Any] = {
            "fate": Fate.SUCCEEDED,
            "billed": Billed.YES,
            "output": output.model_dump(mode="json"),
            "completed": completed.model_dump(mode="json", exclude={"logs"}),
            "cost_usd": attempt.c.estimated_usd,
            # What fal charged for one request only an administrator's key can ask.
            "cost_basis": "estimate",
            "error": None,
            "parked_at": None,
            "parked_because": None,
        }
        async with self._database.writing() as connection:
            await lock_key(connection, one.key)
            await connection.execute(
                update(attempt).where(is_attempt(one), attempt.c.fate.in_(OPEN)).values(values)
            )
            await void_consent(connection, one)

    async def failed(self, one: Attempt, error: HailuoError) -> None:
        """Write down a failure at fal, or a cancellation, and whether it cost money."""
        cancelled = isinstance(error, RequestCancelledError)
        # What is known of the money stays: a video, or a request that never left the queue.
        unsettled = attempt.c.billed.is_(None) | (attempt.c.billed == Billed.UNKNOWN)
        fate = Fate.CANCELLED if cancelled else Fate.FAILED
        async with self._database.writing() as connection:
            await _end(connection, one, fate, error, OPEN, unsettled)
            await _end_waiters(connection, one)  # whoever waited has an error in the video's place

    async def forgotten(self, one: Attempt) -> None:
        """Write down that an emulator knows a request no longer: it was restarted."""
        async with self._database.writing() as connection:
            await connection.execute(
                update(attempt)
                .where(is_attempt(one), attempt.c.realm == "emulator")
                .values(**UNBILLED, fate=Fate.FORGOTTEN)
            )

    async def stored(self, one: Attempt, video: Video) -> None:
        """Write down where a video is kept."""
        async with self._database.writing() as connection:
            await lock_key(connection, one.key)
            await connection.execute(
                update(attempt)
                .where(is_attempt(one), attempt.c.fate.in_(OPEN))
                .values(fate=Fate.STORED, billed=Billed.YES, ended_at=database_now())
            )
            await _end_waiters(connection, one)  # whoever waited has what it wanted
            await void_consent(connection, one)
            await put_file(connection, one, video)

    async def found(self, wish: Wish, video: Video) -> None:
        """Write down a stored video that this ledger never saw: nothing is to be bought."""
        async with self._database.writing() as connection:
            await lock_or_make_key(connection, wish.key)
            owner = await _owner_of(connection, wish.realm, video.request_id)
            if owner is None and await latest_attempt(connection, wish.key) is None:
                one = await add_attempt(connection, from_file(wish, video))
                await put_file(connection, one, video)

    async def parked(self, one: Attempt, because: str) -> bool:
        """Write down that a person has to decide.

        Returns:
            Whether the attempt still was as it was seen.
        """
        open_as_seen = attempt.c.fate.in_(DECIDABLE) & (attempt.c.fate == one.fate)
        async with self._database.writing() as connection:
            changed = await connection.execute(
                update(attempt)
                .where(is_attempt(one), open_as_seen)
                .values(parked_at=database_now(), parked_because=storable(because))
            )
            return changed.rowcount == 1

    async def abandoned(self, one: Attempt, error: HailuoError) -> bool:
        """Give an attempt up, whatever became of it; it counts as spent.

        Returns:
            Whether it still was as it was seen.
        """
        async with self._database.writing() as connection:
            return await _end(connection, one, Fate.FAILED, error, (one.fate,))

    async def adopted(self, one: Attempt, ticket: Ticket) -> Attempt | None:
        """Give an attempt a request that a person names.

        Returns:
            The attempt that holds it; None where another key's attempt does, or this one no
            longer is its key's latest.
        """
        async with self._database.writing() as connection:
            await lock_key(connection, one.key)
            owner = await _owner_of(connection, one.realm, ticket.request_id)
            if owner is not None:
                return await _revive(connection, owner, ticket) if owner.key == one.key else None
            latest = await latest_attempt(connection, one.key)
            if latest is None or latest.number != one.number:
                return None
            if one.request_id is None:
                held = attempt.c.request_id.is_(None)
                given = await _give(connection, one, ticket, held, adopted=True)
                if given is not None:
                    return given
            return await add_like(connection, one, ticket, duplicate=False, adopted=True)

    async def of_request(self, realm: Realm, request_id: str) -> Attempt | None:
        """The attempt that a request belongs to."""
        async with self._database.reading() as connection:
            return await _owner_of(connection, realm, request_id)

    async def _accepted(self, mine: Attempt, ticket: Ticket) -> Attempt:
        async with self._database.writing() as connection:
            await lock_key(connection, mine.key)
            owner = await _owner_of(connection, mine.realm, ticket.request_id)
            if owner is not None:
                return owner
            given = await _give(connection, mine, ticket, attempt.c.request_id.is_(None))
            if given is None:
                return await add_like(connection, mine, ticket, duplicate=True, adopted=False)
            await _show_if_duplicate(connection, given)
            return given


async def _end(
    connection: AsyncConnection,
    one: Attempt,
    fate: Fate,
    error: HailuoError,
    from_fates: tuple[Fate, ...],
    *held: ColumnElement[bool],
) -> bool:
    """Write down an attempt's end; whether it still was as the conditions say."""
    values: dict[str, Any] = {
        "fate": fate,
        "billed": error.billed,
        "error": describe(error),
        "ended_at": database_now(),
        "cost_usd": None,
        "cost_basis": "unknown",
        "parked_at": None,
        "parked_because": None,
    }
    if error.billed is Billed.NO:
        values |= UNBILLED
    if error.billed is Billed.YES:
        values |= {"cost_usd": attempt.c.estimated_usd, "cost_basis": "estimate"}
    await lock_key(connection, one.key)
    changed = await connection.execute(
        update(attempt).where(is_attempt(one), attempt.c.fate.in_(from_fates), *held).values(values)
    )
    return changed.rowcount == 1


async def _end_waiters(connection: AsyncConnection, one: Attempt) -> None:
    await connection.execute(
        update(waiter)
        .where(waiter.c.key == one.key, waiter.c.ended_at.is_(None))
        .values(ended_at=database_now())
    )


async def _owner_of(connection: AsyncConnection, realm: Realm, request_id: str) -> Attempt | None:
    found = await connection.execute(
        select(attempt).where(attempt.c.realm == realm, attempt.c.request_id == request_id)
    )
    row = found.mappings().first()
    return None if row is None else attempt_of(row)


async def _show_if_duplicate(connection: AsyncConnection, late: Attempt) -> None:
    """Show a late owner's request as a duplicate, if a later attempt has one that cost money."""
    later = attempt.alias()
    replaced = exists().where(
        later.c.key == late.key,
        later.c.number > late.number,
        later.c.request_id.is_not(None),
        later.c.billed.is_(None) | (later.c.billed != Billed.NO),
    )
    await connection.execute(
        update(attempt).where(is_attempt(late), replaced).values(duplicate=True)
    )


async def _revive(connection: AsyncConnection, owner: Attempt, ticket: Ticket) -> Attempt:
    """An attempt whose request a person has found to be good, though it was taken for failed."""
    if owner.fate not in (Fate.FAILED, Fate.CANCELLED):
        return owner
    changed = await connection.execute(
        update(attempt).where(is_attempt(owner)).values(as_accepted(ticket)).returning(attempt)
    )
    await void_consent(connection, owner)
    return attempt_of(changed.mappings().one())


async def _give(
    connection: AsyncConnection,
    one: Attempt,
    ticket: Ticket,
    held: ColumnElement[bool],
    adopted: bool = False,
) -> Attempt | None:
    """Give an attempt its ticket, whatever it was taken for meanwhile: there is a request now."""
    values = {**as_accepted(ticket), "adopted": adopted}
    changed = await connection.execute(
        update(attempt).where(is_attempt(one), held).values(values).returning(attempt)
    )
    row = changed.mappings().first()
    if row is None:
        return None
    await void_consent(connection, one)
    return attempt_of(row)
