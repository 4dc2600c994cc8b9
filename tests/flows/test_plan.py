"""What a batch would cost, told before anything is spent."""

from __future__ import annotations

from decimal import Decimal

from batches import carry, shots
from pydantic import SecretStr

from prefect_hailuo import BatchItem, Budget, FalCredentials, Hailuo02ProTextToVideo
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.flows.plan import ModelPlan, Plan, make_plan

REAL = FalCredentials(api_key=SecretStr("id:secret"))


async def test_only_what_is_not_there_costs_anything(tiny: FalEmulator) -> None:
    """What the ledger has stored is not bought again, and nothing is spent on finding that out."""
    carry(tiny, shots(2))
    items = [BatchItem(input=each) for each in shots(5)]
    plan = await make_plan(items, credentials=tiny.credentials(), repeated=3)
    [part] = plan.models
    assert (part.videos, part.there, part.to_buy, part.cost_usd) == (5, 2, 3, Decimal("1.44"))
    assert str(plan) == "3 of 5 to buy, for nothing (at fal, about $1.44)"
    assert "Rows that repeat another: 3; they are made once." in plan.lines()
    assert "| hailuo-02-pro | 5 | 2 | 0 | 0 | 0 | 3 | $1.44 |" in plan.markdown()
    assert tiny.charged == 2


async def test_it_shows_the_first_prompts(tiny: FalEmulator) -> None:
    """So a person sees that a header, or another file, is about to be bought; never as Markdown."""
    prompts = ["<img src=x>", "word " * 100, *(f"Shot {n}." for n in range(7))]
    items = [BatchItem(input=Hailuo02ProTextToVideo(prompt=each)) for each in prompts]
    plan = await make_plan(items, credentials=tiny.credentials())
    lines = plan.text().splitlines()
    assert lines[-6] == "  1. '<img src=x>'" and len(lines[-5]) <= 110
    assert lines[-1] == "  and 4 more"
    assert "> 1. \\<img src=x\\>" in plan.markdown()


def test_a_plan_of_the_first_release_is_read() -> None:
    """It has no prompts."""
    plan = Plan(realm="fal")
    state = plan.__getstate__()
    old = {**state, "__dict__": {k: v for k, v in state["__dict__"].items() if k != "prompts"}}
    read = Plan.model_construct()
    read.__setstate__(old)
    assert (read.prompts, read.text()) == ((), plan.text())


async def test_it_is_held_against_the_budget() -> None:
    """What is left of the scope's limits; what passes them is said beforehand."""
    await Budget(scope="acme", total_usd=Decimal(1), per_day_usd=Decimal(5)).aapply("fal")
    items = [BatchItem(input=each) for each in shots(3)]
    plan = await make_plan(items, credentials=REAL, budget="acme")
    assert plan.beyond is not None
    assert (plan.beyond.period, plan.beyond.left_usd) == ("total", Decimal(1))
    assert plan.lines()[1].startswith("The budget 'acme' has $1.00 left of $1.00 (total)")
    enough = await make_plan(items[:2], credentials=REAL, budget="acme")
    assert enough.beyond is None
    assert enough.lines()[1].endswith("left, which is enough.")


async def test_a_limit_that_the_ledger_does_not_have_yet_counts_too() -> None:
    """It becomes the scope's with the first purchase."""
    payer = Budget(scope="new", total_usd=Decimal("0.48"))
    items = [BatchItem(input=Hailuo02ProTextToVideo(prompt=each)) for each in ("a", "b")]
    assert (await make_plan(items, credentials=REAL, budget=payer)).beyond is not None
    assert (await make_plan(items[:1], credentials=REAL, budget=payer)).beyond is None


def test_what_has_no_known_price_is_counted_apart() -> None:
    """The sum does not hide it."""
    part = ModelPlan(
        model="new", videos=2, there=0, under_way=0, to_buy=2, unclear=0, failed=0,
        cost_usd=Decimal("0.49"), unpriced=1,
    )  # fmt: skip
    plan = Plan(realm="fal", models=(part,))
    assert str(plan) == "2 of 2 to buy, for about $0.49, and 1 of unknown price"
    assert "| $0.49 and 1 unknown |" in plan.table()
