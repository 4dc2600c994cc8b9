"""Who waits for what: fal's cancel is sent only when nobody wants the video any more."""

from __future__ import annotations

import time

from databases import run_sql
from ledger_ground import (
    cancelled,
    decided,
    intended,
    latest,
    ledger_at,
    purchase,
    sending,
    stored,
    submitted,
    ticket_for,
)
from sqlalchemy import Connection

from prefect_hailuo.errors import Billed, FalFaultError
from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.ledger.attempt import Fate, Run
from prefect_hailuo.ledger.waiters import WAITER_LEASE_SECONDS, keep_waiters

ONE = Run("one", "parent of one")
TWO = Run("two")


async def test_a_request_is_unwanted_when_all_who_waited_were_cancelled(each_ledger: str) -> None:
    """The first of two flow runs is cancelled, and nothing happens; then the second."""
    async with ledger_at(each_ledger) as ledger:
        mine = await submitted(ledger, purchase(run=ONE))
        assert await decided(ledger, purchase(run=TWO, waiter="second")) == "Attach"
        assert await ledger.waiters.withdraw(["one"]) == []
        assert not await ledger.waiters.is_unwanted("fox")
        assert await ledger.waiters.withdraw(["two"]) == [mine]
        assert await ledger.waiters.is_unwanted("fox")
        assert await ledger.waiters.unwanted("fal") == [mine]
        assert await ledger.waiters.unwanted("emulator") == []


async def test_the_run_that_a_process_was_started_for_counts_too(each_ledger: str) -> None:
    """Prefect cancels the parent; the child that waits is never told."""
    async with ledger_at(each_ledger) as ledger:
        mine = await submitted(ledger, purchase(run=ONE))
        assert await ledger.waiters.withdraw(["parent of one"]) == [mine]


async def test_whoever_crashed_wants_its_video(each_ledger: str) -> None:
    """Its lease is long over, and nothing was heard of it: its rerun will attach."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase(run=ONE))
        await decided(ledger, purchase(run=TWO, waiter="second"))
        run_sql(each_ledger, "UPDATE hailuo_waiter SET lease_until = 0")
        assert await ledger.waiters.withdraw(["two"]) == []
        assert not await ledger.waiters.is_unwanted("fox")
        assert not await ledger.waiters.is_awaited("fox")


async def test_a_call_outside_of_flows_is_cancelled_by_nobody(each_ledger: str) -> None:
    """It waits beside a flow run that is cancelled."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase())
        await decided(ledger, purchase(run=TWO, waiter="second"))
        assert await ledger.waiters.withdraw(["two"]) == []


async def test_nothing_is_unwanted_that_nobody_ever_wanted(each_ledger: str) -> None:
    """A key without waiters was not withdrawn."""
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase())
        run_sql(each_ledger, "DELETE FROM hailuo_waiter")
        assert not await ledger.waiters.is_unwanted("fox")
        assert await ledger.waiters.withdraw([]) == []


async def test_a_cancel_during_the_submit_is_remembered(each_ledger: str) -> None:
    """The bytes are on their way: it is to be cancelled as soon as there is a ticket."""
    async with ledger_at(each_ledger) as ledger:
        mine = await sending(ledger, purchase(run=ONE))
        assert await ledger.waiters.withdraw(["one"]) == []
        assert await ledger.waiters.is_unwanted("fox")
        holder = await ledger.records.accepted(mine, ticket_for())
        assert await ledger.waiters.unwanted("fal") == [holder]


async def test_a_run_that_runs_again_wants_its_video_again(each_ledger: str) -> None:
    """Prefect set the cancelled run going once more: what is at fal is not cancelled."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase(run=ONE))
        await ledger.waiters.withdraw(["one"])
        assert await decided(ledger, purchase(run=ONE, waiter="again")) == "RunCancelledError"
        await ledger.waiters.reinstate(["one"])
        assert await decided(ledger, purchase(run=ONE, waiter="again")) == "Attach"
        assert await ledger.waiters.unwanted("fal") == []


async def test_a_call_that_outlived_the_cancellation_may_send(each_ledger: str) -> None:
    """Its run was cancelled and runs again, while it was connecting: it does not claim for ever."""
    async with ledger_at(each_ledger) as ledger:
        mine = await intended(ledger, purchase(run=ONE))
        await ledger.waiters.withdraw(["one", "parent of one"])
        await ledger.waiters.reinstate(["one"])
        assert not await ledger.claims.begin_sending(mine, SUBMIT_SECONDS)
        await ledger.waiters.reinstate(["parent of one"])
        assert await ledger.claims.begin_sending(mine, SUBMIT_SECONDS)


async def test_fal_is_told_once(each_ledger: str) -> None:
    """What fal answered is on record, and the request is in nobody's list any more."""
    async with ledger_at(each_ledger) as ledger:
        mine = await submitted(ledger, purchase(run=ONE))
        await ledger.waiters.withdraw(["one"])
        await ledger.waiters.record_cancellation(mine, Cancellation.REQUESTED)
        one = await latest(ledger)
        assert (one.fate, one.cancel_answer) == (Fate.SUBMITTED, "CANCELLATION_REQUESTED")
        assert await ledger.waiters.unwanted("fal") == []
        assert await ledger.waiters.withdraw(["one"]) == []


