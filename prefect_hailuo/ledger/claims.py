"""The claim: one transaction decides whether to buy; and the last check before sending.

Read `Claims.claim` from top to bottom: it locks the keys, decides about one purchase after another
on what it has read, so that each sees the result of those before it, and then writes everything at
once. A claim that comes alone is a group of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Double, bindparam, delete, exists, insert, select, update
from typing_extensions import assert_never

from prefect_hailuo.errors import Billed, HailuoError, RunCancelledError
from prefect_hailuo.ledger.attempt import (
    MOST_ATTEMPTS,
    NOBODY,
    Attach,
    Attempt,
    Buy,
    Decision,
    Fate,
    Prepare,
    Purchase,
    Reconcile,
    Rerun,
    Reuse,
    Run,
    Wait,
    accepted_among,
    attempt_of,
    check_account,
    check_approved,
    check_number,
    latest_of,
    may_replace,
    raised,
)
from prefect_hailuo.ledger.budgets import OpenBudgets, close_budgets, open_budgets
from prefect_hailuo.ledger.database import (
    Answers,
    Part,
    reads,
    reads_together,
    writes,
    writes_together,
)
from prefect_hailuo.ledger.tables import (
    IS_THIS,
    Counts,
    Texts,
    among,
    as_void,
    attempt,
    attempt_as_written,
    attempts_of_keys,
    database_now,
    file,
    generation,
    latest_attempt,
    lock_key,
    lock_keys,
    make_keys,
    now_in,
    prepared,
    this,
)
from prefect_hailuo.ledger.waiters import cancelled_among, keep_waiters, unwanted_among

LEASE_SECONDS = 45.0
"""How long an owner counts as alive from its claim, and again from its first byte: longer than the
POST's hard time limit, `fal.client.SUBMIT_SECONDS`."""


