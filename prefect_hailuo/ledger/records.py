"""What became of an attempt, written down as it becomes known. Nothing here buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.exc import IntegrityError

from prefect_hailuo.errors import Billed, HailuoError
from prefect_hailuo.fal.messages import Completed, Output, Realm, Ticket
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.endings import Ended, end_all
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.files import Kept, put_files
from prefect_hailuo.ledger.grouping import Group
from prefect_hailuo.ledger.recorded import describe, storable
from prefect_hailuo.ledger.rows import UNBILLED, add_attempt, from_file
from prefect_hailuo.ledger.standing import DECIDABLE
from prefect_hailuo.ledger.statements import (
    IS_THIS,
    is_attempt,
    is_one_of,
    latest_attempt,
    lock_keys,
    lock_or_make_key,
    owned_requests,
    this,
    void_consents,
)
from prefect_hailuo.ledger.tables import attempt, database_now
from prefect_hailuo.ledger.tickets import Accepted, Request, accept_all, adopt, owners_of
from prefect_hailuo.ledger.waiters import end_waiters
from prefect_hailuo.ledger.wishes import Wish
from prefect_hailuo.video import Video

UNKNOWN = (Fate.INTENDED, Fate.SENDING, Fate.AMBIGUOUS)
"""Fates in which it is open, for all but the owner, whether there is a request."""

OPEN = (Fate.SUBMITTED, Fate.SUCCEEDED, Fate.CANCELLED)
"""Fates that an outcome may still change; a cancellation whose cost is open may end in a video."""


class Records:
    """Writes outcomes.

    Every change names the state that it changes, so that whoever comes late changes nothing. Those
    that a claim may make too lock the generation's row first, as it does. What comes at once is
    written down in one transaction.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._accepting: Group[Accepted, Attempt] = Group(self._accept_all)
        self._refusing: Group[Ended, None] = Group(self._refuse_all)
        self._losing: Group[Ended, None] = Group(self._lose_all)
        self._succeeding: Group[_Result, None] = Group(self._succeed_all)
        self._failing: Group[Ended, None] = Group(self._fail_all)
        self._storing: Group[Kept, None] = Group(self._store_all)
        self._reading: Group[Request, Attempt | None] = Group(self._of_all)

    async def accepted(self, mine: Attempt, ticket: Ticket) -> Attempt:
        """Write down the ticket that an attempt's POST was answered with.

        An owner that was frozen and comes late records it all the same. If its attempt was given
        another request meanwhile, the ticket becomes a further attempt, shown as a duplicate.

        Returns:
            The attempt that holds the ticket.
        """
        return await self._accepting(Accepted(mine, ticket))

    async def _accept_all(self, those: Sequence[Accepted]) -> list[Attempt]:
        async with self._database.writing() as connection:
            return await accept_all(connection, those)

    async def refused(self, mine: Attempt, error: HailuoError) -> None:
        """Write down that nothing was accepted: no connection stood, or fal refused for certain.

        Its owner knows, also one that was frozen and whose attempt others call ambiguous by now.
        """
        await self._refusing(Ended(mine, error))

    async def _refuse_all(self, those: Sequence[Ended]) -> list[None]:
        async with self._database.writing() as connection:
            await end_all(connection, those, UNKNOWN)
        return [None] * len(those)

    async def answer_lost(self, mine: Attempt, error: HailuoError) -> None:
        """Write down that the POST went out and its answer was lost."""
        await self._losing(Ended(mine, error))

    async def _lose_all(self, those: Sequence[Ended]) -> list[None]:
        async with self._database.writing() as connection:
            await lock_keys(connection, {each.one.key for each in those})
            rows = [{**this(each.one), "why": describe(each.error)} for each in those]
            await connection.execute(_LOSING, rows)
        return [None] * len(those)

    async def succeeded(self, one: Attempt, output: Output, completed: Completed) -> None:
        """Write down a result: from here on the money is known to be spent."""
        await self._succeeding(_Result(one, output, completed))

    async def _succeed_all(self, those: Sequence[_Result]) -> list[None]:
        async with self._database.writing() as connection:
            locked = await lock_keys(connection, {each.one.key for each in those})
            await connection.execute(_SUCCEEDING, [each.row() for each in those])
            await void_consents(connection, (each.one for each in those), locked)
        return [None] * len(those)

    async def failed(self, one: Attempt, error: HailuoError) -> None:
        """Write down a failure at fal, or a cancellation, and whether it cost money."""
        await self._failing(Ended(one, error))

    async def _fail_all(self, those: Sequence[Ended]) -> list[None]:
        async with self._database.writing() as connection:
            # What is known of the money stays: a video, or a request that never left the queue.
            unsettled = attempt.c.billed.is_(None) | (attempt.c.billed == Billed.UNKNOWN)
            await end_all(connection, those, OPEN, unsettled)
            # Whoever waited has an error in the video's place.
            await end_waiters(connection, {each.one.key for each in those})
        return [None] * len(those)

    async def stored(self, one: Attempt, video: Video) -> None:
        """Write down where a video is kept."""
        await self._storing(Kept(one, video))

    async def _store_all(self, those: Sequence[Kept]) -> list[None]:
        async with self._database.writing() as connection:
            keys = {each.one.key for each in those}
            locked = await lock_keys(connection, keys)
            await connection.execute(_STORING, [this(each.one) for each in those])
            await end_waiters(connection, keys)  # whoever waited has what it wanted
            await void_consents(connection, (each.one for each in those), locked)
            await put_files(connection, those)
        return [None] * len(those)

    async def forgotten(self, one: Attempt) -> None:
        """Write down that an emulator knows a request no longer: it was restarted."""
        async with self._database.writing() as connection:
            await connection.execute(
                update(attempt)
                .where(is_attempt(one), attempt.c.realm == "emulator")
                .values(**UNBILLED, fate=Fate.FORGOTTEN)
            )

    async def found(self, wish: Wish, video: Video) -> None:
        """Write down a stored video that this ledger never saw: nothing is to be bought."""
        async with self._database.writing() as connection:
            await lock_or_make_key(connection, wish.key)
            owned = await owned_requests(connection, wish.realm, [video.request_id])
            if not owned and await latest_attempt(connection, wish.key) is None:
                one = await add_attempt(connection, from_file(wish, video))
                await put_files(connection, [Kept(one, video)])

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
            return await end_all(connection, [Ended(one, error)], (one.fate,))

    async def adopted(self, one: Attempt, ticket: Ticket) -> Attempt | None:
        """Give an attempt a request that a person names.

        Returns:
            The attempt that holds it; None where another key's attempt does, or this one no
            longer is its key's latest.
        """
        try:
            return await self._adopt(one, ticket)
        except IntegrityError:
            # In this very moment the request was given to an equal attempt: now that is seen.
            return await self._adopt(one, ticket)

    async def _adopt(self, one: Attempt, ticket: Ticket) -> Attempt | None:
        async with self._database.writing() as connection:
            return await adopt(connection, one, ticket)

    async def of_request(self, realm: Realm, request_id: str) -> Attempt | None:
        """The attempt that a request belongs to."""
        return await self._reading((realm, request_id))

    async def _of_all(self, requests: Sequence[Request]) -> list[Attempt | None]:
        async with self._database.reading() as connection:
            owners = await owners_of(connection, requests)
        return [owners.get(request) for request in requests]


