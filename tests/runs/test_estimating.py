"""Estimates: what videos would cost, what is there already; and models whose price nobody knows."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from ledger_ground import failed, intended, ledger_at, stored, submitted
from ledger_keys import parked, purchase
from roads import FOX, OWL, generate, order_of

from prefect_hailuo import Budget, Estimate, Hailuo02ProTextToVideo, aestimate, estimate
from prefect_hailuo.emulator import FalEmulator, edit
from prefect_hailuo.errors import BudgetError, MissingKeyError
from prefect_hailuo.models.catalogue import VideoInput
from prefect_hailuo.models.key import generation_key
from prefect_hailuo.runs.estimate import quote


def states(told: Estimate) -> list[str]:
    """How each video stands."""
    return [line.state for line in told.lines]


def test_new_videos_cost_the_catalogues_price(ledger_url: str) -> None:
    """Each input and take is a video; the sum is exact, and says where it is from."""
    told = estimate([FOX, (OWL, "2026-11-20"), OWL], takes=[0, 1])
    assert [line.take for line in told.lines] == ["0", "1", "2026-11-20", "0", "1"]
    assert told.total_usd == Decimal("2.43")
    assert {each.seen for each in told.quotes} == {"2026-08"} and told.notes == ()
    assert str(told) == "5 of 5 to buy, about $2.43"


def test_what_is_there_costs_nothing(tiny: FalEmulator, tmp_path: Path) -> None:
    """What is stored, and the second of two that are the same; nothing is submitted."""
    mine = tiny.credentials()
    generate(tiny, tmp_path)
    told = estimate([FOX, OWL, OWL], credentials=mine)
    assert states(told) == ["stored", "new", "repeated"]
    assert (told.total_usd, told.to_buy, told.realm) == (Decimal("0.49"), 1, "emulator")
    assert len(tiny.submissions) == 1


async def test_every_standing_has_its_word(each_ledger: str) -> None:
    """As the table of reruns has it: only what a rerun would buy costs something."""
    inputs = [Hailuo02ProTextToVideo(prompt=f"Fox {n}.") for n in range(6)]
    keys = [generation_key(each, realm="fal") for each in inputs]
    async with ledger_at(each_ledger) as ledger:
        for prepare, key in zip((stored, submitted, intended, failed), keys, strict=False):
            await prepare(ledger, purchase(key))
        await parked(ledger, keys[4])
        await parked(ledger, keys[5])
        assert await ledger.claims.consent(keys[5], 1)
    told = await aestimate(inputs)
    assert states(told) == ["stored", "under way", "under way", "new", "unclear", "new"]
    assert told.total_usd == Decimal("0.96")


def test_orders_are_estimated_where_they_would_be_bought(tiny: FalEmulator, tmp_path: Path) -> None:
    """In their realm and ledger, with their takes."""
    generate(tiny, tmp_path, take=1)
    orders = [order_of(tiny, tmp_path, take=take) for take in (1, 2)]
    told = estimate(orders)
    assert (states(told), told.realm) == (["stored", "new"], "emulator")


def test_a_live_price_is_taken_and_the_difference_told(tiny: FalEmulator) -> None:
    """By the second or by the video; what is no price of a video is passed over, with a note."""
    changed = {"unit_price": 0.1, "unit": "seconds", "currency": "USD"}

    def change(body: dict[str, list[dict[str, object]]]) -> dict[str, object]:
        return {**body, "prices": [{**each, **changed} for each in body["prices"]]}

    mine = tiny.credentials()
    assert estimate(OWL, credentials=mine, live=True).notes == ()
    tiny.faults.add(edit("pricing", change, count=None))
    told = estimate([OWL, FOX], credentials=mine, live=True)
    assert told.total_usd == Decimal("1.20") and len(told.notes) == 2
    assert "the catalogue $0.49 (seen 2026-08)" in told.notes[0]
    changed["currency"] = "EUR"
    odd = estimate(OWL, credentials=mine, live=True)
    assert odd.total_usd == Decimal("0.49") and "0.1 EUR" in odd.notes[0]
    assert tiny.submissions == []


def test_what_is_no_input_is_refused(ledger_url: str) -> None:
    """As is a live price without a key."""
    with pytest.raises(TypeError, match="not of str"):
        estimate(["A fox."])  # type: ignore[list-item]
    with pytest.raises(MissingKeyError):
        estimate(FOX, live=True)


# A price that nobody knows


@pytest.fixture
def unpriced(monkeypatch: pytest.MonkeyPatch) -> VideoInput:
    """An input whose endpoint has no price in the catalogue."""
    kind = type(FOX)
    unpriced = tuple(replace(each, price=None) for each in kind.endpoint.variants)
    monkeypatch.setattr(kind, "endpoint", replace(kind.endpoint, variants=unpriced))
    return FOX


def test_an_unknown_price_is_no_price_of_nothing(unpriced: VideoInput, ledger_url: str) -> None:
    """It is in no sum, and is said."""
    told = estimate([unpriced, OWL])
    assert (told.total_usd, told.unpriced) == (Decimal("0.49"), 1)
    assert str(told) == "2 of 2 to buy, about $0.49, and 1 of unknown price"
    assert quote("hailuo-02-pro").price_usd is None
    assert told.notes == ("No price of hailuo-02-pro is known.",)


def test_a_budget_refuses_what_has_no_price(
    unpriced: VideoInput, tiny: FalEmulator, tmp_path: Path
) -> None:
    """Nothing is sent; without a limit it is bought, and its video says that no price is known."""
    limited = Budget(scope="trailer", total_usd=Decimal(100))
    with pytest.raises(BudgetError, match="is not known"):
        generate(tiny, tmp_path, unpriced, budget=limited)
    assert tiny.submissions == []
    assert generate(tiny, tmp_path, unpriced).price_usd is None
    assert tiny.charged == 1
