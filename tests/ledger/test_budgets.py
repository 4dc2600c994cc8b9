"""Budgets: checked and reserved with the intent, so that no two claims share what is left."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from uuid import uuid4

import pytest
from databases import holding, run_sql
from ledger_ground import (
    FOX,
    PRICE,
    Prepare,
    attempts_of,
    decided,
    end_leases,
    failed,
    failed_by,
    intended,
    latest,
    ledger_at,
    purchase,
    sending,
    stored,
    submitted,
    succeeded,
)
from roads import generate

from prefect_hailuo import Budget
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import (
    BudgetError,
    ConfigurationError,
    ContentPolicyError,
    RateLimitedError,
    SubmitUnknownError,
)
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.ledger.attempt import Attempt, Limits, Purchase
from prefect_hailuo.ledger.claims import LEASE_SECONDS
from prefect_hailuo.ledger.ledger import Ledger

ONE = Limits(total_usd=PRICE)
"""A budget for one video."""


async def left(ledger: Ledger, scope: str = "default") -> dict[str, Decimal]:
    """What is left of each of a scope's limits."""
    allowances = await ledger.budgets.allowances("fal", scope)
    return {each.period: each.left_usd for each in allowances}


def move_intents(url: str, to: datetime) -> None:
    """Let everything have been intended at another time."""
    run_sql(url, f"UPDATE hailuo_attempt SET intended_at = {to.timestamp()}")  # noqa: S608


def today() -> datetime:
    """When this day began, UTC."""
    return datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)


async def test_going_over_raises_with_the_figures(each_ledger: str) -> None:
    """The second video is refused, and the error says what it costs, and what is left of what."""
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase("fox", scope="trailer", limits=ONE))
        with pytest.raises(BudgetError) as caught:
            await ledger.claims.claim(purchase("owl", scope="trailer"))
    assert "$0.49" in caught.value.message and "'trailer'" in caught.value.message
    assert "$0.00 left" in caught.value.message and "in all" in caught.value.message
    assert attempts_of(each_ledger, "owl") == []


async def test_claims_at_once_share_no_budget(each_ledger: str) -> None:
    """Twenty videos at once, over three engines, with a budget for two: two are bought."""
    async with (
        ledger_at(each_ledger) as one,
        ledger_at(each_ledger) as two,
        ledger_at(each_ledger) as three,
    ):
        await one.budgets.put("fal", "default", Limits(per_day_usd=2 * PRICE))
        engines = [one, two, three]
        racing = (decided(engines[n % 3], purchase(f"key {n}")) for n in range(20))
        decisions = await asyncio.gather(*racing)
        assert sorted(decisions) == ["BudgetError"] * 18 + ["Buy"] * 2
        assert await left(one) == {"day": 0}


PERIODS = [
    # The limit, how long before today's or this month's beginning, and whether it still counts.
    (Limits(per_day_usd=PRICE), "day", timedelta(0), True),
    (Limits(per_day_usd=PRICE), "day", timedelta(milliseconds=1), False),
    (Limits(per_month_usd=PRICE), "month", timedelta(0), True),
    (Limits(per_month_usd=PRICE), "month", timedelta(milliseconds=1), False),
    (Limits(total_usd=PRICE), "day", timedelta(days=1000), True),
]


@pytest.mark.parametrize(("limits", "period", "before", "counts"), PERIODS)
async def test_periods_are_utc_by_the_time_of_the_intent(
    ledger_url: str, limits: Limits, period: str, before: timedelta, counts: bool
) -> None:
    """Midnight UTC belongs to the new day and the new month; a total has no end."""
    async with ledger_at(ledger_url) as ledger:
        await stored(ledger, purchase("fox", limits=limits))
        beginning = today() if period == "day" else today().replace(day=1)
        move_intents(ledger_url, beginning - before)
        assert await decided(ledger, purchase("owl")) == ("BudgetError" if counts else "Buy")


async def test_every_limit_holds(each_ledger: str) -> None:
    """Room in the month is no help where the day is spent."""
    limits = Limits(per_day_usd=PRICE, per_month_usd=5 * PRICE, total_usd=9 * PRICE)
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase("fox", limits=limits))
        with pytest.raises(BudgetError, match="a day"):
            await ledger.claims.claim(purchase("owl"))
        assert await left(ledger) == {"day": 0, "month": 4 * PRICE, "total": 8 * PRICE}


