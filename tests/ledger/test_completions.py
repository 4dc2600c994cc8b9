"""Completions that a webhook reports: recorded once, and seen by all who wait."""

from __future__ import annotations

import asyncio

import anyio
from ledger_ground import OUTPUT, failed, latest, ledger_at, purchase, stored, submitted, succeeded

from prefect_hailuo.fal.messages import Completed
from prefect_hailuo.ledger.attempt import Fate, Run

FAILED = Completed(error="Invalid status code: 422")


async def test_all_who_wait_hear_of_an_end(each_ledger: str) -> None:
    """Two wait for one request, one for another; each end wakes its own."""
    async with ledger_at(each_ledger) as ledger, ledger_at(each_ledger) as receiver:
        fox, owl = await submitted(ledger, purchase()), await submitted(ledger, purchase("owl"))
        foxes = [asyncio.create_task(ledger.completions.hear(("fal", "fox-1"))) for _ in range(2)]
        other = asyncio.create_task(ledger.completions.hear(("fal", "owl-1")))
        await receiver.completions.note(fox, FAILED)
        with anyio.fail_after(60):
            assert await asyncio.gather(*foxes) == [FAILED, FAILED]
            assert not other.done()
            await receiver.records.succeeded(owl, OUTPUT, Completed())
            assert await other == Completed()


async def test_whoever_gives_up_leaves_nothing_behind(each_ledger: str) -> None:
    """Nobody looks when nobody waits."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase())
        with anyio.move_on_after(0.05):
            await ledger.completions.hear(("fal", "fox-1"))
        assert not ledger.completions._waited
        assert ledger.completions._looking is None


async def test_what_is_over_is_known_however_it_ended(each_ledger: str) -> None:
    """A video, a failure, a call that told of one; not what is on its way, nor another realm's."""
    async with ledger_at(each_ledger) as ledger:
        for name, prepare in (("done", stored), ("ready", succeeded), ("bad", failed)):
            await prepare(ledger, purchase(name))
        await submitted(ledger, purchase("open"))
        names = ("done", "ready", "bad", "open", "unknown")
        over = await ledger.completions.over([("fal", f"{name}-1") for name in names])
        assert {request_id for _, request_id in over} == {"done-1", "ready-1", "bad-1"}
        assert over["fal", "bad-1"].error == "Out of order."
        assert await ledger.completions.over([("emulator", "done-1")]) == {}


async def test_a_note_says_nothing_of_the_money(each_ledger: str) -> None:
    """The request stays open: its result is yet to be asked for; and a result is never undone."""
    async with ledger_at(each_ledger) as ledger:
        mine = await submitted(ledger, purchase())
        await ledger.completions.note(mine, FAILED)
        one = await latest(ledger)
        assert (one.fate, one.billed, one.completed) == (Fate.SUBMITTED, None, FAILED)
        await ledger.records.succeeded(mine, OUTPUT, Completed())
        await ledger.completions.note(mine, FAILED)
        one = await latest(ledger)
        assert (one.fate, one.output, one.completed) == (Fate.SUCCEEDED, OUTPUT, Completed())
        assert await ledger.completions.output_of(one.open_ticket()) == OUTPUT


async def test_the_runs_that_want_a_video_are_known(each_ledger: str) -> None:
    """Also when it is stored already; not those that were cancelled, nor calls without a run."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase(run=Run("one", "root"), waiter="first"))
        for name, run in (("again", Run("one")), ("second", Run("two")), ("third", Run())):
            await ledger.claims.claim(purchase(run=run, waiter=name))
        await ledger.claims.claim(purchase(run=Run("gone"), waiter="fourth"))
        await ledger.waiters.withdraw(["gone"])
        assert sorted(await ledger.completions.runs_wanting("fox")) == ["one", "two"]
        await ledger.records.succeeded(await latest(ledger), OUTPUT, Completed())
        assert sorted(await ledger.completions.runs_wanting("fox")) == ["one", "two"]
