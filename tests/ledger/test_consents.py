"""A consent: one more purchase, in place of one attempt that may have been bought."""

from __future__ import annotations

import asyncio

import pytest
from ledger_ground import (
    Prepare,
    claimed,
    decided,
    end_leases,
    failed,
    intended,
    ledger_at,
    purchase,
    sending,
    submitted,
    ticket_for,
)

from prefect_hailuo.errors import FalFaultError
from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.ledger.attempt import NEVER_SENT


async def test_a_consent_is_spent_by_one_of_many_racers(each_ledger: str) -> None:
    """Ten callers take the same attempt for lost, and all consent: one more is bought, not ten."""
    async with ledger_at(each_ledger) as one, ledger_at(each_ledger) as other:
        await sending(one, purchase())
        end_leases(each_ledger)
        lost = await claimed(one, purchase())

        async def race(number: int) -> str:
            ledger = one if number % 2 else other
            await ledger.claims.consent(lost.key, lost.number)
            return await decided(ledger, purchase(waiter=f"w{number}"))

        decisions = await asyncio.gather(*(race(number) for number in range(10)))
        assert sorted(decisions) == ["Buy"] + ["Wait"] * 9
        assert not await one.claims.consent(lost.key, lost.number)


async def test_a_consent_is_no_standing_licence(each_ledger: str) -> None:
    """What was bought by consent, and got lost too, is not bought a third time."""
    async with ledger_at(each_ledger) as ledger:
        await sending(ledger, purchase())
        end_leases(each_ledger)
        await claimed(ledger, purchase())
        assert await ledger.claims.consent("fox", 1)
        await sending(ledger, purchase())
        end_leases(each_ledger)
        assert await decided(ledger, purchase()) == "Reconcile"


@pytest.mark.parametrize("stage", [intended, sending])
async def test_nobody_consents_over_a_living_owner(each_ledger: str, stage: Prepare) -> None:
    """While somebody is submitting it, there is nothing to consent to."""
    async with ledger_at(each_ledger) as ledger:
        await stage(ledger, purchase())
        assert not await ledger.claims.consent("fox", 1)
        assert await decided(ledger, purchase()) == "Wait"


async def test_a_consent_to_what_does_not_exist_is_none(each_ledger: str) -> None:
    """A later attempt's number, or an unknown key's, allows nothing."""
    async with ledger_at(each_ledger) as ledger:
        assert not await ledger.claims.consent("owl", 1)
        await submitted(ledger, purchase())
        assert not await ledger.claims.consent("fox", 2)
        assert await decided(ledger, purchase()) == "Attach"


async def test_a_found_request_ends_the_consent_to_another(each_ledger: str) -> None:
    """Its owner came late with the ticket: nothing was lost, so nothing is bought in its place."""
    async with ledger_at(each_ledger) as ledger:
        late = await sending(ledger, purchase())
        end_leases(each_ledger)
        await claimed(ledger, purchase())
        assert await ledger.claims.consent("fox", 1)
        await ledger.records.accepted(late, ticket_for())
        assert await decided(ledger, purchase()) == "Attach"


async def test_a_consent_outlives_what_cost_nothing(each_ledger: str) -> None:
    """The purchase that it allows was refused, and later failed unbilled: it is still allowed."""
    async with ledger_at(each_ledger) as ledger:
        await sending(ledger, purchase())
        end_leases(each_ledger)
        await claimed(ledger, purchase())
        assert await ledger.claims.consent("fox", 1)
        await intended(ledger, purchase())
        end_leases(each_ledger)
        await failed(ledger, purchase())
        assert await decided(ledger, purchase()) == "Buy"


async def test_what_turned_up_before_the_post_is_not_bought_again(each_ledger: str) -> None:
    """Attempt 2 was claimed by consent, and then attempt 1 got its request: nothing is sent."""
    async with ledger_at(each_ledger) as ledger:
        first = await sending(ledger, purchase())
        end_leases(each_ledger)
        await claimed(ledger, purchase())
        assert await ledger.claims.consent("fox", 1, unfound=True)
        second = await intended(ledger, purchase())
        await ledger.records.accepted(first, ticket_for("r1"))
        assert not await ledger.claims.begin_sending(second, SUBMIT_SECONDS)
        await ledger.records.refused(second, NEVER_SENT)
        assert await decided(ledger, purchase()) == "Attach"


async def test_what_turned_up_and_cost_nothing_is_in_nobodys_way(each_ledger: str) -> None:
    """Attempt 1 got its request, which failed at no cost: attempt 2 is sent."""
    async with ledger_at(each_ledger) as ledger:
        first = await sending(ledger, purchase())
        end_leases(each_ledger)
        await claimed(ledger, purchase())
        assert await ledger.claims.consent("fox", 1, unfound=True)
        second = await intended(ledger, purchase())
        held = await ledger.records.accepted(first, ticket_for("r1"))
        await ledger.records.failed(held, FalFaultError("Out of order."))
        assert await ledger.claims.begin_sending(second, SUBMIT_SECONDS)
