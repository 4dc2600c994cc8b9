"""A claim: one transaction decides whether anything is bought, and only one caller may."""

from __future__ import annotations

import asyncio
import time

import pytest
from databases import run_sql
from ledger_ground import (
    PRICE,
    attempts_of,
    claimed,
    decided,
    end_leases,
    failed,
    intended,
    latest,
    ledger_at,
    purchase,
    sending,
    stored,
    submitted,
)

from prefect_hailuo.errors import FalFaultError, RateLimitedError, RunCancelledError
from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.ledger.attempt import MOST_ATTEMPTS, NEVER_SENT, Fate, Run
from prefect_hailuo.ledger.claims import LEASE_SECONDS

PASS = "UPDATE hailuo_attempt SET lease_until = lease_until -"
"""Lets seconds of every lease pass."""


async def test_the_first_claim_buys_and_all_others_wait(each_ledger: str) -> None:
    """Of many claims on one key at once, from several engines, exactly one may POST."""
    async with ledger_at(each_ledger) as one, ledger_at(each_ledger) as other:
        racing = (
            decided(ledger, purchase(waiter=f"w{n}{ledger is one}"))
            for n in range(10)
            for ledger in (one, other)
        )
        decisions = await asyncio.gather(*racing)
        assert sorted(decisions) == ["Buy"] + ["Wait"] * 19
    assert len(attempts_of(each_ledger)) == 1


async def test_an_intent_says_all_that_was_asked_for(each_ledger: str) -> None:
    """The exact body, the price, the account and the labels are in the row before the POST."""
    asked = purchase(
        labels={"shot": "7"}, place="disk", credentials="studio-key", take="2026-11-20"
    )
    async with ledger_at(each_ledger) as ledger:
        mine = await intended(ledger, asked)
        assert (mine.body, mine.body_digest) == (asked.body, asked.body_digest)
        assert (mine.estimated_usd, mine.cost_usd) == (PRICE, None)
        assert (mine.account, mine.credentials, mine.place) == ("studio", "studio-key", "disk")
        assert (mine.take, mine.labels, mine.fate) == ("2026-11-20", {"shot": "7"}, Fate.INTENDED)
        assert mine == await latest(ledger)


async def test_leases_are_on_the_databases_clock(each_ledger: str) -> None:
    """A lease ends by the database's clock alone: it is what the claim compares with."""
    async with ledger_at(each_ledger) as ledger:
        before = time.time()
        mine = await intended(ledger, purchase())
        assert mine.lease_until == pytest.approx(before + LEASE_SECONDS, abs=5)
        run_sql(each_ledger, f"{PASS} {LEASE_SECONDS - 8}")
        assert await decided(ledger, purchase()) == "Wait"
        run_sql(each_ledger, f"{PASS} 8")
        assert await decided(ledger, purchase()) == "Buy"


async def test_a_lease_reaches_past_the_posts_hard_limit() -> None:
    """Whoever begins to send has done so, or failed, before his lease ends."""
    assert LEASE_SECONDS > SUBMIT_SECONDS


async def test_an_intent_whose_owner_died_is_void(each_ledger: str) -> None:
    """Nothing was sent, so it cost nothing; a new attempt is bought, and both are on record."""
    async with ledger_at(each_ledger) as ledger:
        dead = await intended(ledger, purchase())
        end_leases(each_ledger)
        alive = await intended(ledger, purchase())
        assert (dead.number, alive.number) == (1, 2)
    void = attempts_of(each_ledger)[0]
    assert (void["fate"], void["billed"], void["cost_usd"]) == ("failed", "no", 0)


async def test_a_void_intents_owner_can_send_no_more(each_ledger: str) -> None:
    """He slept through his lease: what he would send now would be a second purchase."""
    async with ledger_at(each_ledger) as ledger:
        sleeper = await intended(ledger, purchase())
        end_leases(each_ledger)
        assert not await ledger.claims.begin_sending(sleeper, SUBMIT_SECONDS)
        await intended(ledger, purchase())
        assert not await ledger.claims.begin_sending(sleeper, SUBMIT_SECONDS)
        await ledger.records.refused(sleeper, NEVER_SENT)
        assert (await latest(ledger)).fate is Fate.INTENDED


