"""What became of an attempt: tickets of late owners too, and nothing that is known is undone."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from databases import run_sql
from ledger_ground import (
    OUTPUT,
    PRICE,
    attempts_of,
    cancelled,
    claimed,
    decided,
    end_leases,
    latest,
    ledger_at,
    purchase,
    sending,
    stored,
    submitted,
    succeeded,
    ticket_for,
    video_for,
)
from sqlalchemy.exc import IntegrityError

from prefect_hailuo.errors import (
    AbandonedError,
    Billed,
    ContentPolicyError,
    FalFaultError,
    HailuoError,
    InputRefusedError,
    Problem,
    RateLimitedError,
    RequestCancelledError,
    SubmitUnknownError,
)
from prefect_hailuo.fal.messages import Cancellation, Completed
from prefect_hailuo.ledger.attempt import Attempt, Fate
from prefect_hailuo.ledger.ledger import Ledger

LOST = SubmitUnknownError("The answer was lost.")


async def ambiguous(ledger: Ledger, key: str = "fox") -> Attempt:
    """A POST whose answer was lost."""
    mine = await sending(ledger, purchase(key))
    await ledger.records.answer_lost(mine, LOST)
    return mine


async def test_a_ticket_is_kept_whole(each_ledger: str) -> None:
    """Any process that reads the row can go on from it."""
    ticket = ticket_for(status_url="https://queue.fal.run/s", take="2", labels={"shot": "7"})
    async with ledger_at(each_ledger) as ledger:
        mine = await sending(ledger, purchase())
        holder = await ledger.records.accepted(mine, ticket)
        assert (holder.ticket, holder.fate, holder.number) == (ticket, Fate.SUBMITTED, 1)
        assert await latest(ledger) == holder
        assert await ledger.records.of_request("fal", "r1") == holder
        assert await ledger.records.of_request("emulator", "r1") is None


async def test_a_late_owner_still_records_its_ticket(each_ledger: str) -> None:
    """It was frozen, the attempt was taken for lost and parked: now there is a request."""
    async with ledger_at(each_ledger) as ledger:
        frozen = await sending(ledger, purchase())
        end_leases(each_ledger)
        await ledger.records.parked(await claimed(ledger, purchase()), "nobody knows")
        await ledger.records.accepted(frozen, ticket_for())
        one = await latest(ledger)
        assert (one.fate, one.request_id, one.number) == (Fate.SUBMITTED, "r1", 1)
        assert (one.parked_at, one.parked_because, one.error) == (None, None, None)


async def test_a_late_owner_of_an_abandoned_attempt_brings_it_back(each_ledger: str) -> None:
    """Somebody had given it up, but it was paid for, and is there."""
    async with ledger_at(each_ledger) as ledger:
        frozen = await ambiguous(ledger)
        assert await ledger.records.abandoned(await latest(ledger), AbandonedError("Enough."))
        assert await decided(ledger, purchase()) == "AbandonedError"
        await ledger.records.accepted(frozen, ticket_for())
        assert await decided(ledger, purchase()) == "Attach"


async def test_a_second_request_on_a_key_is_shown_as_a_duplicate(each_ledger: str) -> None:
    """The attempt was given another request meanwhile: the late ticket is not dropped."""
    async with ledger_at(each_ledger) as ledger:
        frozen = await ambiguous(ledger)
        await ledger.records.adopted(await latest(ledger), ticket_for("found"))
        late = await ledger.records.accepted(frozen, ticket_for("late"))
        assert (late.number, late.duplicate, late.request_id) == (2, True, "late")
        assert late.estimated_usd == PRICE
        assert (await latest(ledger)).request_id == "found"
    assert [row["duplicate"] for row in attempts_of(each_ledger)] == [False, True]


@pytest.mark.parametrize("others", [False, True], ids=["none", "another attempt"])
async def test_a_ticket_is_recorded_though_its_intent_was_lost(
    each_ledger: str, others: bool
) -> None:
    """While the POST was on its way, an older copy of the ledger was put in its place."""
    async with ledger_at(each_ledger) as ledger:
        mine = await sending(ledger, purchase())
        tables = ("hailuo_waiter", "hailuo_attempt", "hailuo_generation")
        run_sql(each_ledger, *(f"DELETE FROM {table}" for table in tables))  # noqa: S608
        if others:
            await submitted(ledger, purchase(waiter="another"))
        held = await ledger.records.accepted(mine, ticket_for("late"))
        assert (held.number, held.request_id) == (1 + others, "late")
        assert held.duplicate is others
        assert await decided(ledger, purchase()) == "Attach"


async def test_recording_a_ticket_twice_changes_nothing(each_ledger: str) -> None:
    """Its owner is not sure that the first time was written."""
    async with ledger_at(each_ledger) as ledger:
        mine = await sending(ledger, purchase())
        first = await ledger.records.accepted(mine, ticket_for())
        assert await ledger.records.accepted(mine, ticket_for()) == first
    assert len(attempts_of(each_ledger)) == 1


async def test_a_request_owned_by_another_key_is_not_stolen(each_ledger: str) -> None:
    """Of two takes of one body, the other was given it: that stays so."""
    async with ledger_at(each_ledger) as ledger:
        late = await sending(ledger, purchase("take 0"))
        other = await ambiguous(ledger, "take 1")
        await ledger.records.adopted(await latest(ledger, other.key), ticket_for())
        holder = await ledger.records.accepted(late, ticket_for())
        assert (holder.key, holder.request_id) == ("take 1", "r1")
        assert (await latest(ledger, "take 0")).fate is Fate.SENDING
        mine = await latest(ledger, "take 0")
        assert await ledger.records.adopted(mine, ticket_for()) is None


async def test_the_tables_refuse_one_request_for_two_attempts(each_ledger: str) -> None:
    """Whatever the code does, the database holds it."""
    async with ledger_at(each_ledger) as ledger:
        await submitted(ledger, purchase("fox"))
        await submitted(ledger, purchase("owl"))
    with pytest.raises(IntegrityError):
        run_sql(each_ledger, "UPDATE hailuo_attempt SET request_id = 'r1'")


async def test_two_racing_for_one_request_do_not_both_get_it(each_ledger: str) -> None:
    """Two attempts are told the same request in the same moment, over two engines."""
    async with ledger_at(each_ledger) as one, ledger_at(each_ledger) as other:
        first, second = await ambiguous(one, "take 0"), await ambiguous(other, "take 1")
        holders = await asyncio.gather(
            one.records.accepted(first, ticket_for()), other.records.accepted(second, ticket_for())
        )
        assert holders[0] == holders[1]
    owned = run_sql(each_ledger, "SELECT key FROM hailuo_attempt WHERE request_id = 'r1'")
    assert len(owned) == 1


async def test_a_refusal_costs_nothing(each_ledger: str) -> None:
    """fal took no request for certain: the money is free again, and another attempt may follow."""
    async with ledger_at(each_ledger) as ledger:
        mine = await sending(ledger, purchase())
        await ledger.records.refused(mine, RateLimitedError("Slowly."))
        one = await latest(ledger)
        assert (one.fate, one.billed, one.cost_usd) == (Fate.FAILED, Billed.NO, Decimal(0))
        assert one.counted_usd == Decimal(0)


async def test_a_late_refusal_changes_nothing(each_ledger: str) -> None:
    """A request was found for the attempt: whoever calls it refused comes too late."""
    async with ledger_at(each_ledger) as ledger:
        mine = await submitted(ledger, purchase())
        await ledger.records.refused(mine, RateLimitedError("Slowly."))
        await ledger.records.answer_lost(mine, LOST)
        assert await latest(ledger) == mine


@pytest.mark.parametrize("error", [FalFaultError("Broken."), RequestCancelledError("Cancelled.")])
async def test_a_success_outlives_every_later_failure(each_ledger: str, error: HailuoError) -> None:
    """A slower reader saw a fault where the result was: the video is paid for, and kept."""
    async with ledger_at(each_ledger) as ledger:
        one = await succeeded(ledger, purchase())
        await ledger.records.failed(one, error)
        assert await latest(ledger) == one
        await ledger.records.stored(one, video_for(request_id="fox-1"))
        await ledger.records.failed(one, error)
        assert await decided(ledger, purchase()) == "Reuse"


async def test_what_was_taken_from_the_queue_stays_unbilled(each_ledger: str) -> None:
    """Whoever waited for the request learns of the cancellation, and does not know the price."""
    async with ledger_at(each_ledger) as ledger:
        one = await submitted(ledger, purchase())
        await ledger.waiters.record_cancellation(one, Cancellation.REMOVED)
        await ledger.records.failed(one, RequestCancelledError("Cancelled."))
        one = await latest(ledger)
        assert (one.billed, one.cost_usd) == (Billed.NO, Decimal(0))
        assert await decided(ledger, purchase()) == "Buy"


async def test_a_cancelled_request_that_completed_is_collected(each_ledger: str) -> None:
    """The model ignored the cancellation; its video was paid for."""
    async with ledger_at(each_ledger) as ledger:
        one = await cancelled(ledger, purchase())
        assert await decided(ledger, purchase()) == "Attach"
        await ledger.records.succeeded(one, OUTPUT, Completed())
        one = await latest(ledger)
        assert (one.fate, one.billed, one.cost_usd) == (Fate.SUCCEEDED, Billed.YES, PRICE)


async def test_a_success_settles_at_the_estimate_and_says_so(each_ledger: str) -> None:
    """What fal charged cannot be read with an ordinary key."""
    async with ledger_at(each_ledger) as ledger:
        one = await succeeded(ledger, purchase())
        assert (one.output, one.cost_usd, one.cost_basis) == (OUTPUT, PRICE, "estimate")


async def test_a_recorded_error_is_raised_as_it_was(each_ledger: str) -> None:
    """Kind, ticket, fal's own words and the price are those of then; nothing is sent."""
    problem = Problem(("body", "prompt"), "Flagged.", "content_policy_violation")
    error = ContentPolicyError("Violence.")
    error.error_type, error.problems = "content_policy_violation", (problem,)
    async with ledger_at(each_ledger) as ledger:
        one = await submitted(ledger, purchase())
        await ledger.records.failed(one, error)
        with pytest.raises(InputRefusedError, match="Violence") as caught:
            await ledger.claims.claim(purchase())
    again = caught.value
    assert isinstance(again, ContentPolicyError)
    assert (again.billed, again.retryable, again.ticket) == (Billed.UNKNOWN, False, one.ticket)
    assert (again.error_type, again.problems) == (error.error_type, (problem,))
    assert "pass another take" in again.cure
    assert "ledger resolve fox --allow-one-resubmit" in again.cure


