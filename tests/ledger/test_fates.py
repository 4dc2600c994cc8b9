"""The table of reruns: every fate and billing, and what a call that finds it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from ledger_ground import (
    decided,
    end_leases,
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

from prefect_hailuo.errors import (
    Billed,
    ContentPolicyError,
    FalFaultError,
    RequestCancelledError,
    SubmitUnknownError,
)
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.ledger.attempt import RERUN, Attempt, Fate, Purchase, Rerun
from prefect_hailuo.ledger.ledger import Ledger

NO, YES, UNKNOWN = Billed.NO, Billed.YES, Billed.UNKNOWN

Row = tuple[Fate, Billed | None]
Make = Callable[[Ledger, Purchase], Awaitable[Attempt]]


async def removed(ledger: Ledger, asked: Purchase) -> Attempt:
    """A request that was taken from fal's queue."""
    one = await submitted(ledger, asked)
    await ledger.waiters.record_cancellation(one, Cancellation.REMOVED)
    return one


async def lost(ledger: Ledger, asked: Purchase) -> Attempt:
    """A POST whose answer was lost."""
    mine = await sending(ledger, asked)
    await ledger.records.answer_lost(mine, SubmitUnknownError("Lost."))
    return mine


async def forgotten(ledger: Ledger, asked: Purchase) -> Attempt:
    """A request of an emulator that was restarted."""
    one = await submitted(ledger, asked)
    await ledger.records.forgotten(one)
    return one


MAKERS: dict[Row, Make] = {
    (Fate.INTENDED, None): intended,
    (Fate.SENDING, None): sending,
    (Fate.SUBMITTED, None): submitted,
    (Fate.SUCCEEDED, YES): succeeded,
    (Fate.STORED, YES): stored,
    (Fate.FAILED, NO): failed_by(FalFaultError("Out of order.")),
    (Fate.FAILED, YES): failed_by(ContentPolicyError("Charged.", billed=YES)),
    (Fate.FAILED, UNKNOWN): failed_by(ContentPolicyError("Perhaps charged.")),
    (Fate.CANCELLED, NO): removed,
    (Fate.CANCELLED, YES): failed_by(RequestCancelledError("Charged.", billed=YES)),
    (Fate.CANCELLED, UNKNOWN): failed_by(RequestCancelledError("Perhaps charged.")),
    (Fate.AMBIGUOUS, None): lost,
    (Fate.FORGOTTEN, NO): forgotten,
}
"""How a ledger comes to hold each row of the table, by its own calls alone."""

DECIDED = {
    Rerun.WAIT_OR_BUY: ("Wait", "Buy"),
    Rerun.WAIT_OR_RECONCILE: ("Wait", "Reconcile"),
    Rerun.ATTACH: ("Attach", "Attach"),
    Rerun.REUSE: ("Reuse", "Reuse"),
    Rerun.BUY: ("Buy", "Buy"),
    Rerun.RAISE: ("ContentPolicyError", "ContentPolicyError"),
    Rerun.RECONCILE: ("Reconcile", "Reconcile"),
}
"""What a claim comes to while the owner is alive, and what after its lease."""


@pytest.mark.parametrize("alive", [True, False], ids=["alive", "dead"])
@pytest.mark.parametrize("row", RERUN, ids=lambda row: "-".join(map(str, row)))
async def test_a_claim_does_what_the_table_says(ledger_url: str, row: Row, alive: bool) -> None:
    """Each row, reached by the ledger's own calls, with a living and with a dead owner."""
    terms = purchase(realm="emulator")
    async with ledger_at(ledger_url) as ledger:
        await MAKERS[row](ledger, terms)
        one = await latest(ledger)
        assert (one.fate, one.billed) == row
        if not alive:
            end_leases(ledger_url)
        assert await decided(ledger, terms) == DECIDED[RERUN[row]][not alive]


async def test_the_table_is_total(ledger_url: str) -> None:
    """Whatever happens to an attempt in whatever order, its fate and billing are in the table."""
    async with ledger_at(ledger_url) as ledger:
        for number, make in enumerate(MAKERS.values()):
            for step in range(7):
                key = f"key {number} {step}"
                await make(ledger, purchase(key, realm="emulator"))
                one = await latest(ledger, key)
                await _happen(ledger, one, step)
                assert (await latest(ledger, key)).rerun in Rerun
    assert {fate for fate, _ in RERUN} == set(Fate)


async def _happen(ledger: Ledger, one: Attempt, step: int) -> None:
    """Something that its writers did not expect."""
    records, happenings = ledger.records, ledger.waiters
    match step:
        case 0:
            await records.refused(one, FalFaultError("Refused."))
        case 1:
            await records.answer_lost(one, SubmitUnknownError("Lost."))
        case 2:
            await records.failed(one, RequestCancelledError("Cancelled."))
        case 3:
            await records.failed(one, FalFaultError("Broken."))
        case 4:
            await happenings.record_cancellation(one, Cancellation.REMOVED)
        case 5:
            await records.forgotten(one)
        case _:
            await records.parked(one, "nobody knows")


def test_only_what_cost_nothing_is_bought_again() -> None:
    """No row that may have cost money leads to a purchase."""
    bought = {row for row, rerun in RERUN.items() if rerun in (Rerun.BUY, Rerun.WAIT_OR_BUY)}
    assert {billed for _, billed in bought} == {NO, None}
    assert {fate for fate, billed in bought if billed is None} == {Fate.INTENDED}