async def test_a_post_whose_owner_died_is_never_taken_for_unsent(each_ledger: str) -> None:
    """The end of a lease at `sending` leads to a search, every time, and not to a purchase."""
    async with ledger_at(each_ledger) as ledger:
        await sending(ledger, purchase())
        assert await decided(ledger, purchase()) == "Wait"
        end_leases(each_ledger)
        assert [await decided(ledger, purchase()) for _ in range(3)] == ["Reconcile"] * 3
        assert (await latest(ledger)).fate is Fate.AMBIGUOUS


async def test_sending_renews_the_lease(each_ledger: str) -> None:
    """From the first byte on, an owner has a whole lease, however long it took to connect."""
    async with ledger_at(each_ledger) as ledger:
        mine = await intended(ledger, purchase())
        run_sql(each_ledger, f"{PASS} 40")
        assert await ledger.claims.begin_sending(mine, 100.0)
        one = await latest(ledger)
        assert one.sent_at is not None
        assert one.lease_until - one.sent_at == pytest.approx(150, abs=1)


async def test_only_the_owner_may_send(each_ledger: str) -> None:
    """Whoever claimed without being the buyer holds the same attempt, under another owner."""
    async with ledger_at(each_ledger) as ledger:
        mine = await intended(ledger, purchase())
        run_sql(each_ledger, "UPDATE hailuo_attempt SET owner = 'somebody else'")
        assert not await ledger.claims.begin_sending(mine, SUBMIT_SECONDS)
        assert (await latest(ledger)).fate is Fate.INTENDED


async def test_nothing_is_sent_that_nobody_wants(each_ledger: str) -> None:
    """All who waited were cancelled between the intent and the first byte."""
    run = Run(flow_run_id="run 1")
    async with ledger_at(each_ledger) as ledger:
        mine = await intended(ledger, purchase(run=run))
        await ledger.waiters.withdraw(run.ids)
        assert not await ledger.claims.begin_sending(mine, SUBMIT_SECONDS)


async def test_a_cancelled_run_buys_nothing(each_ledger: str) -> None:
    """Neither the run itself nor one that was started within it; until it runs again."""
    within = Run(flow_run_id="child", root_flow_run_id="parent")
    async with ledger_at(each_ledger) as ledger:
        await ledger.waiters.withdraw(["parent"])
        with pytest.raises(RunCancelledError):
            await ledger.claims.claim(purchase(run=within))
        assert await ledger.claims.latest("fox") is None
        await ledger.waiters.reinstate(within.ids)
        assert await decided(ledger, purchase(run=within)) == "Buy"


async def test_three_accepted_attempts_are_the_most(each_ledger: str) -> None:
    """A model that fails three times at no cost is not tried a fourth time unasked."""
    async with ledger_at(each_ledger) as ledger:
        for _ in range(MOST_ATTEMPTS):
            await failed(ledger, purchase())
        with pytest.raises(FalFaultError, match="Out of order") as caught:
            await ledger.claims.claim(purchase())
        assert "--allow-one-resubmit" in caught.value.cure
        assert await ledger.claims.consent("fox", MOST_ATTEMPTS)
        for _ in range(MOST_ATTEMPTS):
            await failed(ledger, purchase())
        assert await decided(ledger, purchase()) == "FalFaultError"


async def test_attempts_that_fal_never_took_do_not_count(each_ledger: str) -> None:
    """Void intents and refused POSTs may be as many as they like."""
    async with ledger_at(each_ledger) as ledger:
        for _ in range(MOST_ATTEMPTS + 1):
            await intended(ledger, purchase())
            end_leases(each_ledger)
            refused = await sending(ledger, purchase())
            await ledger.records.refused(refused, RateLimitedError("Slowly."))
        assert await decided(ledger, purchase()) == "Buy"


