"""Many calls at once: one transaction for many, and each is answered as if it were alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import anyio
import pytest
from databases import address_of, connected, holding, run_sql
from ledger_ground import (
    PRICE,
    attempts_of,
    claimed,
    decided,
    end_leases,
    intended,
    latest,
    ledger_at,
    purchase,
    sending,
    submitted,
    ticket_for,
)
from sqlalchemy import event, text

from prefect_hailuo.errors import RunCancelledError
from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.ledger import database
from prefect_hailuo.ledger.attempt import Fate, Limits, Purchase, Run
from prefect_hailuo.ledger.ledger import Ledger

MANY = 600


def purchases(count: int = MANY, **terms: Any) -> list[Purchase]:
    """So many, each of a key of its own."""
    return [purchase(f"key {number:05}", **terms) for number in range(count)]


async def all_decided(ledger: Ledger, asked: list[Purchase]) -> Counter[str]:
    """What the ledger decides of purchases that come at once, in words."""
    return Counter(await asyncio.gather(*(decided(ledger, each) for each in asked)))


@contextmanager
def noting(ledger: Ledger, name: str) -> Iterator[list[str]]:
    """What happens to a ledger's connections: each commit, or each statement."""
    assert ledger.database._opened is not None
    engine = ledger.database._opened.engine.sync_engine
    noted: list[str] = []

    def note(*told: Any) -> None:
        noted.append(told[2] if len(told) > 2 else name)

    event.listen(engine, name, note)
    yield noted
    event.remove(engine, name, note)


async def test_many_claims_are_few_transactions(each_ledger: str) -> None:
    """Six hundred at once are bought in a handful of commits, each with its own attempt."""
    async with ledger_at(each_ledger) as ledger:
        await ledger.claims.latest("any")
        with noting(ledger, "commit") as commits:
            mine = await asyncio.gather(*(intended(ledger, each) for each in purchases()))
    assert len(commits) <= 4
    assert len({one.owner for one in mine}) == MANY
    rows = run_sql(each_ledger, "SELECT key, number, owner FROM hailuo_attempt ORDER BY key")
    assert rows == [{"key": one.key, "number": 1, "owner": one.owner} for one in mine]


async def test_a_claim_answers_with_what_it_wrote(each_ledger: str) -> None:
    """The attempt in the answer is the one that a later look finds."""
    asked = purchase(labels={"shot": "7"}, take="é", estimated_usd=Decimal("0.4900001"))
    async with ledger_at(each_ledger) as ledger:
        mine = await intended(ledger, asked)
        assert await latest(ledger) == mine
        assert await ledger.claims.begin_sending(mine, SUBMIT_SECONDS)
        ticket = ticket_for(input=asked.body, labels=asked.labels, status_url="https://fal.run/r1")
        accepted = await ledger.records.accepted(mine, ticket)
        assert await latest(ledger) == accepted


async def test_two_callers_of_one_key_in_one_group(each_ledger: str) -> None:
    """The second finds what the first has just begun."""
    asked = [replace(each, waiter=f"{n} {each.key}") for each in purchases(50) for n in range(5)]
    async with ledger_at(each_ledger) as ledger:
        assert await all_decided(ledger, asked) == {"Buy": 50, "Wait": 200}
    assert run_sql(each_ledger, "SELECT count(*) AS n FROM hailuo_waiter") == [{"n": 250}]


async def test_a_group_shares_no_money(each_ledger: str) -> None:
    """A budget for seventeen, with limits that their callers bring: seventeen are bought."""
    limits = Limits(per_day_usd=17 * PRICE, total_usd=90 * PRICE)
    async with ledger_at(each_ledger) as ledger:
        asked = purchases(90, limits=limits)
        asked += [replace(each, key=f"other {each.key}") for each in purchases(5, scope="other")]
        assert await all_decided(ledger, asked) == {"Buy": 22, "BudgetError": 73}
        [day, _] = await ledger.budgets.allowances("fal", "default")
        assert day.spent_usd == 17 * PRICE


