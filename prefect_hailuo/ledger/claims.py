"""The claim: one transaction that decides whether anything is bought.

Read `Claims.claim` from top to bottom: it is all there is to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import assert_never

from prefect_hailuo.errors import RunCancelledError
from prefect_hailuo.ledger.attempts import Attempt, attempt_of, latest_of
from prefect_hailuo.ledger.budgets import reserve
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.fates import Fate, Rerun
from prefect_hailuo.ledger.rows import add_attempt, as_void
from prefect_hailuo.ledger.rules import check_account, check_number, may_replace, raised
from prefect_hailuo.ledger.statements import (
    attempts_of,
    is_attempt,
    latest_attempt,
    lock_key,
    lock_or_make_key,
    now_in,
)
from prefect_hailuo.ledger.tables import attempt, cancelled_run, database_now, generation
from prefect_hailuo.ledger.waiters import keep_waiter, unwanted
from prefect_hailuo.ledger.wishes import (
    NOBODY,
    Attach,
    Buy,
    Decision,
    Reconcile,
    Reuse,
    Run,
    Wait,
    Wish,
)

LEASE_SECONDS = 45.0
"""How long an owner counts as alive, from its claim, and again from its first byte; longer than
the POST's hard time limit, `fal.client.SUBMIT_SECONDS`."""