async def test_another_accounts_request_is_not_touched(each_ledger: str) -> None:
    """It is neither polled, nor looked for, nor bought again, with a key that is not its own."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase("at fal"))
        await sending(ledger, purchase("lost"))
        end_leases(each_ledger)
        others = [
            await decided(ledger, purchase(key, account="rival")) for key in ("at fal", "lost")
        ]
        assert others == ["OtherAccountError"] * 2
        assert await decided(ledger, purchase("at fal")) == "Attach"


async def test_a_stored_video_serves_every_account(each_ledger: str) -> None:
    """And what failed at no cost on one account may be bought on another."""
    async with ledger_at(each_ledger) as ledger:
        await stored(ledger, purchase("stored"))
        await failed(ledger, purchase("failed"))
        assert await decided(ledger, purchase("stored", account="rival")) == "Reuse"
        assert await decided(ledger, purchase("failed", account="rival")) == "Buy"


async def test_a_voiding_and_a_sending_never_both_happen(each_ledger: str) -> None:
    """At the very end of a lease, either the owner sends, or somebody else buys; never both."""
    async with ledger_at(each_ledger) as owners, ledger_at(each_ledger) as others:
        for number in range(20):
            key = f"key {number}"
            mine = await intended(owners, purchase(key))
            moment = "lease_until - 44.99 + 0.001 * " + str(number % 10)
            run_sql(each_ledger, f"UPDATE hailuo_attempt SET lease_until = {moment}")  # noqa: S608
            sends, decision = await asyncio.gather(
                owners.claims.begin_sending(mine, SUBMIT_SECONDS), decided(others, purchase(key))
            )
            assert not (sends and decision == "Buy"), f"{number}: bought over a POST"


SLOW_COMMITS = """
CREATE FUNCTION wait_a_little() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END'
"""

SLOWLY = """
CREATE CONSTRAINT TRIGGER slow_disk AFTER UPDATE ON hailuo_attempt DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.fate = '{fate}') EXECUTE FUNCTION wait_a_little()
"""
"""A disk that takes half a second to commit one kind of change."""


async def test_a_claim_waits_for_an_owner_who_is_about_to_send(postgresql_url: str) -> None:
    """His lease ends while his change is being committed: nobody buys over his POST."""
    async with ledger_at(postgresql_url) as owners, ledger_at(postgresql_url) as others:
        mine = await intended(owners, purchase())
        run_sql(postgresql_url, SLOW_COMMITS, SLOWLY.format(fate="sending"))
        run_sql(postgresql_url, f"UPDATE hailuo_attempt SET lease_until = {time.time() + 0.3}")  # noqa: S608
        sends = asyncio.create_task(owners.claims.begin_sending(mine, SUBMIT_SECONDS))
        await asyncio.sleep(0.4)
        assert await decided(others, purchase()) == "Wait"
        assert await sends


async def test_a_claim_waits_for_an_owner_who_was_refused(postgresql_url: str) -> None:
    """His lease ends while the refusal is being committed: nothing is left half ambiguous."""
    async with ledger_at(postgresql_url) as owners, ledger_at(postgresql_url) as others:
        mine = await sending(owners, purchase())
        end_leases(postgresql_url)
        run_sql(postgresql_url, SLOW_COMMITS, SLOWLY.format(fate="failed"))
        refusal = owners.records.refused(mine, RateLimitedError("Slowly."))
        recording = asyncio.create_task(refusal)
        await asyncio.sleep(0.2)
        assert await decided(others, purchase()) == "Buy"
        await recording


async def test_a_cancelled_run_sends_nothing_whoever_else_waits(each_ledger: str) -> None:
    """It was cancelled after its claim; another run, that failed, still wants the video."""
    async with ledger_at(each_ledger) as ledger:
        mine = await intended(ledger, purchase(run=Run("mine", "mine")))
        await claimed(ledger, purchase(waiter="another", run=Run("another", "another")))
        await ledger.waiters.withdraw(["mine"])
        with pytest.raises(RunCancelledError):
            await ledger.claims.begin_sending(mine, SUBMIT_SECONDS, Run("mine", "mine"))


async def test_a_damaged_row_stops_only_who_asks_for_it(each_ledger: str) -> None:
    """Who comes together is served together, and does not suffer for it."""
    keys = [f"fox {n}" for n in range(8)]
    async with ledger_at(each_ledger) as ledger:
        for key in keys:
            await stored(ledger, purchase(key))
        damage = "UPDATE hailuo_attempt SET fate = 'lent' WHERE key = 'fox 5'"
        run_sql(each_ledger, damage)
        claims = (ledger.claims.claim(purchase(key)) for key in keys)
        found = await asyncio.gather(*claims, return_exceptions=True)
        words = [type(each).__name__ for each in found]
        assert words == ["Reuse"] * 5 + ["ValueError"] + ["Reuse"] * 2
