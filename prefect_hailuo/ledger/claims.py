"""The claim: one transaction that decides whether anything is bought.

Read `Claims._claim_all` from top to bottom: it is all there is to it. Claims that come at once are
decided in one transaction, one after another; one that comes alone is a group of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from typing_extensions import assert_never

from prefect_hailuo.errors import HailuoError
from prefect_hailuo.ledger.attempts import Attempt, attempt_of, latest_of
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.drafts import Draft, Drafts, open_drafts
from prefect_hailuo.ledger.fates import Fate, Rerun
from prefect_hailuo.ledger.grouping import Group
from prefect_hailuo.ledger.purses import Purses, close_purses, open_purses
from prefect_hailuo.ledger.rules import (
    check_account,
    check_approved,
    check_number,
    may_replace,
    raised,
)
from prefect_hailuo.ledger.sending import Beginning, begin_all, was_cancelled
from prefect_hailuo.ledger.statements import (
    among,
    attempts_of_keys,
    latest_attempt,
    lock_key,
    now_in,
)
from prefect_hailuo.ledger.tables import attempt, database_now, generation
from prefect_hailuo.ledger.waiters import cancelled_among, keep_waiters
from prefect_hailuo.ledger.wishes import (
    NOBODY,
    Attach,
    Buy,
    Decision,
    Prepare,
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
        self._claiming: Group[Wish, Decision] = Group(self._claim_all)
        self._beginning: Group[Beginning, bool] = Group(self._begin_all)
        self._reading: Group[str, Attempt | None] = Group(self._latest_of_all)
        self._watching: Group[Attempt, bool] = Group(self._which_are_open)

    async def claim(self, wish: Wish) -> Decision:
        """Decide, in one transaction, what is to be done for a wish.

        Raises:
            BudgetError: It would have to be bought, and the scope's budget does not allow it.
            NotApprovedError: It would have to be bought, and a person approved other purchases.
            OtherAccountError: Another account is making it.
            RunCancelledError: The flow run that asks was cancelled.
            HailuoError: An earlier attempt failed, and is not repeated unasked.
            LedgerError: The ledger cannot be written; nothing was bought.
        """
        return await self._claiming(wish)

    async def _claim_all(self, wishes: Sequence[Wish]) -> list[Decision | Exception]:
        """Decide about all who came at once, one after another, in one transaction."""
        async with self._database.writing() as connection:
            drafts = await open_drafts(connection, (wish.key for wish in wishes))
            # After the locks, for meanwhile a run may have been cancelled.
            cancelled = await cancelled_among(connection, (wish.run for wish in wishes))
            now = await now_in(connection)
            buying = [wish for wish in wishes if _is_to_buy(wish, drafts.by_key[wish.key], now)]
            await drafts.void_dead(connection, (wish.key for wish in buying))
            purses = await open_purses(connection, buying, now)
            deciding = _Deciding(drafts, purses, cancelled, now)
            answers = [deciding.answer(wish) for wish in wishes]
            await close_purses(connection, purses)
            await drafts.write(connection)
            await keep_waiters(connection, _decided(wishes, answers), now)
        return answers

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
        lease_seconds = max(LEASE_SECONDS, 1.5 * seconds)
        return await self._beginning(Beginning(mine, lease_seconds, run))

    async def _begin_all(self, those: Sequence[Beginning]) -> list[bool | Exception]:
        async with self._database.writing() as connection:
            return await begin_all(connection, those)

    async def latest(self, key: str) -> Attempt | None:
        """The attempt of a key that counts, by `attempts.latest_of`."""
        return await self._reading(key)

    async def _latest_of_all(self, keys: Sequence[str]) -> list[Attempt | None]:
        async with self._database.reading() as connection:
            attempts = await attempts_of_keys(connection, keys)
        return [latest_of(attempts[key]) for key in keys]

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
        return await self._watching(seen)

    async def _which_are_open(self, seen: Sequence[Attempt]) -> list[bool]:
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(attempt.c.key, attempt.c.number)
                .where(among(connection, attempt.c.key, {one.key for one in seen}))
                .where(attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING]))
                .where(attempt.c.lease_until > database_now())
            )
            still = {(key, number) for key, number in found}
        return [(one.key, one.number) in still for one in seen]

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


@dataclass(frozen=True)
class _Deciding:
    """Decides about wishes, one after another: each sees what those before it came to."""

    drafts: Drafts
    purses: Purses
    cancelled: set[str]
    now: float

    def answer(self, wish: Wish) -> Decision | Exception:
        """What is to be done for a wish; an error is for this one only."""
        try:
            # Nothing is bought, and nothing retried, for a run that is known to be cancelled.
            if wish.run.among(self.cancelled):
                return was_cancelled(wish.run)
            draft = self.drafts.by_key[wish.key]
            decision = _decide(wish, draft, self.now)
            if decision is None:
                return self._buy(wish)
        except HailuoError as error:
            return error
        if isinstance(decision, Reconcile) and decision.attempt.fate is Fate.SENDING:
            return Reconcile(self.drafts.make_ambiguous(decision.attempt))
        return decision

    def _buy(self, wish: Wish) -> Buy | Prepare:
        """Reserve the money and write the intent; nothing of it before the body is ready."""
        check_approved(wish)
        purse = self.purses[wish.realm, wish.scope]
        if not wish.is_ready:
            purse.check(wish)
            return Prepare()
        purse.take(wish)
        return Buy(self.drafts.intend(wish, self.now, self.now + LEASE_SECONDS))


def _decide(wish: Wish, draft: Draft, now: float) -> Decision | None:
    """What the table says, with consents, leases, accounts and the number of attempts looked at.

    Returns:
        The decision; None where it is to be bought.
    """
    latest = draft.latest
    if latest is None or may_replace(draft.attempts, draft.consented):
        return None
    alive = latest.lease_until > now
    match latest.rerun:
        case Rerun.REUSE:
            return Reuse(latest)
        case Rerun.RAISE:
            raise raised(latest)
        case Rerun.BUY:
            check_number(latest, draft.attempts)
            return None
        case Rerun.WAIT_OR_BUY:
            return Wait(latest) if alive else None
        case Rerun.WAIT_OR_RECONCILE:
            if alive:
                return Wait(latest)
            check_account(wish, latest)
            return Reconcile(latest)
        case Rerun.ATTACH:
            check_account(wish, latest)
            return Attach(latest)
        case Rerun.RECONCILE:
            check_account(wish, latest)
            return Reconcile(latest)
        case _:
            assert_never(latest.rerun)


def _is_to_buy(wish: Wish, draft: Draft, now: float) -> bool:
    try:
        return _decide(wish, draft, now) is None
    except HailuoError:
        return False


def _decided(wishes: Sequence[Wish], answers: Sequence[Decision | Exception]) -> list[Wish]:
    """Those that were not refused."""
    pairs = zip(wishes, answers, strict=True)
    return [wish for wish, answer in pairs if not isinstance(answer, Exception)]
