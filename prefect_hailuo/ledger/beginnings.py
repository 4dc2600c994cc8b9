"""What a new ledger cannot know: what the account bought before it began.

Until the account's history has been imported, or somebody said that it need not be, or fal has
forgotten it all, the first purchase of each key looks there first.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import Billed, ParkedError
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.fal.platform import PastRequest, PlatformClient
from prefect_hailuo.ledger.attempts import attempt_of
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.earlier import HISTORY_DAYS, Earlier
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.reconciling import RECONCILE_SECONDS, ticket_of
from prefect_hailuo.ledger.recorded import describe
from prefect_hailuo.ledger.rows import as_accepted
from prefect_hailuo.ledger.statements import insert_once, latest_attempt, lock_key, now_in
from prefect_hailuo.ledger.tables import attempt, database_now, generation, history, origin
from prefect_hailuo.ledger.wishes import Wish

ORDINARY_TAKE = "0"


class Beginnings:
    """Looks for what was bought before the ledger began.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._earlier = Earlier(database)

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
        began_at = await self._unread_since(wish.realm, wish.account)
        if began_at is None:
            return
        equal = await self._earlier.equal_to(wish, began_at, platform, seconds)
        if equal:
            async with self._database.writing() as connection:
                await _enter(connection, wish, equal)

    async def settle(self, realm: Realm, account: str) -> None:
        """Note that an account's history is accounted for."""
        row = {"realm": realm, "account": account, "read_at": database_now()}
        async with self._database.writing() as connection:
            await connection.execute(insert_once(connection, history).values(row))

    async def _unread_since(self, realm: Realm, account: str) -> float | None:
        """When the ledger began, if its account's history still matters."""
        if realm == "emulator":  # it forgets, and charges nothing
            return None
        async with self._database.reading() as connection:
            read = await connection.execute(
                select(history.c.read_at).where(
                    history.c.realm == realm, history.c.account == account
                )
            )
            began_at: float = (await connection.execute(select(origin.c.began_at))).scalar_one()
            age = await now_in(connection) - began_at
        if read.first() is not None or age > timedelta(days=HISTORY_DAYS).total_seconds():
            return None
        return began_at


async def _enter(connection: AsyncConnection, wish: Wish, equal: list[PastRequest]) -> None:
    """Write the key's first attempt, from before the ledger began."""
    row = {"key": wish.key, "attempts": 0, "consented": 0, "created_at": database_now()}
    await connection.execute(insert_once(connection, generation).values(row))
    await lock_key(connection, wish.key)
    if await latest_attempt(connection, wish.key) is not None:
        return
    owned = await connection.execute(
        select(attempt.c.request_id).where(
            attempt.c.realm == wish.realm,
            attempt.c.request_id.in_([each.request_id for each in equal]),
        )
    )
    taken = set(owned.scalars())
    free = [each for each in equal if each.request_id not in taken]
    if not free:
        return
    sent_at = max(each.sent_at for each in free).timestamp()
    added = await connection.execute(
        insert(attempt).values(_unknown(wish, free, sent_at)).returning(attempt)
    )
    await connection.execute(
        update(generation).where(generation.c.key == wish.key).values(attempts=1)
    )
    if len(free) == 1 and wish.take == ORDINARY_TAKE:
        one = attempt_of(added.mappings().one())
        values = {**as_accepted(ticket_of(one, free[0])), "adopted": True}
        await connection.execute(update(attempt).where(attempt.c.key == one.key).values(values))


def _unknown(wish: Wish, free: list[PastRequest], sent_at: float) -> dict[str, object]:
    ids = ", ".join(each.request_id for each in free)
    error = ParkedError(
        "This ledger is new, and by fal's history the account asked for this very input before "
        f"({ids}). Whether one of these is take {wish.take!r} cannot be known; nothing was bought.",
        cure=f"Adopt one: prefect-hailuo ledger resolve {wish.key[:12]} --adopt REQUEST_ID.",
        billed=Billed.UNKNOWN,
    )
    return {
        **wish.asked(),
        "number": 1,
        "fate": Fate.FAILED,
        "billed": Billed.UNKNOWN,
        "error": describe(error),
        "intended_at": sent_at,
        "lease_until": 0.0,
        "estimated_usd": wish.estimated_usd,
        "duplicate": False,
        "adopted": False,
    }