@dataclass(frozen=True)
class _Result:
    one: Attempt
    output: Output
    completed: Completed

    def row(self) -> dict[str, Any]:
        return {
            **this(self.one),
            "new_output": self.output.model_dump(mode="json"),
            "new_completed": self.completed.model_dump(mode="json", exclude={"logs"}),
        }


_SUCCEEDING = (
    update(attempt)
    .where(IS_THIS, is_one_of(attempt.c.fate, OPEN))
    .values(
        fate=Fate.SUCCEEDED,
        billed=Billed.YES,
        output=bindparam("new_output"),
        completed=bindparam("new_completed"),
        cost_usd=attempt.c.estimated_usd,
        # What fal charged for one request only an administrator's key can ask.
        cost_basis="estimate",
        error=None,
        parked_at=None,
        parked_because=None,
    )
)

_STORING = (
    update(attempt)
    .where(IS_THIS, is_one_of(attempt.c.fate, OPEN))
    .values(fate=Fate.STORED, billed=Billed.YES, ended_at=database_now())
)

_LOSING = (
    update(attempt)
    .where(IS_THIS, is_one_of(attempt.c.fate, [Fate.INTENDED, Fate.SENDING]))
    .values(fate=Fate.AMBIGUOUS, error=bindparam("why"))
)