async def ambiguous(ledger: Ledger, asked: Purchase) -> Attempt:
    """A POST whose answer was lost, and that was given up to a person's decision."""
    mine = await sending(ledger, asked)
    await ledger.records.answer_lost(mine, SubmitUnknownError("Lost."))
    await ledger.records.parked(mine, "nobody knows")
    return await latest(ledger, asked.key)


perhaps_charged = failed_by(ContentPolicyError("Flagged."))


@pytest.mark.parametrize(
    "stage",
    [intended, sending, ambiguous, submitted, succeeded, stored, perhaps_charged],
    ids=["intended", "sending", "parked", "submitted", "succeeded", "stored", "perhaps charged"],
)
async def test_money_is_reserved_until_it_is_known_to_be_free(
    ledger_url: str, stage: Prepare
) -> None:
    """From the intent on, also what is parked, and what may have been charged, takes its price."""
    async with ledger_at(ledger_url) as ledger:
        await stage(ledger, purchase("fox", limits=ONE))
        assert await decided(ledger, purchase("owl")) == "BudgetError"
        assert await left(ledger) == {"total": 0}


async def refused(ledger: Ledger, asked: Purchase) -> Attempt:
    """A POST that fal refused."""
    mine = await sending(ledger, asked)
    await ledger.records.refused(mine, RateLimitedError("Slowly."))
    return mine


async def removed(ledger: Ledger, asked: Purchase) -> Attempt:
    """A request that was taken from fal's queue."""
    one = await submitted(ledger, asked)
    await ledger.waiters.record_cancellation(one, Cancellation.REMOVED)
    return one


@pytest.mark.parametrize("stage", [refused, failed, removed], ids=["refused", "failed", "removed"])
async def test_what_cost_nothing_is_released(each_ledger: str, stage: Prepare) -> None:
    """Once it is known that fal charges nothing, somebody else may have the money."""
    async with ledger_at(each_ledger) as ledger:
        await stage(ledger, purchase("fox", limits=ONE))
        assert await left(ledger) == {"total": PRICE}
        assert await decided(ledger, purchase("owl")) == "Buy"


async def test_a_dead_owners_intent_is_released_when_it_is_found(each_ledger: str) -> None:
    """It counts until a claim finds it void; the retry may have its money."""
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase("fox", limits=ONE))
        end_leases(each_ledger)
        assert await decided(ledger, purchase("fox")) == "Buy"
        assert await left(ledger) == {"total": 0}


async def test_a_second_attempt_by_consent_needs_money_of_its_own(each_ledger: str) -> None:
    """The first may have been charged: both count."""
    async with ledger_at(each_ledger) as ledger:
        await ambiguous(ledger, purchase(limits=ONE))
        assert await ledger.claims.consent("fox", 1)
        assert await decided(ledger, purchase()) == "BudgetError"


async def test_a_limit_lives_with_its_scope(each_ledger: str) -> None:
    """A caller who believes in another limit is told both, and buys nothing."""
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase("fox", limits=ONE))
        with pytest.raises(ConfigurationError, match=r"total_usd=0\.49.*not per_day_usd=3"):
            await ledger.claims.claim(purchase("owl", limits=Limits(per_day_usd=Decimal(3))))
        assert attempts_of(each_ledger, "owl") == []
        await ledger.budgets.put("fal", "default", Limits(total_usd=2 * PRICE))
        assert await decided(ledger, purchase("owl")) == "Buy"
        assert await ledger.budgets.scopes("fal") == ["default"]


async def test_a_lowered_limit_holds_at_once(each_ledger: str) -> None:
    """Also below what is spent already: nothing is left then, not less than nothing."""
    async with ledger_at(each_ledger) as ledger:
        await stored(ledger, purchase("fox", limits=ONE))
        await ledger.budgets.put("fal", "default", Limits(total_usd=Decimal("0.10")))
        assert await left(ledger) == {"total": 0}
        assert await decided(ledger, purchase("owl")) == "BudgetError"
        assert await decided(ledger, purchase("fox")) == "Reuse"


async def test_an_unknown_price_is_refused_where_there_is_a_limit(each_ledger: str) -> None:
    """Nobody can say whether it fits; without a limit it is bought."""
    async with ledger_at(each_ledger) as ledger:
        await ledger.budgets.put("fal", "tight", Limits(total_usd=Decimal(100)))
        with pytest.raises(BudgetError, match="not known"):
            await ledger.claims.claim(purchase("fox", scope="tight", estimated_usd=None))
        assert await decided(ledger, purchase("fox", scope="wide", estimated_usd=None)) == "Buy"