async def test_every_place_of_a_video_is_remembered(each_ledger: str) -> None:
    """One row a place, the latest first; storing again in one replaces its row."""
    async with ledger_at(each_ledger) as ledger:
        one = await stored(ledger, purchase())
        await ledger.files.add(one, video_for(place="there"))
        await ledger.files.add(one, video_for(place="there", request_id="r2"))
        files = await ledger.files.of("fox")
        assert [(each.storage, each.request_id) for each in files] == [
            ("there", "r2"),
            ("here", "fox-1"),
        ]


async def test_storing_ends_all_waiting(each_ledger: str) -> None:
    """Whoever waited has what it wanted, and keeps no later request alive."""
    async with ledger_at(each_ledger) as ledger:
        await decided(ledger, purchase(waiter="another"))
        end_leases(each_ledger)
        await stored(ledger, purchase())
    waiting = run_sql(each_ledger, "SELECT id FROM hailuo_waiter WHERE ended_at IS NULL")
    assert waiting == []


async def test_a_stored_video_that_the_ledger_never_saw_is_entered(each_ledger: str) -> None:
    """Its file is there with its record: nothing is bought, and it is entered once."""
    async with ledger_at(each_ledger) as ledger:
        await ledger.records.found(purchase(), video_for())
        await ledger.records.found(purchase(), video_for())
        one = await latest(ledger)
        assert (one.fate, one.request_id, one.adopted) == (Fate.STORED, "r1", True)
        assert one.cost_usd == PRICE
        assert await decided(ledger, purchase()) == "Reuse"
    assert len(attempts_of(each_ledger)) == 1