async def test_only_what_left_the_queue_is_known_to_be_free(each_ledger: str) -> None:
    """Of any other answer, the result will tell what it cost."""
    async with ledger_at(each_ledger) as ledger:
        for answer in Cancellation:
            one = await submitted(ledger, purchase(answer.name))
            await ledger.waiters.record_cancellation(one, answer)
            seen = await latest(ledger, answer.name)
            free = answer is Cancellation.REMOVED
            assert seen.fate is (Fate.CANCELLED if free else Fate.SUBMITTED)
            assert seen.billed is (Billed.NO if free else None)


async def test_a_late_answer_undoes_no_success(each_ledger: str) -> None:
    """The video was stored before fal's answer came."""
    async with ledger_at(each_ledger) as ledger:
        one = await stored(ledger, purchase("stored"))
        await ledger.waiters.record_cancellation(one, Cancellation.REMOVED)
        assert await latest(ledger, "stored") == one


async def test_a_late_answer_tells_what_a_cancellation_cost(each_ledger: str) -> None:
    """Whoever waited saw the cancellation first; that the queue was not left, only fal says."""
    async with ledger_at(each_ledger) as ledger:
        one = await cancelled(ledger, purchase("cancelled"))
        await ledger.waiters.record_cancellation(one, Cancellation.REMOVED)
        assert (await latest(ledger, "cancelled")).billed is Billed.NO


async def test_waiting_ends_with_the_video(each_ledger: str) -> None:
    """A run that has its video, and is cancelled later, cancels nobody else's request."""
    async with ledger_at(each_ledger) as ledger:
        await stored(ledger, purchase(run=ONE))
        assert await ledger.waiters.withdraw(["one"]) == []
        assert await ledger.waiters.wanting("fal") == []


async def test_who_waits_for_what_is_at_fal_is_listed(each_ledger: str) -> None:
    """The sweep asks Prefect about each of these flow runs."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase(run=ONE))
        await stored(ledger, purchase("owl", run=TWO))
        [waiting] = await ledger.waiters.wanting("fal")
        assert (waiting.key, waiting.run) == ("fox", ONE)


async def test_leases_of_the_living_are_renewed(each_ledger: str) -> None:
    """Only of those who wait in this very process, and only while they do."""
    async with ledger_at(each_ledger) as ledger:
        for key in ("fox", "owl"):
            await intended(ledger, purchase(key))
        run_sql(each_ledger, "UPDATE hailuo_waiter SET lease_until = 0")
        with ledger.waiters.alive("waiter of fox"):
            await ledger.waiters.renew()
        assert await ledger.waiters.is_awaited("fox")
        assert not await ledger.waiters.is_awaited("owl")
        run_sql(each_ledger, "UPDATE hailuo_waiter SET lease_until = 0")
        await ledger.waiters.renew()
        assert not await ledger.waiters.is_awaited("fox")
    assert WAITER_LEASE_SECONDS > SUBMIT_SECONDS


async def test_a_call_whose_wait_another_run_ended_may_still_buy(each_ledger: str) -> None:
    """An earlier run was cancelled, another one saw the request fail: the third is no ghost."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase(run=ONE, waiter="first"))
        await ledger.waiters.withdraw(["one"])
        third = purchase(run=TWO, waiter="third")
        assert await decided(ledger, third) == "Attach"
        await ledger.records.failed(await latest(ledger), FalFaultError("Out of order."))
        mine = await intended(ledger, third)
        assert not await ledger.waiters.is_unwanted("fox")
        assert await ledger.claims.begin_sending(mine, SUBMIT_SECONDS, TWO)


async def test_who_hears_late_of_a_failure_ends_nobodys_wait_for_the_next(each_ledger: str) -> None:
    """One has claimed again by then: when the other is cancelled, its request is still wanted."""
    fault = FalFaultError("Out of order.")
    async with ledger_at(each_ledger) as ledger:
        quick, slow = purchase(run=ONE, waiter="quick"), purchase(run=TWO, waiter="slow")
        first = await submitted(ledger, quick)
        assert await decided(ledger, slow) == "Attach"
        await ledger.records.failed(first, fault)
        second = await submitted(ledger, quick)
        await ledger.records.failed(first, fault)
        assert await decided(ledger, slow) == "Attach"
        assert await ledger.waiters.withdraw(["two"]) == []
        assert [one.number for one in await ledger.waiters.withdraw(["one"])] == [second.number]


async def test_a_run_that_runs_again_may_buy_though_its_wait_had_ended(each_ledger: str) -> None:
    """It was cancelled, its wait ended by another run, and it was set going once more."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase(run=ONE))
        await ledger.waiters.withdraw(["one"])
        await ledger.records.failed(await latest(ledger), FalFaultError("Out of order."))
        await ledger.waiters.reinstate(["one"])
        mine = await intended(ledger, purchase(run=ONE))
        assert await ledger.claims.begin_sending(mine, SUBMIT_SECONDS, ONE)


async def test_a_cancelled_call_that_claims_again_stays_cancelled(each_ledger: str) -> None:
    """Its claim looked before the cancellation, and writes after it."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase(run=ONE))
        await ledger.waiters.withdraw(["one"])

        def claim_late(connection: Connection) -> None:
            keep_waiters(connection, [purchase(run=ONE)], time.time())
            keep_waiters(connection, [purchase(run=ONE, waiter="new")], time.time())

        await ledger.database.write(claim_late)
        assert await ledger.waiters.is_unwanted("fox")
