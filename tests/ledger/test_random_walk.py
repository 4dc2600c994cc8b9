"""A random walk over the ledger: workers that die, freeze, wake up late and lose answers.

Each walk is one interleaving, by its seed: up to six processes at once want one of four videos
(three of them takes of one body), for eight flow runs, on two accounts, some on a budget; at each
step one goes on, dies, freezes or wakes, time passes, fal works, fails, hides a request from its
history, the ledger's answer is lost, a flow run is cancelled, or a person looks, thinks, and allows
another attempt or gives one up. In the end all come to rest. After each step the ledger is held
against fal's bill: see `ledger_walk_bill`.

The test command makes 20 walks of some 93 steps each, and the campaign's sample 200, which takes
a minute. The whole campaign is 5,000 walks (seeds 0 to 4,999), some 450,000 steps, in half an hour:

    HAILUO_CAMPAIGN=full python -m pytest -m campaign tests/ledger/test_random_walk.py -s
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from ledger_walk import Walk
from ledger_walk_bill import BrokenPromiseError
from ledger_walk_ledger import Rooms, walked_ledger
from ledger_walk_mistakes import MISTAKES

CAMPAIGN_WALKS = 5_000 if os.environ.get("HAILUO_CAMPAIGN") == "full" else 200

WALKS = [
    20,
    pytest.param(CAMPAIGN_WALKS, marks=[pytest.mark.campaign, pytest.mark.timeout(0)]),
]

STEPS = 60
"""Before all come to rest, which takes about thirty more."""

MOST_WALKS_TO_A_MISTAKE = 200

SEEN = (
    *("claims: Buy", "claims: Wait", "claims: Reconcile", "claims: Attach", "claims: Reuse"),
    *("lost the answer", "is killed", "freezes", "wakes up", "stored", "parked", "BudgetError"),
    *("OtherAccountError", "may not send", "allows another", "was told", "was refused"),
)
"""What a sample of walks goes through, or it shows little."""


async def walk(ledger: Rooms, seed: int) -> list[str]:
    """One walk; its steps."""
    walking = Walk(ledger, seed)
    try:
        await walking.go(STEPS)
    except BrokenPromiseError as error:
        told = "\n  ".join(walking.steps)
        raise BrokenPromiseError(f"{error}, in the walk of seed {seed}:\n  {told}") from None
    return walking.steps


@pytest.mark.parametrize("walks", WALKS)
async def test_no_walk_breaks_a_promise(ledger_url: str, walks: int) -> None:
    """Nothing is bought twice unasked, nothing paid for is out of reach, no budget is exceeded."""
    steps: list[str] = []
    async with walked_ledger(ledger_url) as ledger:
        for seed in range(walks):
            steps += await walk(ledger, seed)
    print(f"{walks} interleavings, {len(steps)} steps")  # noqa: T201 - what a campaign is for
    seen = Counter(word for word in SEEN for step in steps if word in step)
    assert set(seen) == set(SEEN), seen


FIRST_MISTAKES = 3
"""How many are looked for each time; the others in the campaign."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if number < FIRST_MISTAKES else pytest.mark.campaign)
        for number, name in enumerate(MISTAKES)
    ],
)
async def test_the_walk_finds_a_mistake(ledger_url: str, name: str) -> None:
    """A ledger that is wrong in one point, each time another, is found out within a few walks."""
    mistake = MISTAKES[name]
    rooms = walked_ledger(ledger_url, mistake.claims, mistake.records, mistake.search)
    async with rooms as ledger:
        with pytest.raises(BrokenPromiseError, match=mistake.told):
            for seed in range(MOST_WALKS_TO_A_MISTAKE):
                await walk(ledger, mistake.first_seed + seed)


async def test_a_walk_is_the_same_each_time(ledger_url: str) -> None:
    """A seed is all it takes to see again what went wrong."""
    async with walked_ledger(ledger_url) as ledger:
        assert await walk(ledger, 7) == await walk(ledger, 7)