class Claims(Part):
    """Decides about purchases."""

    @writes_together
    def claim(self, connection: Connection, purchases: Sequence[Purchase]) -> Answers[Decision]:
        """Decide, in one transaction, what is to be done for a purchase.

        Raises:
            BudgetError: It would have to be bought, and the scope's budget does not allow it.
            NotApprovedError: It would have to be bought, and a person approved other purchases.
            OtherAccountError: Another account is making it.
            RunCancelledError: The flow run that asks was cancelled.
            HailuoError: An earlier attempt failed, and is not repeated unasked.
            LedgerError: The ledger cannot be written; nothing was bought.
        """
        keys = open_keys(connection, (purchase.key for purchase in purchases))
        # After the locks: a run may have been cancelled while they were waited for.
        cancelled = cancelled_among(connection, (purchase.run for purchase in purchases))
        now = now_in(connection)
        buying = [
            purchase
            for purchase in purchases
            if _is_to_buy(purchase, keys.by_key[purchase.key], now)
        ]
        keys.void_dead(connection, (purchase.key for purchase in buying))
        budgets = open_budgets(connection, buying, now)
        # The scopes' locks may have been waited for, and a lease begins when it is written.
        intended_at = now_in(connection) if budgets else now
        deciding = _Deciding(keys, budgets, cancelled, now, intended_at)
        answers: Answers[Decision] = Answers(deciding.answer(purchase) for purchase in purchases)
        close_budgets(connection, budgets)
        keys.write(connection)
        keep_waiters(connection, _decided(purchases, answers), now)
        return answers

    async def begin_sending(self, mine: Attempt, seconds: float, run: Run = NOBODY) -> bool:
        """Mark an attempt as sending: the last step before its POST.

        Args:
            mine: The attempt, as `claim` gave it.
            seconds: The POST's hard time limit; the lease is extended beyond it.
            run: Who claimed it.

        Returns:
            Whether the attempt is still the caller's and still wanted, and no other attempt of its
            key has got a request since it was claimed; if not, nothing may be sent.

        Raises:
            RunCancelledError: The flow run that asks was cancelled since.
        """
        lease_seconds = max(LEASE_SECONDS, 1.5 * seconds)
        return await self._begin(Sending(mine, lease_seconds, run))

    @writes_together
    def _begin(self, connection: Connection, those: Sequence[Sending]) -> Answers[bool]:
        """Mark the attempts as sending that are still their owners', and still wanted."""
        keys = {each.mine.key for each in those}
        # A claim that finds the lease ended must not void an attempt that is being changed here.
        lock_keys(connection, keys)
        cancelled = cancelled_among(connection, (each.run for each in those))
        unwanted = unwanted_among(connection, keys)
        wanted = [each for each in those if each.mine.key not in unwanted]
        wanted = _still_needed(connection, wanted)
        begun = _mark_sending(
            connection, [each for each in wanted if not each.run.among(cancelled)]
        )
        return Answers(
            was_cancelled(each.run) if each.run.among(cancelled) else each.mine.owner in begun
            for each in those
        )

    @reads_together
    def latest(self, connection: Connection, keys: Sequence[str]) -> Answers[Attempt | None]:
        """The attempt of a key that counts: see `latest_of`."""
        attempts = attempts_of_keys(connection, keys)
        return Answers(latest_of(attempts[key]) for key in keys)

    @reads
    def attempt(self, connection: Connection, key: str, number: int) -> Attempt | None:
        """One attempt, as it is now."""
        found = connection.execute(
            select(attempt).where(attempt.c.key == key, attempt.c.number == number)
        )
        row = found.mappings().first()
        return None if row is None else attempt_of(row)

    @reads_together
    def still_open(self, connection: Connection, seen: Sequence[Attempt]) -> Answers[bool]:
        """Whether a process that is alive is still submitting an attempt."""
        found = connection.execute(
            select(attempt.c.key, attempt.c.number)
            .where(among(connection, attempt.c.key, {one.key for one in seen}))
            .where(attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING]))
            .where(attempt.c.lease_until > database_now())
        )
        still = {(key, number) for key, number in found}
        return Answers((one.key, one.number) in still for one in seen)

    @writes
    def consent(
        self, connection: Connection, key: str, number: int, *, unfound: bool = False
    ) -> bool:
        """Allow one more purchase of a key, in place of this one attempt.

        It is a compare-and-swap on the attempt's number. The next attempt that may have cost money
        uses it up. It is void if the attempt's own request turns up before.

        Args:
            key: The generation's key.
            number: The attempt that may be replaced.
            unfound: Whether it may be replaced only because its request was not found: then
                nothing is allowed if the request has turned up since.

        Returns:
            Whether that attempt still is the one that counts, and is not being submitted.
        """
        lock_key(connection, key)
        latest = latest_attempt(connection, key)
        if latest is None or latest.number != number or latest.rerun in _BEING_SUBMITTED:
            return False
        if unfound and latest.request_id is not None:
            return False
        _note_consent(connection, key)
        return True

    @writes
    def replace_lost(self, connection: Connection, key: str, number: int) -> bool:
        """Allow one more purchase in place of a stored video that is nowhere any more.

        A caller's `on_lost` asks for it, and no person's decision, so it counts towards the limit
        of attempts.

        Args:
            key: The generation's key.
            number: The attempt whose video is lost.

        Returns:
            Whether there may be another purchase, or there is one already.
        """
        lock_key(connection, key)
        attempts = attempts_of_keys(connection, [key])[key]
        latest = latest_of(attempts)
        if latest is None or latest.number != number or latest.fate is not Fate.STORED:
            return True  # somebody else has replaced it: the next claim finds that
        if accepted_among(attempts) >= MOST_ATTEMPTS:
            return False
        _note_consent(connection, key)
        return True


def _note_consent(connection: Connection, key: str) -> None:
    """Write down that one more purchase is allowed, in place of the latest attempt."""
    consented = {"consented": generation.c.attempts}
    connection.execute(update(generation).where(generation.c.key == key).values(consented))


_BEING_SUBMITTED = (Rerun.WAIT_OR_BUY, Rerun.WAIT_OR_RECONCILE)


@dataclass(frozen=True)
class _Deciding:
    """Decides about purchases one after another: each sees the result of those before it.

    Args:
        keys: Their keys, locked.
        budgets: The scopes of the purchases that are to be bought, locked.
        cancelled: The flow runs that are known to be cancelled.
        now: When the keys were locked: whether a lease had ended by then decides what is bought.
        intended_at: When the scopes were locked too.
    """

    keys: LockedKeys
    budgets: OpenBudgets
    cancelled: set[str]
    now: float
    intended_at: float

    def answer(self, purchase: Purchase) -> Decision | Exception:
        """What is to be done for a purchase; an error is for this one only."""
        try:
            # Nothing is bought, and nothing retried, for a run that is known to be cancelled.
            if purchase.run.among(self.cancelled):
                return was_cancelled(purchase.run)
            key = self.keys.by_key[purchase.key]
            decision = _decide(purchase, key, self.now)
            if decision is None:
                return self._buy(purchase)
        except HailuoError as error:
            return error
        if isinstance(decision, Reconcile) and decision.attempt.fate is Fate.SENDING:
            return Reconcile(self.keys.make_ambiguous(decision.attempt))
        return decision

    def _buy(self, purchase: Purchase) -> Buy | Prepare:
        """Reserve the money and write the intent; nothing of it before the body is ready."""
        check_approved(purchase)
        budget = self.budgets[purchase.realm, purchase.scope]
        if not purchase.is_ready:
            budget.check(purchase)
            return Prepare()
        budget.take(purchase)
        until = self.intended_at + LEASE_SECONDS
        return Buy(self.keys.intend(purchase, self.intended_at, until))


