"""What the random walk's actors share, and how they go on: step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from ledger_walk_bill import BrokenPromiseError
from ledger_walk_fal import Fal
from ledger_walk_ledger import Rooms

from prefect_hailuo.errors import HailuoError
from prefect_hailuo.ledger.attempt import Attempt, Purchase, Run

Steps = AsyncIterator[str]


@dataclass
class Ground:
    """What all actors of a walk share."""

    ledger: Rooms
    fal: Fal
    consents: set[tuple[str, int]] = field(default_factory=set)
    """The attempts that somebody allowed to replace."""

    cancelled: set[str] = field(default_factory=set)
    """The flow runs that are known to be cancelled."""

    def happens(self, chance: float) -> bool:
        """Whether something that goes wrong once in a while does so now."""
        return not self.fal.calm and self.fal.chance.random() < chance

    async def consent(self, one: Attempt) -> None:
        """Allow another purchase in place of one that is not found, and remember it.

        Raises:
            BrokenPromiseError: It is allowed though its request has turned up.
        """
        claims = self.ledger.claims
        now = await claims.attempt(one.key, one.number)
        if not await claims.consent(one.key, one.number, unfound=True):
            return
        if now is None or now.request_id is not None:
            raise BrokenPromiseError(f"{one.key} may be replaced though it was found")
        self.consents.add((one.key, one.number))

    async def withdraw(self, run: Run) -> list[Attempt]:
        """Learn that a flow run was cancelled."""
        self.cancelled.update(run.ids)
        return await self.ledger.waiters.withdraw(run.ids)

    async def reinstate(self, run: Run) -> None:
        """Let a flow run run again, whatever was known of it."""
        self.cancelled.difference_update(run.ids)
        await self.ledger.waiters.reinstate(run.ids)


class Actor:
    """A process that may freeze or die between its steps.

    Args:
        ground: What it shares with the others.
        purchase: What it is about.
    """

    def __init__(self, ground: Ground, purchase: Purchase) -> None:
        self.ground = ground
        self.purchase = purchase
        self.frozen = False
        self.end: str | None = None
        self._life = self._live()

    async def step(self) -> str:
        """Do what comes next."""
        try:
            return await anext(self._life)
        except StopAsyncIteration:
            self.end = self.end or "done"
        except HailuoError as error:
            self.end = type(error).__name__
        return self.end

    def _live(self) -> Steps:
        """All that it does; each `yield` is the end of a step."""
        raise NotImplementedError
