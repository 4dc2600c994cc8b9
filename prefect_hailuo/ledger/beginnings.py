"""What a new ledger cannot know: what the account bought before it began.

Until the account's history has been imported, or somebody said that it need not be, or fal has
forgotten it all, the first purchase of each key looks there first. After an import it looks among
what that entered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import Billed, ParkedError
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.fal.platform import PastRequest, PlatformClient
from prefect_hailuo.key import shown_key
from prefect_hailuo.ledger.attempts import attempt_of
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.earlier import HISTORY_DAYS, Earlier
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.grouping import Group
from prefect_hailuo.ledger.imported import ORDINARY_TAKE, imported_like, imported_like_any
from prefect_hailuo.ledger.reconciling import Window, ticket_of, window_of
from prefect_hailuo.ledger.recorded import describe
from prefect_hailuo.ledger.rows import add_attempt, as_accepted
from prefect_hailuo.ledger.statements import (
    among,
    insert_once,
    is_attempt,
    latest_attempt,
    lock_or_make_key,
    now_in,
    owned_requests,
)
from prefect_hailuo.ledger.tables import attempt, database_now, history, origin
from prefect_hailuo.ledger.wishes import RECONCILE_SECONDS, Wish

NEVER = 0.0
"""When a history was read that need not be."""


class Beginnings:
    """Looks for what was bought before the ledger began.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._earlier = Earlier(database)
        self._looking: Group[Wish, _Known] = Group(self._look_for_all)

    async def look_back(
        self, wish: Wish, platform: PlatformClient, seconds: float = RECONCILE_SECONDS
    ) -> None:
        """Before a key is first bought: give it the request that is there from before, if any.

        One such request is adopted for the ordinary take. Several, or another take, leave open
        which it is: the key is closed, with an error that names the cures.

        Args:
            wish: What is about to be bought.
            platform: fal's platform API, with the key of the account that would pay.
            seconds: How far fal's history may lag.

        Raises:
            FalError: fal's history could not be read; nothing was bought.
            GenerationTimeoutError: Not in time; nothing was bought.
            LedgerError: The ledger cannot be used.
        """
        if wish.realm == "emulator":  # it forgets, and charges nothing
            return
        known = await self._looking(wish)
        if known.read_at == NEVER:
            return
        equal: list[PastRequest] = []
        if known.read_at is None and known.began_at is not None:
            equal = await self._earlier.equal_to(wish, known.began_at, platform, seconds)
        if equal or known.imported:
            async with self._database.writing() as connection:
                await _enter(connection, wish, equal)

    async def _look_for_all(self, wishes: Sequence[Wish]) -> list[_Known]:
        async with self._database.reading() as connection:
            read_at = await _read_at(connection, {wish.account for wish in wishes})
            began_at = await _began_at(connection)
            imported = await imported_like_any(connection, wishes)
        return [
            _Known(read_at.get((wish.realm, wish.account)), began_at, like)
            for wish, like in zip(wishes, imported, strict=True)
        ]

    async def settle(self, realm: Realm, account: str) -> None:
        """Note that an account's history has been imported: what it shows is in the ledger."""
        row = {"realm": realm, "account": account, "read_at": database_now()}
        async with self._database.writing() as connection:
            await connection.execute(insert_once(connection, history).values(row))

    async def skip(self, realm: Realm, account: str) -> None:
        """Note that an account's history does not matter, by somebody's word."""
        which = {"realm": realm, "account": account}
        async with self._database.writing() as connection:
            await connection.execute(
                insert_once(connection, history).values(**which, read_at=NEVER)
            )
            await connection.execute(update(history).filter_by(**which).values(read_at=NEVER))


@dataclass(frozen=True)
class _Known:
    """What the ledger knows of the time before it.

    Args:
        read_at: When the account's history was imported; `NEVER`, if it need not be; None until
            then.
        began_at: When the ledger began, if fal still knows of anything before.
        imported: The imported requests that the wish may have made, with when each was sent.
    """

    read_at: float | None
    began_at: float | None
    imported: Mapping[str, float]


async def _read_at(
    connection: AsyncConnection, accounts: Iterable[str]
) -> dict[tuple[str, str], float]:
    found = await connection.execute(
        select(history.c.realm, history.c.account, history.c.read_at).where(
            among(connection, history.c.account, accounts)
        )
    )
    return {(realm, account): read_at for realm, account, read_at in found}


async def _began_at(connection: AsyncConnection) -> float | None:
    began_at: float = (await connection.execute(select(origin.c.began_at))).scalar_one()
    age = await now_in(connection) - began_at
    return None if age > timedelta(days=HISTORY_DAYS).total_seconds() else began_at


async def _enter(connection: AsyncConnection, wish: Wish, equal: list[PastRequest]) -> None:
    """Write the key's first attempt, from before the ledger began."""
    await lock_or_make_key(connection, wish.key)
    if await latest_attempt(connection, wish.key) is not None:
        return
    free = await _free(connection, wish, equal)
    sent = {each.request_id: each.sent_at.timestamp() for each in free}
    sent |= await imported_like(connection, wish)
    if not sent:
        return
    one = await add_attempt(connection, _unknown(wish, sent))
    if len(sent) == len(free) == 1 and wish.take == ORDINARY_TAKE:
        values = {**as_accepted(ticket_of(one, free[0])), "adopted": True}
        await connection.execute(update(attempt).where(is_attempt(one)).values(values))


async def _free(
    connection: AsyncConnection, wish: Wish, equal: list[PastRequest]
) -> list[PastRequest]:
    """The requests that no attempt has."""
    # In this order: a ticket may be written down between the two questions. Asked the other way
    # round, its request is not owned yet, and its attempt not sending any more.
    sending = await _being_sent(connection, wish)
    taken = await owned_requests(connection, wish.realm, [each.request_id for each in equal])
    return [
        each
        for each in equal
        # What this ledger sent in its first second is not from before it began.
        if each.request_id not in taken and not any(own.holds(each.sent_at) for own in sending)
    ]


async def _being_sent(connection: AsyncConnection, wish: Wish) -> list[Window]:
    """When this ledger sent the same body, without having a ticket for it yet."""
    found = await connection.execute(
        select(attempt).where(
            attempt.c.realm == wish.realm,
            attempt.c.body_digest == wish.body_digest,
            attempt.c.request_id.is_(None),
            attempt.c.fate.in_([Fate.SENDING, Fate.AMBIGUOUS]),
        )
    )
    return [window_of(attempt_of(row)) for row in found.mappings()]


def _unknown(wish: Wish, sent: Mapping[str, float]) -> dict[str, object]:
    ids = ", ".join(sent)
    error = ParkedError(
        "By fal's history the account asked for this very input before this ledger began "
        f"({ids}). Whether one of these is take {wish.take!r} cannot be known; nothing was bought.",
        cure=f"Adopt one: prefect-hailuo ledger resolve {shown_key(wish.key)} --adopt REQUEST_ID. "
        "If all that was bought before is accounted for, let no other take be asked about: "
        "prefect-hailuo ledger import --skip.",
        billed=Billed.UNKNOWN,
    )
    return {
        **wish.asked(),
        "fate": Fate.FAILED,
        "billed": Billed.UNKNOWN,
        "error": describe(error),
        "intended_at": max(sent.values()),
        "lease_until": 0.0,
        "estimated_usd": wish.estimated_usd,
        "duplicate": False,
        "adopted": False,
    }