def _decide(purchase: Purchase, key: LockedKey, now: float) -> Decision | None:
    """What `RERUN` says, after consents, leases, accounts and the number of attempts.

    Returns:
        The decision; None where it is to be bought.
    """
    latest = key.latest
    if latest is None or may_replace(key.attempts, key.consented):
        return None
    alive = latest.lease_until > now
    match latest.rerun:
        case Rerun.REUSE:
            return Reuse(latest)
        case Rerun.RAISE:
            raise raised(latest)
        case Rerun.BUY:
            check_number(latest, key.attempts)
            return None
        case Rerun.WAIT_OR_BUY:
            return Wait(latest) if alive else None
        case Rerun.WAIT_OR_RECONCILE:
            if alive:
                return Wait(latest)
            check_account(purchase, latest)
            return Reconcile(latest)
        case Rerun.ATTACH:
            check_account(purchase, latest)
            return Attach(latest)
        case Rerun.RECONCILE:
            check_account(purchase, latest)
            return Reconcile(latest)
        case _:
            assert_never(latest.rerun)


def _is_to_buy(purchase: Purchase, key: LockedKey, now: float) -> bool:
    try:
        return _decide(purchase, key, now) is None
    except HailuoError:
        return False


def _decided(
    purchases: Sequence[Purchase], answers: Sequence[Decision | Exception]
) -> list[Purchase]:
    """The purchases that were not refused."""
    pairs = zip(purchases, answers, strict=True)
    return [purchase for purchase, answer in pairs if not isinstance(answer, Exception)]


@dataclass
class LockedKey:
    """A key whose row is locked: its attempts, and the attempts that are about to be written.

    Args:
        attempts: Its attempts in their order.
        count: How many there ever were.
        consented: How many there were when a consent was given, or 0.
    """

    attempts: list[Attempt]
    count: int
    consented: int

    @property
    def latest(self) -> Attempt | None:
        """The attempt that counts."""
        return latest_of(self.attempts)

    def change(self, one: Attempt, **values: Any) -> Attempt:
        """Replace an attempt by a changed one."""
        changed = replace(one, **values)
        self.attempts[self.attempts.index(one)] = changed
        return changed


@dataclass
class LockedKeys:
    """The keys of some purchases, locked.

    Args:
        by_key: Each by its key.
        made: The keys that are new.
    """

    by_key: Mapping[str, LockedKey]
    made: set[str]
    _intents: list[dict[str, Any]] = field(default_factory=list)
    _ambiguous: list[Attempt] = field(default_factory=list)

    def intend(self, purchase: Purchase, now: float, until: float) -> Attempt:
        """Add a new attempt, which its caller may POST until its lease ends."""
        key = self.by_key[purchase.key]
        key.count += 1
        row = {
            **purchase.asked(),
            "number": key.count,
            "fate": Fate.INTENDED,
            "owner": uuid4().hex,
            "intended_at": now,
            "lease_until": until,
            "estimated_usd": purchase.estimated_usd,
            "duplicate": False,
            "adopted": False,
        }
        self._intents.append(row)
        key.attempts.append(mine := attempt_as_written(row))
        return mine

    def void_dead(self, connection: Connection, keys: Iterable[str]) -> None:
        """Void the intents that are the latest of some keys: their owners never began to send.

        This is written at once, because the money that they reserved is free again.
        """
        ahead = [self.by_key[key].latest for key in set(keys)]
        dead = [one for one in ahead if one is not None and one.fate is Fate.INTENDED]
        for one in dead:
            self.by_key[one.key].change(one, fate=Fate.FAILED, billed=Billed.NO)
        if dead:
            voided = update(attempt).where(IS_THIS, attempt.c.fate == Fate.INTENDED)
            connection.execute(voided.values(as_void()), [this(one) for one in dead])

    def make_ambiguous(self, one: Attempt) -> Attempt:
        """Mark an attempt whose dead owner may have sent it."""
        self._ambiguous.append(one)
        return self.by_key[one.key].change(one, fate=Fate.AMBIGUOUS)

    def write(self, connection: Connection) -> None:
        """Write all of it down, in a few statements."""
        if self._ambiguous:
            changed = update(attempt).where(IS_THIS, attempt.c.fate == Fate.SENDING)
            those = [this(one) for one in self._ambiguous]
            connection.execute(changed.values(fate=Fate.AMBIGUOUS), those)
        if self._intents:
            connection.execute(insert(attempt), self._intents)
            connection.execute(_COUNTED, self._counts())
        self._forget_unused(connection)

    def _counts(self) -> list[dict[str, Any]]:
        keys = {row["key"] for row in self._intents}
        return [{"this_key": key, "count": self.by_key[key].count} for key in sorted(keys)]

    def _forget_unused(self, connection: Connection) -> None:
        """Delete the new keys under which nothing is bought."""
        unused = [key for key in self.made if not self.by_key[key].attempts]
        if unused:
            connection.execute(
                delete(generation)
                .where(among(connection, generation.c.key, unused))
                .where(~exists().where(file.c.key == generation.c.key))
            )