async def test_scopes_and_realms_have_budgets_of_their_own(each_ledger: str) -> None:
    """What one spends is no other's; the emulator's purchases are none of fal's."""
    async with ledger_at(each_ledger) as ledger:
        await ledger.budgets.put("fal", "a", ONE)
        await ledger.budgets.put("fal", "b", ONE)
        await ledger.budgets.put("emulator", "a", ONE)
        bought = [purchase("1", scope="a"), purchase("2", scope="b")]
        bought.append(purchase("3", scope="a", realm="emulator"))
        assert [await decided(ledger, each) for each in bought] == ["Buy"] * 3
        assert await decided(ledger, purchase("4", scope="a")) == "BudgetError"


async def test_sums_are_exact(each_ledger: str) -> None:
    """Ten times a price with three decimals is ten times that price, to the microdollar."""
    price = Decimal("0.100001")
    async with ledger_at(each_ledger) as ledger:
        await ledger.budgets.put("fal", "default", Limits(total_usd=10 * price))
        for number in range(10):
            assert await decided(ledger, purchase(f"{number}", estimated_usd=price)) == "Buy"
        assert await left(ledger) == {"total": 0}
        assert await decided(ledger, purchase("more", estimated_usd=Decimal("0.000001"))) != "Buy"


def test_a_refused_purchase_sends_nothing(emulator: FalEmulator, tmp_path: Path) -> None:
    """Through the whole road, with a budget below the price."""

    with pytest.raises(BudgetError):
        generate(emulator, tmp_path, FOX, budget=Budget(scope="tight", total_usd=Decimal("0.01")))
    assert (emulator.charged, emulator.requests.get("submit", 0)) == (0, 0)


async def test_a_lease_begins_when_the_scopes_turn_has_come(postgresql_url: str) -> None:
    """Whoever waited long for a scope has as much time to send as any other."""
    async with ledger_at(postgresql_url) as ledger:
        await ledger.budgets.put("fal", "default", Limits(per_day_usd=Decimal(5)))
        held = "SELECT * FROM hailuo_budget FOR UPDATE"
        with holding(postgresql_url, held):
            claiming = asyncio.create_task(intended(ledger, purchase()))
            await asyncio.sleep(1.5)
            released = time.time()
        mine = await claiming
    assert mine.intended_at >= released - 0.2
    assert mine.lease_until >= released - 0.2 + LEASE_SECONDS


async def test_a_scope_that_is_named_must_have_a_limit(each_ledger: str) -> None:
    """Mistyped, or of the other realm: it would be unlimited. What is there already is had."""
    async with ledger_at(each_ledger) as ledger:
        await stored(ledger, purchase("old", scope="trailr"))
        await ledger.budgets.put("emulator", "trailer", ONE)
        for scope in ("trailr", "trailer", "trailer "):
            with pytest.raises(ConfigurationError, match="has no limit") as caught:
                await ledger.claims.claim(purchase("fox", scope=scope, is_scope_named=True))
            assert "prefect-hailuo budget set" in caught.value.cure
        assert attempts_of(each_ledger) == []
        assert await ledger.budgets.scopes("fal") == []
        named = purchase("old", scope="trailr", is_scope_named=True)
        assert await decided(ledger, named) == "Reuse"
        await ledger.budgets.put("fal", "trailer", ONE)
        assert await decided(ledger, purchase(scope="trailer", is_scope_named=True)) == "Buy"


async def test_a_limit_waits_for_claims_that_are_being_decided(postgresql_url: str) -> None:
    """A scope without a limit has a row too, which a claim locks, and others' claims share."""
    async with ledger_at(postgresql_url) as ledger:
        await intended(ledger, purchase("fox"))
        lock = "SELECT 1 / count(*) FROM (SELECT 1 FROM hailuo_budget FOR SHARE) AS locked"
        with holding(postgresql_url, lock):
            assert await decided(ledger, purchase("owl")) == "Buy"
            setting = asyncio.create_task(ledger.budgets.put("fal", "default", ONE))
            assert not (await asyncio.wait({setting}, timeout=0.5))[0]
        await setting
        assert await decided(ledger, purchase("elk")) == "BudgetError"


RACERS, ROUNDS, EACH = 6, 8, 4


