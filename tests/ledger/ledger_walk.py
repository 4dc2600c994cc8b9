"""The random walk: workers, a person and fal itself, interleaved by a seed, over a real ledger."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace

from ledger_ground import FOX, PRICE, purchase
from ledger_walk_bill import BrokenPromiseError, check_bill
from ledger_walk_fal import Fal
from ledger_walk_ground import Actor, Ground
from ledger_walk_ledger import Rooms
from ledger_walk_people import Canceller, Decider
from ledger_walk_workers import Worker

from prefect_hailuo.ledger.attempt import Limits, Purchase, Run
from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo

OWL = Hailuo23ProTextToVideo(prompt="An owl lands.")

KEYS = {"fox 0": (FOX, "0"), "fox 1": (FOX, "1"), "fox 2": (FOX, "2"), "owl": (OWL, "0")}
"""Three takes of one body, whose requests nobody can tell apart, and another."""

TABLES = ("file", "attempt", "generation", "waiter", "cancelled_run", "budget")

AGE = """UPDATE hailuo_attempt SET lease_until = lease_until - :s, intended_at = intended_at - :s,
sent_at = sent_at - :s"""

MOST_WORKERS = 6
MOST_STEPS = 1_000

ENDS = {
    *("stored", "parked", "done", "called off", "AbandonedError", "BudgetError"),
    *("ContentPolicyError", "LedgerError", "OtherAccountError", "RateLimitedError"),
    *("RequestCancelledError", "RunCancelledError"),
}
"""How a worker may end that nobody killed: with the video, or with an error that says why not."""

Move = Callable[[], Awaitable[str]]


class Walk:
    """One interleaving.

    Args:
        ledger: A ledger in an SQLite file, whatever is in it.
        seed: What everything that is left to chance goes by.
    """

    def __init__(self, ledger: Rooms, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a walk has no secrets
        self.fal = Fal(self.chance)
        self.ground = Ground(ledger, self.fal)
        self.limit = self.chance.choice([None, 1, 2, 3, 5])
        self.workers: list[Actor] = []
        self.steps: list[str] = []
        self._file = ledger.file
        self._called = 0

    async def go(self, steps: int) -> None:
        """Walk, and look at the bill after each step.

        Raises:
            BrokenPromiseError: Something was bought twice, lost, or bought over a budget.
        """
        await self._begin()
        moves: dict[Move, int] = {
            self._advance: 60,
            self._start: 13,
            self._kill: 6,
            self._freeze: 7,
            self._let_time_pass: 7,
            self._let_fal_work: 12,
            self._cancel: 5,
            self._decide: 6,
        }
        for _ in range(steps):
            [move] = self.chance.choices(list(moves), list(moves.values()))
            await self._do(move)
        await self._come_to_rest()

    async def _begin(self) -> None:
        await self.ground.ledger.claims.latest("any")  # connects
        with closing(_connect(self._file)) as connection, connection:
            for table in TABLES:
                connection.execute(f"DELETE FROM hailuo_{table}")  # noqa: S608
        if self.limit:
            limits = Limits(total_usd=self.limit * PRICE)
            await self.ground.ledger.budgets.put("fal", "default", limits)

    async def _do(self, move: Move) -> None:
        self.steps.append(await move())
        check_bill(self._file, self.fal, self.ground.consents, self.limit)

    async def _advance(self) -> str:
        awake = [each for each in self.workers if not each.frozen]
        if not awake:
            return await self._start()
        return await self._step(self.chance.choice(awake))

    async def _step(self, worker: Actor) -> str:
        done = await worker.step()
        if worker.end is not None:
            self.workers.remove(worker)
        if worker.end not in {None, *ENDS}:
            raise BrokenPromiseError(f"a worker ended with {worker.end}")
        return f"{worker.purchase.waiter} {done}"

    async def _start(self) -> str:
        if len(self.workers) >= MOST_WORKERS:
            return "nobody starts"
        asked = self._purchase(self._key(), "rival" if self.chance.random() < 0.1 else "studio")
        await self.ground.reinstate(asked.run)
        self.workers.append(Worker(self.ground, asked, self.chance.random() < 0.15))
        return f"{asked.waiter} starts"

    async def _kill(self) -> str:
        if not self.workers:
            return "nobody is killed"
        dead = self.workers.pop(self.chance.randrange(len(self.workers)))
        return f"{dead.purchase.waiter} is killed"

    async def _freeze(self) -> str:
        if not self.workers:
            return "nobody freezes"
        worker = self.chance.choice(self.workers)
        worker.frozen = not worker.frozen
        return f"{worker.purchase.waiter} {'freezes' if worker.frozen else 'wakes up'}"

    async def _let_time_pass(self) -> str:
        seconds = self.chance.choice([1, 10, 46, 200])
        with closing(_connect(self._file)) as connection, connection:
            connection.execute(AGE, {"s": seconds})
        self.fal.let_pass(seconds)
        return f"{seconds} s pass"

    async def _let_fal_work(self) -> str:
        self.fal.work()
        return "fal works"

    async def _cancel(self) -> str:
        asked = self._somebody()
        self.workers.append(Canceller(self.ground, asked))
        return f"{asked.run.flow_run_id} is cancelled: {await self._step(self.workers[-1])}"

    async def _decide(self) -> str:
        self.workers.append(Decider(self.ground, self._somebody()))
        return await self._step(self.workers[-1])

    async def _come_to_rest(self) -> None:
        """Everybody wakes up, nothing goes wrong any more, and every key is asked for once more."""
        self.fal.calm = True
        for worker in self.workers:
            worker.frozen = False
        self.workers += [Worker(self.ground, self._purchase(key)) for key in KEYS]
        for worker in self.workers:
            await self.ground.reinstate(worker.purchase.run)
        while self.workers:
            await self._do(self._rest)
            if len(self.steps) > MOST_STEPS:
                raise BrokenPromiseError("they never come to rest")

    async def _rest(self) -> str:
        self.fal.finish()
        if self.chance.random() < 0.1:
            return await self._let_time_pass()
        return await self._step(self.chance.choice(self.workers))

    def _somebody(self) -> Purchase:
        """The purchase of somebody who is there, if anybody is."""
        purchases = [each.purchase for each in self.workers if each.purchase.account == "studio"]
        return self.chance.choice(purchases or [self._purchase(self._key())])

    def _key(self) -> str:
        return self.chance.choice(list(KEYS))

    def _purchase(self, key: str, account: str = "studio") -> Purchase:
        given, take = KEYS[key]
        self._called += 1
        named = purchase(key, body=given.body(), take=take, account=account)
        run = Run(f"run {self.chance.choice('ab')} of {key}")
        return replace(named, waiter=f"worker {self._called} ({key})", run=run)


def _connect(file: str) -> sqlite3.Connection:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA synchronous = OFF")
    return connection