_COUNTED = (
    update(generation)
    .where(generation.c.key == bindparam("this_key"))
    .values(attempts=bindparam("count"))
)


def open_keys(connection: Connection, keys: Iterable[str]) -> LockedKeys:
    """Lock some keys, which are made if they are new, and read their attempts."""
    wanted = sorted(set(keys))
    made = make_keys(connection, wanted)
    locked = lock_keys(connection, wanted)
    while missing := [key for key in wanted if key not in locked]:
        # Another process made it, refused its purchase, and has deleted it again.
        made |= make_keys(connection, missing)
        locked |= lock_keys(connection, missing)
    return LockedKeys(_opened(connection, locked, made), made)


def _opened(
    connection: Connection, locked: Mapping[str, Counts], made: set[str]
) -> dict[str, LockedKey]:
    known = set(locked) - made
    attempts = attempts_of_keys(connection, known) if known else {}
    return {key: LockedKey(attempts.get(key, []), *counts) for key, counts in locked.items()}


@dataclass(frozen=True)
class Sending:
    """An owner that is about to send.

    Args:
        mine: The attempt, as its claim gave it.
        lease_seconds: How long its owner counts as alive from now on.
        run: Who claimed it.
    """

    mine: Attempt
    lease_seconds: float
    run: Run


def was_cancelled(run: Run) -> RunCancelledError:
    """The error for a flow run that is known to be cancelled."""
    return RunCancelledError(f"The flow run {run.flow_run_id} was cancelled.")


def _still_needed(connection: Connection, those: Sequence[Sending]) -> list[Sending]:
    """The owners whose keys have no request by another attempt since the claim.

    A consent to replace a request that was not found is void once the request has turned up.
    """
    found = _got(connection, {each.mine.key for each in those}).all()
    return [
        each
        for each in those
        if not any(
            key == each.mine.key
            and number != each.mine.number
            and submitted_at >= each.mine.intended_at
            for key, number, submitted_at in found
        )
    ]


@prepared
def _got(keys: Texts) -> Any:
    """The requests of some keys that may have cost money."""
    return select(attempt.c.key, attempt.c.number, attempt.c.submitted_at).where(
        keys.have(attempt.c.key),
        attempt.c.submitted_at.is_not(None),
        attempt.c.billed.is_distinct_from(Billed.NO),
    )


def _mark_sending(connection: Connection, those: Sequence[Sending]) -> set[str | None]:
    """Write it; returns the owners whose attempts were still theirs."""
    begun: set[str | None] = set()
    for seconds in {each.lease_seconds for each in those}:
        mine = [each.mine for each in those if each.lease_seconds == seconds]
        owners = [one.owner for one in mine if one.owner]
        keys = [one.key for one in mine]
        begun |= set((_beginning(connection, keys, owners=owners, seconds=seconds)).scalars())
    return begun


@prepared
def _beginning(keys: Texts) -> Any:
    # `sending` too: a proxy gets a request of its own first, so one POST asks twice.
    held = attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING])
    # The owner's name is unique, but the index is on the key.
    owned = keys.have(attempt.c.key) & keys.named("owners").have(attempt.c.owner)
    return (
        update(attempt)
        .where(owned, held, attempt.c.lease_until > database_now())
        .values(
            fate=Fate.SENDING,
            sent_at=database_now(),
            lease_until=database_now() + bindparam("seconds", type_=Double),
        )
        .returning(attempt.c.owner)
    )
