"""Those who want no video in the random walk: who cancels a flow run, and who decides."""

from __future__ import annotations

from ledger_walk_ground import Actor, Steps

from prefect_hailuo.errors import AbandonedError
from prefect_hailuo.ledger.attempt import Fate


class Canceller(Actor):
    """A watcher that learned of a cancelled flow run, as `engine.road.withdraw`."""

    async def _live(self) -> Steps:
        waiters = self.ground.ledger.waiters
        for one in await self.ground.withdraw(self.purchase.run):
            yield f"is to cancel {one.request_id}"
            if one.account != self.purchase.account or not await waiters.is_unwanted(one.key):
                continue  # another's, or somebody wants it again
            answer = self.ground.fal.cancel(one.request_id or "")
            yield f"was told {answer}"
            await waiters.record_cancellation(one, answer)


class Decider(Actor):
    """A person who looks at an attempt that is lost, thinks, and decides, as `Resolution`."""

    async def _live(self) -> Steps:
        ledger, key = self.ground.ledger, self.purchase.key
        one = await ledger.claims.latest(key)
        if one is None or one.fate is not Fate.AMBIGUOUS:
            return
        yield f"looks at attempt {one.number} of {key}"
        while self.ground.happens(0.8):
            yield f"thinks about {key}"
        if self.ground.fal.chance.random() < 0.7:
            await self.ground.consent(one)
            yield f"allows another attempt at {key}"
        else:
            await ledger.records.abandoned(one, AbandonedError("Given up."))
            yield f"gives {key} up"