def race_for(url: str, scopes: list[str], started: Barrier, name: int) -> list[str]:
    """Ask for some purchases in each scope, from a thread with a loop and an engine of its own."""

    async def ask() -> list[str]:
        decisions: list[str] = []
        async with ledger_at(url) as ledger:
            for scope in scopes:
                started.wait(60)
                keys = [f"{scope}-{name}-{number}" for number in range(EACH)]
                asked = (purchase(key, scope=scope) for key in keys)
                decisions += await asyncio.gather(*(decided(ledger, each) for each in asked))
        return decisions

    return asyncio.run(ask())


def limit_in(url: str, scopes: list[str], started: Barrier) -> list[tuple[Decimal, Decimal]]:
    """Set a limit in each scope meanwhile; what it is, and what was spent once it was set."""

    async def limit() -> list[tuple[Decimal, Decimal]]:
        seen: list[tuple[Decimal, Decimal]] = []
        async with ledger_at(url) as ledger:
            for number, scope in enumerate(scopes):
                usd = PRICE * (number % 4 * 3 + 1)
                started.wait(60)
                await asyncio.sleep(number % 3 * 0.005)
                await ledger.budgets.put("fal", scope, Limits(total_usd=usd))
                [allowance] = await ledger.budgets.allowances("fal", scope)
                seen.append((usd, allowance.spent_usd))
        return seen

    return asyncio.run(limit())


def test_a_limit_that_is_set_in_a_race_is_not_overrun(each_ledger: str) -> None:
    """A claim that does not see the limit is committed before it is set; later ones see it."""
    scopes, started = [f"scope-{number}" for number in range(ROUNDS)], Barrier(RACERS + 1)
    with ThreadPoolExecutor(RACERS + 1) as pool:
        limits = pool.submit(limit_in, each_ledger, scopes, started)
        racing = [
            pool.submit(race_for, each_ledger, scopes, started, name) for name in range(RACERS)
        ]
        decisions = [each for one in racing for each in one.result()]
    assert set(decisions) <= {"Buy", "BudgetError"} and "BudgetError" in decisions
    rows = run_sql(each_ledger, "SELECT scope, count(*) AS many FROM hailuo_attempt GROUP BY scope")
    bought = {row["scope"]: row["many"] * PRICE for row in rows}
    assert sum(bought.values()) == decisions.count("Buy") * PRICE
    for scope, (usd, spent) in zip(scopes, limits.result(), strict=True):
        assert bought.get(scope, 0) <= max(usd, spent), (scope, usd, spent)


async def test_claims_lock_the_scope_that_a_limit_is_set_for(postgresql_url: str) -> None:
    """While a limit is being set, a claim waits, and then knows it."""
    async with ledger_at(postgresql_url) as ledger:
        await stored(ledger, purchase("fox"))
        with holding(postgresql_url, "SELECT 1 FROM hailuo_budget FOR UPDATE"):
            claiming = asyncio.create_task(decided(ledger, purchase("owl")))
            assert not (await asyncio.wait({claiming}, timeout=0.5))[0]
        assert await claiming == "Buy"


async def test_a_block_is_applied_when_it_is_saved(each_ledger: str, prefect_server: None) -> None:
    """By Python, in the realm that the settings lead to; overwritten, it is the new limit."""
    name = f"trailer-{uuid4().hex}"
    await Budget(scope="trailer", total_usd=Decimal(5)).save(name)
    assert await Budget(scope="trailer", total_usd=PRICE).aleft() == {"total": 5}
    await Budget(scope="trailer ", total_usd=Decimal(7)).asave(name, overwrite=True)
    assert await Budget(scope="trailer", total_usd=PRICE).aleft() == {"total": 7}


def test_a_block_of_the_ui_is_applied_when_it_is_named(
    fal: FalEmulator, tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody called `apply`: the name of the saved block leads to its scope and its limits."""
    name = f"ui-{uuid4().hex}"
    monkeypatch.setattr(Budget, "apply", lambda self, realm="fal": None)
    Budget(scope="made-in-ui", total_usd=Decimal("0.50")).save(name)
    generate(fal, tmp_path, FOX, budget=name)
    with pytest.raises(BudgetError, match="made-in-ui"):
        generate(fal, tmp_path, FOX, budget=f"{name} ", take=1)
    with pytest.raises(ConfigurationError, match="has no limit"):
        generate(fal, tmp_path, FOX, budget="mistyped", take=1)
    assert fal.charged == 1
