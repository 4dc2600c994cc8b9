"""Ledgers with a mistake in them, each a tempting one, which the random walk must find."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from prefect_hailuo.errors import HailuoError, UnreachableError
from prefect_hailuo.ledger.attempt import NOBODY, Attempt, Decision, Purchase, Run
from prefect_hailuo.ledger.claims import Claims
from prefect_hailuo.ledger.records import Records
from prefect_hailuo.ledger.search import Finding, Reconciling
from prefect_hailuo.ticket import Ticket

VOID_SENDING = """
UPDATE hailuo_attempt SET fate = 'failed', billed = 'no', cost_usd = 0
WHERE fate = 'sending' AND lease_until < (julianday('now') - 2440587.5) * 86400.0
"""

KEEP_CONSENT = "UPDATE hailuo_generation SET consented = attempts WHERE consented > 0"

FREE_PARKED = "UPDATE hailuo_attempt SET cost_usd = 0 WHERE parked_at IS NOT NULL"

FORGET = "UPDATE hailuo_attempt SET fate = 'failed', billed = 'no' WHERE fate = 'ambiguous'"


class TakesTheDeadForSilent(Claims):
    """The end of a lease counts as proof that nothing was sent."""

    async def claim(self, purchase: Purchase) -> Decision:
        await self._database.write(lambda each: each.execute(text(VOID_SENDING)))
        return await super().claim(purchase)


class SendsWhateverBecameOfIt(Claims):
    """Whoever claimed once sends, however long that was ago."""

    async def begin_sending(self, mine: Attempt, seconds: float, run: Run = NOBODY) -> bool:
        await super().begin_sending(mine, seconds, run)
        return True


class SendsForTheCancelled(Claims):
    """Whether its run was cancelled is asked when it claims, and not again."""

    async def begin_sending(self, mine: Attempt, seconds: float, run: Run = NOBODY) -> bool:
        return await super().begin_sending(mine, seconds)


class ReplacesWhatWasFound(Claims):
    """A consent to replace what is not found is good though it has turned up."""

    async def consent(self, key: str, number: int, *, unfound: bool = False) -> bool:
        return await super().consent(key, number)


class ConsentsForEver(Claims):
    """A consent once given is good for every later attempt."""

    async def claim(self, purchase: Purchase) -> Decision:
        await self._database.write(lambda each: each.execute(text(KEEP_CONSENT)))
        return await super().claim(purchase)


class TakesSilenceForRefusal(Records):
    """A lost answer counts as none."""

    async def answer_lost(self, mine: Attempt, error: HailuoError) -> None:
        await self.refused(mine, UnreachableError(error.message))


class DropsLateTickets(Records):
    """Whoever comes too late with a ticket is not listened to."""

    async def accepted(self, mine: Attempt, ticket: Ticket) -> Attempt:
        await self._database.write(lambda each: each.execute(text(FORGET)))
        return await super().accepted(mine, ticket)


class FreesWhatIsParked(Records):
    """What is parked takes nothing of the budget any more."""

    async def parked(self, one: Attempt, because: str) -> bool:
        done = await super().parked(one, because)
        await self._database.write(lambda each: each.execute(text(FREE_PARKED)))
        return done


class TakesAbsenceForProof(Reconciling):
    """What the history does not list was never bought."""

    async def look(self, one: Attempt) -> Finding:
        finding = await super().look(one)
        if not finding.adopted:
            await self._database.write(lambda each: each.execute(text(FORGET)))
        return finding


@dataclass(frozen=True)
class Mistake:
    """One mistake, and the word by which the walk is to name what it leads to.

    A rare one is looked for from a walk on that is near one which finds it, to save time.
    """

    told: str
    claims: type[Claims] = Claims
    records: type[Records] = Records
    search: type[Reconciling] = Reconciling
    first_seed: int = 0


MISTAKES = {
    "takes the dead for silent": Mistake("bought|out of reach", claims=TakesTheDeadForSilent),
    "sends whatever became of it": Mistake("bought|out of reach", claims=SendsWhateverBecameOfIt),
    "sends for the cancelled": Mistake("cancelled run", claims=SendsForTheCancelled, first_seed=30),
    "replaces what was found": Mistake("was found", claims=ReplacesWhatWasFound, first_seed=43),
    "consents for ever": Mistake("bought", claims=ConsentsForEver, first_seed=63),
    "takes silence for refusal": Mistake("bought|out of reach", records=TakesSilenceForRefusal),
    "drops late tickets": Mistake("bought|out of reach", records=DropsLateTickets),
    "frees what is parked": Mistake("budget", records=FreesWhatIsParked),
    "takes absence for proof": Mistake("bought|out of reach", search=TakesAbsenceForProof),
}