async def test_storing_and_failing_at_once_do_not_lock_each_other_out(postgresql_url: str) -> None:
    """Both change the same rows, in the same order."""
    async with ledger_at(postgresql_url) as one, ledger_at(postgresql_url) as other:
        for number in range(10):
            key = f"key {number}"
            mine = await succeeded(one, purchase(key))
            await asyncio.gather(
                one.records.stored(mine, video_for(key, mine.request_id or "")),
                other.records.failed(mine, FalFaultError("Broken.")),
                other.claims.claim(purchase(key, waiter=key + "again")),
            )
            assert (await latest(one, key)).fate is Fate.STORED


async def test_what_another_owner_makes_is_not_refused_by_this_one(each_ledger: str) -> None:
    """The ledger was put back and the number given anew: only its own owner knows of its POST."""
    async with ledger_at(each_ledger) as ledger:
        mine = await sending(ledger, purchase())
        run_sql(each_ledger, "UPDATE hailuo_attempt SET owner = 'another'")
        await ledger.records.refused(mine, RateLimitedError("Slowly."))
        await ledger.records.answer_lost(mine, LOST)
        assert (await latest(ledger)).fate is Fate.SENDING


async def test_another_requests_end_is_not_recorded(each_ledger: str) -> None:
    """Whoever holds an old ticket ends nothing that has another request by now."""
    async with ledger_at(each_ledger) as ledger:
        one = await submitted(ledger, purchase())
        run_sql(each_ledger, "UPDATE hailuo_attempt SET request_id = 'another'")
        await ledger.records.failed(one, FalFaultError("Broken."))
        await ledger.records.succeeded(one, OUTPUT, Completed())
        assert (await latest(ledger)).fate is Fate.SUBMITTED