async def test_what_was_refused_leaves_nothing(each_ledger: str) -> None:
    """No key, no waiter, and no limits of a first purchase that was not made."""
    limits = Limits(total_usd=PRICE / 2)
    async with ledger_at(each_ledger) as ledger:
        assert await all_decided(ledger, purchases(9, limits=limits)) == {"BudgetError": 9}
        for table in ("generation", "attempt", "waiter"):
            assert run_sql(each_ledger, f"SELECT * FROM hailuo_{table}") == []  # noqa: S608
        # The scope's row stays, for claims to lock.
        assert await ledger.budgets.scopes("fal") == []
        ample = Limits(total_usd=9 * PRICE)
        mixed = [
            *purchases(3, limits=limits),
            *(replace(each, limits=ample) for each in purchases(9)),
        ]
        assert (await all_decided(ledger, mixed))["Buy"] == 9
    assert run_sql(each_ledger, "SELECT total_usd FROM hailuo_budget") == [{"total_usd": 4_410_000}]


async def test_one_refusal_is_one_callers(each_ledger: str) -> None:
    """A cancelled run, another account and a dead sender, among others who are served."""
    async with ledger_at(each_ledger) as ledger:
        await sending(ledger, purchase("dead"))
        end_leases(each_ledger)
        await submitted(ledger, purchase("theirs", account="rival"))
        await ledger.waiters.withdraw(["stopped"])
        asked = [
            *purchases(20),
            purchase("theirs"),
            purchase("run", run=Run("stopped")),
            purchase("dead"),
        ]
        told = await asyncio.gather(*(decided(ledger, each) for each in asked))
    assert told == ["Buy"] * 20 + ["OtherAccountError", "RunCancelledError", "Reconcile"]
    assert attempts_of(each_ledger, "dead")[0]["fate"] == "ambiguous"
    assert attempts_of(each_ledger, "run") == []


async def test_those_begin_to_send_who_may(each_ledger: str) -> None:
    """Not the one whose lease ended, whose run was cancelled, or whom nobody wants any more."""
    async with ledger_at(each_ledger) as ledger:
        late = await intended(ledger, purchase("late"))
        end_leases(each_ledger)
        stopped, left, *others = [
            await intended(ledger, each)
            for each in (purchase("stopped"), purchase("left", run=Run("gone")), *purchases(5))
        ]
        await ledger.waiters.withdraw(["gone", "was stopped"])
        begin = ledger.claims.begin_sending
        going = [begin(one, SUBMIT_SECONDS) for one in (late, left, *others, others[0])]
        going.append(begin(stopped, SUBMIT_SECONDS, Run("was stopped")))
        *told, refused = await asyncio.gather(*going, return_exceptions=True)
    assert told == [False, False, *[True] * 6]
    assert isinstance(refused, RunCancelledError)
    sent = run_sql(each_ledger, "SELECT key FROM hailuo_attempt WHERE fate = 'sending'")
    assert {row["key"] for row in sent} == {one.key for one in others}


async def test_tickets_that_come_at_once_are_all_kept(each_ledger: str) -> None:
    """A second request of one attempt becomes a duplicate; one request is never given to two."""
    async with ledger_at(each_ledger) as ledger:
        fox, owl = [await sending(ledger, each) for each in (purchase("fox"), purchase("owl"))]
        accepted = ledger.records.accepted
        first, second, again, others = await asyncio.gather(
            accepted(fox, ticket_for("r1")),
            accepted(fox, ticket_for("r2")),
            accepted(fox, ticket_for("r1")),
            accepted(owl, ticket_for("r2")),
        )
        assert (first.number, first.duplicate, again) == (1, False, first)
        assert (second.number, second.duplicate, others) == (2, True, second)
        assert (await latest(ledger, "owl")).fate is Fate.SENDING
    assert [row["request_id"] for row in attempts_of(each_ledger, "fox")] == ["r1", "r2"]


@pytest.mark.parametrize("each_ledger", ["postgresql"], indirect=True)
async def test_a_request_that_is_given_away_mid_group_stops_nobody(each_ledger: str) -> None:
    """Another process gives one of three requests to an equal attempt, after it was looked for."""
    async with ledger_at(each_ledger) as ledger:
        mine = [await sending(ledger, each) for each in purchases(3)]
        await sending(ledger, purchase("equal"))
        give = "UPDATE hailuo_attempt SET request_id = 'r1', fate = 'submitted' WHERE key = 'equal'"
        with just_before(ledger, "UPDATE hailuo_attempt", each_ledger, give):
            tickets = [ticket_for(f"r{number}") for number in range(3)]
            pairs = zip(mine, tickets, strict=True)
            holders = await asyncio.gather(*(ledger.records.accepted(*pair) for pair in pairs))
    assert [(one.key, one.request_id) for one in holders] == [
        (mine[0].key, "r0"),
        ("equal", "r1"),
        (mine[2].key, "r2"),
    ]


