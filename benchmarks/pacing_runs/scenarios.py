"""What fal may do with those who wait, as data."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

EXPECTED_SECONDS = 110.0
"""The catalogue's word for an endpoint, which the simulated requests have for a median."""


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Args:
        title: In words.
        at_once: How many requests fal runs at once; None: all.
        more_after: After how many seconds fal runs 40 at once instead; 0: never.
        median_seconds: How long they run.
        spread: The sigma of the logarithm of the durations; 0: all are equal.
        prior: What the catalogue expects, in true medians.
        slower_after: After what share of the requests fal becomes slower.
        slower_by: By what factor.
        steps_back: How often 200 requests of others are let in at the head of the queue.
        requeued: The share of runs that fal breaks off and queues again, at the end.
        drop_seconds: After how long, at random, a stream drops; 0: never.
        refused: Whether fal refuses all streams.
        others: How many requests of other people stand in the queue for one of ours.
        positions: Whether fal tells them.
        restart: Whether nobody waited until half had ended, and then all come back at once.
        second_by: A second endpoint, every other request: by what factor it is slower; 0: none.
    """

    title: str
    at_once: int | None = 40
    more_after: float = 0.0
    median_seconds: float = EXPECTED_SECONDS
    spread: float = 0.8
    prior: float = 1.0
    slower_after: float = 1.0
    slower_by: float = 3.0
    steps_back: int = 0
    requeued: float = 0.0
    drop_seconds: float = 0.0
    refused: bool = False
    others: float = 0.0
    positions: bool = True
    restart: bool = False
    second_by: float = 0.0

    def durations(self, count: int, seed: int) -> Iterator[float]:
        """Seconds of each request in turn."""
        chance = random.Random(seed)  # noqa: S311 - no secret
        for number in range(count):
            slower = self.slower_by if number >= self.slower_after * count else 1.0
            second = self.second_by if self.second_by and number % 2 else 1.0
            drawn = chance.lognormvariate(math.log(self.median_seconds), self.spread)
            yield drawn * slower * second


QUEUED = Scenario("queued, heavy tail")
SCENARIOS = {
    "queued": QUEUED,
    "short": replace(QUEUED, title="queued, much shorter than expected", median_seconds=5.0),
    "constant": Scenario("all run at once, equally long", at_once=None, spread=0.0),
    "parallel": Scenario("all run at once, heavy tail", at_once=None),
    "waves": Scenario("100 run at once, nearly equally long", at_once=100, spread=0.02),
    "prior-half": replace(QUEUED, title="the catalogue expects half", prior=0.5),
    "prior-twice": replace(QUEUED, title="the catalogue expects twice as much", prior=2.0),
    "constant-half": Scenario(
        "all at once, equal, expected half", at_once=None, spread=0, prior=0.5
    ),
    "slower": replace(QUEUED, title="fal becomes 3 × slower midway", slower_after=0.5),
    "backwards": replace(
        QUEUED, title="the queue goes back, runs are queued again", steps_back=20, requeued=0.02
    ),
    "drops": replace(QUEUED, title="streams drop at random", drop_seconds=60.0),
    "no-streams": replace(QUEUED, title="fal refuses streams", refused=True),
    "no-streams-short": replace(
        QUEUED, title="fal refuses streams, all are short", refused=True, median_seconds=5.0
    ),
    "faster": replace(
        QUEUED, title="2 at once, and 40 after an hour", at_once=2, more_after=3600.0
    ),
    "others": replace(QUEUED, title="two of three in the queue are others'", others=2.0),
    "no-positions": replace(QUEUED, title="fal tells no positions", positions=False),
    "restart": replace(QUEUED, title="all come back after a restart", restart=True),
    "two": replace(QUEUED, title="two endpoints, one 4 × slower", second_by=4.0),
}
