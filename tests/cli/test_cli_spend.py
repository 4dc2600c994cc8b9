"""`prefect-hailuo spend` and `estimate`: where the money is, what is left, what would be spent."""

from __future__ import annotations

from decimal import Decimal

import pytest
from commands import refusal, succeed
from databases import run_sql
from ledger_ground import failed, failed_by, intended, ledger_at, stored, submitted
from ledger_keys import A, B, C, parked, purchase

from prefect_hailuo.emulator import FalEmulator, edit
from prefect_hailuo.errors import InputRefusedError
from prefect_hailuo.ledger.attempt import Limits

HAILUO_02 = "fal-ai/minimax/hailuo-02/pro/text-to-video"

D, E, F = "d" * 64, "e" * 64, "f" * 64


async def spend_something(url: str) -> None:
    """One of each: settled, free, reserved, parked, and of unknown cost."""
    async with ledger_at(url) as ledger:
        await stored(ledger, purchase(A))
        await failed(ledger, purchase(B))
        await submitted(ledger, purchase(C))
        await parked(ledger, D, scope="trailer")
        refused = failed_by(InputRefusedError("Refused."))
        await refused(ledger, purchase(E, scope="trailer", endpoint=HAILUO_02))


async def test_every_dollar_is_somewhere(each_ledger: str) -> None:
    """Settled, reserved, parked or unknown; what cost nothing is nowhere."""
    await spend_something(each_ledger)
    spent = succeed("spend", "--json").json
    default, trailer = spent["groups"]
    assert (default["group"], default["settled_usd"], default["reserved_usd"]) == (
        ("default", "0.49", "0.49")
    )
    assert (trailer["parked_usd"], trailer["unknown_usd"]) == ("0.49", "0.49")
    assert (spent["total"]["total_usd"], spent["videos"]) == ("1.96", 1)
    shown = succeed("spend").words
    assert "total 1 $0.49 $0.49 $0.49 $0.49 $1.96" in shown
    assert "estimates from the catalogue" in shown and "UTC" in shown


async def test_money_is_added_up_by_model_and_by_day(each_ledger: str) -> None:
    """By the endpoint, and by the day of the intent, UTC."""
    await spend_something(each_ledger)
    april = "UPDATE hailuo_attempt SET intended_at = 1777593599 WHERE fate = 'stored'"
    may = "UPDATE hailuo_attempt SET intended_at = 1777593600 WHERE fate = 'submitted'"
    run_sql(each_ledger, april, may)
    days = succeed("spend", "--by", "day", "--until", "2026-05-01", "--json").json["groups"]
    assert [day["group"] for day in days] == ["2026-04-30", "2026-05-01"]
    since = succeed("spend", "--since", "2026-05-01", "--until", "2026-05-01", "--json").json
    assert since["total"]["reserved_usd"] == since["total"]["total_usd"] == "0.49"
    models = succeed("spend", "--by", "model", "--json").json["groups"]
    assert {each["group"]: each["total_usd"] for each in models}[HAILUO_02] == "0.49"
    assert "hailuo-02-pro" in succeed("spend", "--by", "model").out


async def test_what_is_left_of_each_limit_is_shown(each_ledger: str) -> None:
    """As a budget counts it: with what is reserved, parked and unknown."""
    await spend_something(each_ledger)
    async with ledger_at(each_ledger) as ledger:
        await ledger.budgets.put("fal", "trailer", Limits(per_day_usd=Decimal(1)))
    (limit,) = succeed("spend", "--json").json["limits"]
    assert limit == {
        **{"scope": "trailer", "period": "day"},
        **{"limit_usd": "1", "spent_usd": "0.98", "left_usd": "0.02"},
    }
    assert "trailer day $1.00 $0.98 $0.02" in succeed("spend").words


async def test_what_has_no_price_is_counted_apart(each_ledger: str) -> None:
    """It is in no figure, and that is said."""
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase(A, estimated_usd=None))
    assert succeed("spend", "--json").json["unpriced"] == 1
    assert "1 attempts are not in these figures" in succeed("spend").words


def test_nothing_spent_is_said(ledger_url: str) -> None:
    """An empty ledger is no error; a date that is none is one."""
    assert "Nothing was bought" in succeed("spend").out
    assert "is no date" in refusal("spend", "--since", "yesterday")


# estimate


def test_an_estimate_is_the_catalogues(ledger_url: str) -> None:
    """So many videos, with the price's source and date; no key is needed."""
    said = succeed("estimate", "hailuo-2.3-pro", "--count", "10").out
    assert "$4.90" in said and "2026-08" in said
    told = succeed("estimate", HAILUO_02, "--count", "3", "--json").json
    assert (told["price_usd"], told["total_usd"], told["count"]) == ("0.48", "1.44", 3)
    assert "Use one of: hailuo-2.3-pro" in refusal("estimate", "hailuo-9")


def test_a_live_estimate_says_where_it_differs(
    emulator: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fal's word of today is taken, the catalogue's named; nothing is submitted."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", emulator.url)

    def dearer(body: dict[str, list[dict[str, float]]]) -> dict[str, list[dict[str, float]]]:
        return {**body, "prices": [{**each, "unit_price": 0.6} for each in body["prices"]]}

    assert "$0.49" in succeed("estimate", "hailuo-2.3-pro", "--live").out
    emulator.faults.add(edit("pricing", dearer))
    said = succeed("estimate", "hailuo-2.3-pro", "--count", "2", "--live").words
    assert "$1.20" in said and "the catalogue $0.49" in said
    assert emulator.submissions == []


def test_a_live_estimate_needs_a_key(ledger_url: str) -> None:
    """Without one the error names the cure."""
    assert "FAL_KEY" in refusal("estimate", "hailuo-2.3-pro", "--live")