@contextmanager
def just_before(ledger: Ledger, beginning: str, url: str, *statements: str) -> Iterator[None]:
    """Let another connection commit something right before a statement is first executed."""
    assert ledger.database._opened is not None
    engine = ledger.database._opened.engine.sync_engine
    done: list[object] = []

    def before(_1: object, _2: object, statement: str, *_: object) -> None:
        if statement.startswith(beginning) and not done:
            with ThreadPoolExecutor(1) as thread:
                done.append(thread.submit(run_sql, url, *statements).result())

    event.listen(engine, "before_cursor_execute", before)
    yield
    event.remove(engine, "before_cursor_execute", before)
    assert done


async def test_a_fault_of_the_database_is_everybodys(each_ledger: str) -> None:
    """Nothing of the group is written, and all of them are served once it works again."""
    async with ledger_at(each_ledger) as ledger:
        await ledger.claims.latest("any")
        run_sql(each_ledger, "ALTER TABLE hailuo_waiter RENAME TO away")
        assert await all_decided(ledger, purchases(20)) == {"LedgerError": 20}
        assert run_sql(each_ledger, "SELECT * FROM hailuo_generation") == []
        run_sql(each_ledger, "ALTER TABLE away RENAME TO hailuo_waiter")
        assert await all_decided(ledger, purchases(20)) == {"Buy": 20}


async def test_a_cancelled_caller_leaves_the_group_alone(each_ledger: str) -> None:
    """Some give up while the ledger is locked: the others are served, and nothing is torn."""
    async with ledger_at(each_ledger) as ledger:
        await ledger.claims.latest("any")
        lock = ["LOCK TABLE hailuo_generation"] if each_ledger.startswith("postgresql") else []
        with holding(each_ledger, *lock):
            calls = [asyncio.ensure_future(decided(ledger, each)) for each in purchases(30)]
            await asyncio.sleep(0.1)
            for call in calls[::10]:
                call.cancel()
        told = await asyncio.gather(*calls, return_exceptions=True)
        kept = [each for number, each in enumerate(told) if number % 10]
        assert kept == ["Buy"] * 27
        assert set(await all_decided(ledger, purchases(30))) <= {"Wait", "Buy"}


@pytest.mark.parametrize("each_ledger", ["postgresql"], indirect=True)
async def test_who_is_locked_out_is_tried_again(each_ledger: str) -> None:
    """Somebody locks keys in another order: PostgreSQL ends one of the two, and nobody notices."""
    async with ledger_at(each_ledger) as ledger:
        assert await all_decided(ledger, purchases(2)) == {"Buy": 2}
        lock = "SELECT * FROM hailuo_generation WHERE key = 'key {}' FOR UPDATE"
        async with connected(address_of(each_ledger)) as connection:
            await connection.execute(text(lock.format("00001")))
            with noting(ledger, "rollback") as rollbacks:
                async with anyio.create_task_group() as tasks:
                    for each in purchases(2):
                        tasks.start_soon(claimed, ledger, each)
                    await asyncio.sleep(0.2)
                    await connection.execute(text(lock.format("00000")))
                    await connection.commit()
    assert rollbacks


async def test_a_thousand_readers_wait_in_line(
    each_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes longer than one waits for a connection: as long as it goes on, they do."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 1.0)
    async with ledger_at(each_ledger) as ledger:
        mine = await intended(ledger, purchase())
        asked = (ledger.claims.attempt("fox", 1) for _ in range(1_000))
        assert set(map(repr, await asyncio.gather(*asked))) == {repr(mine)}


async def test_forty_thousand_leases_are_renewed(each_ledger: str) -> None:
    """More than either database takes parameters."""
    names = [f"waiter {number}" for number in range(40_000)]
    async with ledger_at(each_ledger) as ledger:
        await claimed(ledger, purchase(waiter=names[-1]))
        run_sql(each_ledger, "UPDATE hailuo_waiter SET lease_until = 0")
        assert not await ledger.waiters.is_awaited("fox")
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(ledger.waiters.alive(name))
            await ledger.waiters.renew()
        assert await ledger.waiters.is_awaited("fox")