class Claims:
    """Decides about wishes.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, wish: Wish) -> Decision:
        """Decide, in one transaction, what is to be done for a wish.

        Raises:
            BudgetError: It would have to be bought, and the scope's budget does not allow it.
            OtherAccountError: Another account is making it.
            RunCancelledError: The flow run that asks was cancelled.
            HailuoError: An earlier attempt failed, and is not repeated unasked.
            LedgerError: The ledger cannot be written; nothing was bought.
        """
        async with self._database.writing() as connection:
            consented = await lock_or_make_key(connection, wish.key)
            # After the lock, for meanwhile the run may have been cancelled.
            await _refuse_cancelled(connection, wish.run)
            now = await now_in(connection)
            await keep_waiter(connection, wish, now)
            attempts = await attempts_of(connection, wish.key)
            latest = latest_of(attempts)
            if latest is None or may_replace(attempts, consented):
                return await _intend(connection, wish, now)
            return await _decide(connection, wish, latest, attempts, now)

    async def begin_sending(self, mine: Attempt, seconds: float, run: Run = NOBODY) -> bool:
        """Turn an intent into a POST that may be on its way: the last thing before it is.

        Args:
            mine: The attempt, as `claim` gave it.
            seconds: The POST's hard time limit: so much of the lease is renewed at least.
            run: Who claimed it.

        Returns:
            Whether the attempt is still the caller's and still wanted; if not, nothing may be
            sent.

        Raises:
            RunCancelledError: The flow run that asks was cancelled since.
        """
        async with self._database.writing() as connection:
            # A claim that finds the lease ended must not void what is being changed here.
            await lock_key(connection, mine.key)
            await _refuse_cancelled(connection, run)
            if (await connection.execute(unwanted(mine.key))).scalar_one():
                return False
            # `sending` too: through a proxy, which is sent a request of its own first, it is asked
            # twice for one POST.
            held = attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING])
            changed = await connection.execute(
                update(attempt)
                .where(is_attempt(mine), held, attempt.c.owner == mine.owner)
                .where(attempt.c.lease_until > database_now())
                .values(
                    fate=Fate.SENDING,
                    sent_at=database_now(),
                    lease_until=database_now() + max(LEASE_SECONDS, 1.5 * seconds),
                )
            )
            return changed.rowcount == 1

    async def latest(self, key: str) -> Attempt | None:
        """The attempt of a key that counts, by `attempts.latest_of`."""
        async with self._database.reading() as connection:
            return await latest_attempt(connection, key)

    async def attempt(self, key: str, number: int) -> Attempt | None:
        """One attempt, as it is now."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(attempt).where(attempt.c.key == key, attempt.c.number == number)
            )
            row = found.mappings().first()
            return None if row is None else attempt_of(row)

    async def still_open(self, seen: Attempt) -> bool:
        """Whether an attempt is still being submitted by somebody alive."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(attempt.c.key)
                .where(is_attempt(seen), attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING]))
                .where(attempt.c.lease_until > database_now())
            )
            return found.first() is not None

    async def consent(self, key: str, number: int, *, unfound: bool = False) -> bool:
        """Allow one more purchase of a key, in place of this one attempt.

        It is a compare-and-swap on the attempt's number, and spent by the next attempt that may
        have cost money, whoever makes it. If the attempt's own request turns up before, it is
        void.

        Args:
            key: The generation's key.
            number: The attempt that may be replaced.
            unfound: Whether that was allowed only because its request is not found: if it has
                turned up since, nothing is allowed.

        Returns:
            Whether that attempt still is the one that counts, and none that somebody is submitting.
        """
        async with self._database.writing() as connection:
            await lock_key(connection, key)
            latest = await latest_attempt(connection, key)
            if latest is None or latest.number != number or latest.rerun in _BEING_SUBMITTED:
                return False
            if unfound and latest.request_id is not None:
                return False
            await connection.execute(
                update(generation)
                .where(generation.c.key == key)
                .values(consented=generation.c.attempts)
            )
            return True


_BEING_SUBMITTED = (Rerun.WAIT_OR_BUY, Rerun.WAIT_OR_RECONCILE)


async def _decide(
    connection: AsyncConnection,
    wish: Wish,
    latest: Attempt,
    attempts: Sequence[Attempt],
    now: float,
) -> Decision:
    """What the table says, with leases, accounts and the number of attempts looked at."""
    alive = latest.lease_until > now
    match latest.rerun:
        case Rerun.REUSE:
            return Reuse(latest)
        case Rerun.RAISE:
            raise raised(latest)
        case Rerun.BUY:
            check_number(latest, attempts)
            return await _intend(connection, wish, now)
        case Rerun.WAIT_OR_BUY:
            if alive:
                return Wait(latest)
            await connection.execute(update(attempt).where(is_attempt(latest)).values(as_void()))
            return await _intend(connection, wish, now)
        case Rerun.WAIT_OR_RECONCILE:
            if alive:
                return Wait(latest)
            check_account(wish, latest)
            return Reconcile(await _make_ambiguous(connection, latest))
        case Rerun.ATTACH:
            check_account(wish, latest)
            return Attach(latest)
        case Rerun.RECONCILE:
            check_account(wish, latest)
            return Reconcile(latest)
        case _:
            assert_never(latest.rerun)


async def _intend(connection: AsyncConnection, wish: Wish, now: float) -> Buy:
    """Reserve the money and write the intent."""
    await reserve(connection, wish, now)
    row = {
        **wish.asked(),
        "fate": Fate.INTENDED,
        "owner": uuid4().hex,
        "intended_at": now,
        "lease_until": now + LEASE_SECONDS,
        "estimated_usd": wish.estimated_usd,
        "duplicate": False,
        "adopted": False,
    }
    return Buy(await add_attempt(connection, row))


async def _make_ambiguous(connection: AsyncConnection, latest: Attempt) -> Attempt:
    changed = await connection.execute(
        update(attempt)
        .where(is_attempt(latest), attempt.c.fate == Fate.SENDING)
        .values(fate=Fate.AMBIGUOUS)
        .returning(attempt)
    )
    row = changed.mappings().first()
    # None: a search for an equal request, which locked other keys, has just given it its own.
    return latest if row is None else attempt_of(row)


async def _refuse_cancelled(connection: AsyncConnection, run: Run) -> None:
    """Nothing is bought, and nothing retried, for a run that is known to be cancelled."""
    if not run.ids:
        return
    found = await connection.execute(
        select(cancelled_run.c.flow_run_id).where(cancelled_run.c.flow_run_id.in_(run.ids))
    )
    if found.first() is not None:
        raise RunCancelledError(f"The flow run {run.flow_run_id} was cancelled.")
