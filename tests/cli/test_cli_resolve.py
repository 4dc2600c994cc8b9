"""`prefect-hailuo ledger resolve` and `reconcile`: what a person decides, and what a rerun does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import refusal, succeed
from databases import run_sql
from ledger_ground import (
    PRICE,
    decided,
    end_leases,
    failed,
    intended,
    latest,
    ledger_at,
    sending,
    stored,
    submitted,
    ticket_for,
)
from ledger_keys import A, B, parked, purchase
from roads import FOX, OWL, generate

from prefect_hailuo.emulator import FalEmulator, drop_after_accepting, refuse
from prefect_hailuo.errors import AbandonedError, ParkedError
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.ledger.attempt import Fate

Lose = Callable[[], str]


@pytest.fixture
def lose(tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lose:
    """Buys a fox, loses fal's answer, and gives its key up to a person; the history is silent."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", tiny.url)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")

    def buy() -> str:
        tiny.history.lag_seconds = 1e9
        tiny.faults.add(drop_after_accepting("submit"))
        with pytest.raises(ParkedError) as caught:
            generate(tiny, tmp_path / "videos")
        tiny.history.lag_seconds = 0
        return caught.value.key or ""

    return buy


# --adopt


def test_an_adopted_request_is_collected(lose: Lose, tiny: FalEmulator, tmp_path: Path) -> None:
    """fal's history shows that it is of this input; a rerun takes its video, and buys nothing."""
    key = lose()
    request_id = tiny.submissions[0].request_id
    said = succeed("ledger", "resolve", key[:12], "--adopt", request_id).words
    assert "A rerun will: wait for the request, and collect its video." in said
    assert generate(tiny, tmp_path / "videos").request_id == request_id
    assert tiny.charged == 1


def test_an_adopted_request_is_this_keys_or_nobodys(
    lose: Lose, tiny: FalEmulator, tmp_path: Path
) -> None:
    """Refused: of another input, of another key, of another realm, or not known to fal at all."""
    key = lose()
    other = generate(tiny, tmp_path / "videos", OWL).request_id
    planted = tiny.plant(FOX.endpoint.id, {"prompt": "A [bold]badger[/bold]."})
    unknown = planted[:-4] + "0000"
    assert "belongs to attempt 1 of the key" in refusal("ledger", "resolve", key, "--adopt", other)
    said = refusal("ledger", "resolve", key, "--adopt", planted, "--force")
    assert "another input" in said and "A [bold]badger[/bold]." in said
    said = refusal("ledger", "resolve", key, "--adopt", unknown, "--force")
    assert "fal knows no request" in said
    assert "realm" in refusal("ledger", "resolve", key, "--adopt", "019df76d")
    assert succeed("ledger", "list", "--parked", "--json").json[0]["key"] == key


@pytest.mark.parametrize("how", ["omits", "refuses"])
def test_a_request_that_the_history_hides_needs_force(
    how: str, lose: Lose, tiny: FalEmulator, tmp_path: Path
) -> None:
    """Its status tells that it is there, but not what it is: that is the person's word."""
    key = lose()
    request_id = tiny.submissions[0].request_id
    if how == "omits":
        tiny.history.omits_payloads = True
    else:
        tiny.faults.add(refuse("history", 403, count=None))
    assert "--force" in refusal("ledger", "resolve", key, "--adopt", request_id)
    succeed("ledger", "resolve", key, "--adopt", request_id, "--force")
    assert generate(tiny, tmp_path / "videos").request_id == request_id
    assert tiny.charged == 1


def test_only_the_attempts_own_account_can_say(lose: Lose, ledger_url: str) -> None:
    """Another's key would be told that there is no such request."""
    key = lose()
    run_sql(ledger_url, "UPDATE hailuo_attempt SET account = 'studio'", realm="emulator")
    said = refusal("ledger", "resolve", key, "--adopt", "emulator-x")
    assert "the account 'studio'" in said and "--credentials" in said


# --allow-one-resubmit and --abandon


def test_a_consent_buys_once_more(lose: Lose, tiny: FalEmulator, tmp_path: Path) -> None:
    """One more, and not a third."""
    key = lose()
    tiny.history.omits_payloads = True
    assert "buy once more" in succeed("ledger", "resolve", key, "--allow-one-resubmit").words
    first = generate(tiny, tmp_path / "videos")
    assert generate(tiny, tmp_path / "videos") == first
    assert tiny.charged == len(tiny.submissions) == 2


def test_what_is_abandoned_stays_so_and_counts(
    lose: Lose, tiny: FalEmulator, tmp_path: Path
) -> None:
    """A rerun raises that, and buys nothing; the money counts as spent."""
    key = lose()
    assert "raise the error" in succeed("ledger", "resolve", key, "--abandon").words
    with pytest.raises(AbandonedError):
        generate(tiny, tmp_path / "videos")
    assert succeed("spend", "--json").json["total"]["unknown_usd"] == "0.48"
    assert len(tiny.submissions) == 1


async def test_an_adoption_is_a_compare_and_swap(each_ledger: str) -> None:
    """Whoever bought meanwhile has the key: the attempt that was looked at is left as it is."""
    async with ledger_at(each_ledger) as ledger:
        seen = await parked(ledger, A)
        assert await ledger.claims.consent(A, 1)
        await submitted(ledger, purchase(A))
        assert await ledger.records.adopted(seen, ticket_for("found")) is None
        assert [one.request_id for one in (await ledger.reading.story(A)).attempts] == [
            *(None, f"{A}-2"),
        ]


# What is decided about


def test_exactly_one_decision_is_made(ledger_url: str) -> None:
    """None and two are refused, before anything is looked at."""
    for options in ([], ["--abandon", "--allow-one-resubmit"], ["--abandon", "--adopt", "r1"]):
        assert "Choose one" in refusal("ledger", "resolve", "a", *options)


async def test_the_attempt_is_the_one_that_was_looked_at(each_ledger: str) -> None:
    """If there is another by now, nothing happens to either."""
    async with ledger_at(each_ledger) as ledger:
        await parked(ledger, A)
        assert await ledger.claims.consent(A, 1)
        lost = await sending(ledger, purchase(A))
        await ledger.records.answer_lost(lost, AbandonedError("Lost."))
        said = refusal("ledger", "resolve", "a", "--abandon", "--attempt", "1")
        assert "attempt 2 (ambiguous) is the latest" in said
        assert (await latest(ledger, A)).error["message"] == "Lost."  # type: ignore[index]
    succeed("ledger", "resolve", "a", "--abandon", "--attempt", "2")


@pytest.mark.parametrize("option", ["--abandon", "--allow-one-resubmit"])
async def test_what_needs_no_decision_gets_none(each_ledger: str, option: str) -> None:
    """What is stored, at fal, or being submitted goes on by itself: the error says how."""
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase(A))
        assert "being submitted" in refusal("ledger", "resolve", A, option)
        await stored(ledger, purchase(B))
        assert "is stored" in refusal("ledger", "resolve", B, option)
        await submitted(ledger, purchase("c" * 64))
        assert "Run it again" in refusal("ledger", "resolve", "c", option)


async def test_a_request_that_never_ends_can_be_given_up_once_it_was_cancelled(
    each_ledger: str,
) -> None:
    """fal was asked to cancel it, and it still stands there: it counts as spent."""
    async with ledger_at(each_ledger) as ledger:
        one = await submitted(ledger, purchase(A))
        assert "cancel it first" in refusal("ledger", "resolve", A, "--abandon")
        await ledger.waiters.record_cancellation(one, Cancellation.REQUESTED)
        assert "raise the error" in succeed("ledger", "resolve", A, "--abandon").words
        given_up = await latest(ledger, A)
        assert (given_up.fate, given_up.cost_basis) == (Fate.FAILED, "unknown")
        assert given_up.counted_usd == PRICE
        assert await decided(ledger, purchase(A)) == "AbandonedError"


async def test_a_request_that_never_ends_can_be_replaced_once_it_was_cancelled(
    each_ledger: str,
) -> None:
    """One more is bought, not two; both count."""
    async with ledger_at(each_ledger) as ledger:
        one = await submitted(ledger, purchase(A))
        assert "cancel it first" in refusal("ledger", "resolve", A, "--allow-one-resubmit")
        await ledger.waiters.record_cancellation(one, Cancellation.REQUESTED)
        succeed("ledger", "resolve", A, "--allow-one-resubmit")
        await submitted(ledger, purchase(A, waiter="again"))
        assert await decided(ledger, purchase(A, waiter="third")) == "Attach"
        [spent] = await ledger.spending.spent("fal")
        assert spent.total_usd == 2 * PRICE


async def test_what_has_failed_cannot_be_abandoned(each_ledger: str) -> None:
    """It cost nothing, and stays so."""
    async with ledger_at(each_ledger) as ledger:
        await failed(ledger, purchase(A))
        assert "has failed already" in refusal("ledger", "resolve", A, "--abandon")
        assert (await latest(ledger, A)).cost_usd == 0


async def test_what_was_never_looked_for_is_not_decided_about(each_ledger: str) -> None:
    """A POST whose owner died may be in fal's history: that is asked first."""
    async with ledger_at(each_ledger) as ledger:
        await sending(ledger, purchase(A))
        end_leases(each_ledger)
        said = refusal("ledger", "resolve", A, "--allow-one-resubmit")
        assert "ledger reconcile" in said


# reconcile

NOBODY_IS_THERE = "UPDATE hailuo_waiter SET lease_until = 0"


def test_the_sweep_finds_and_collects_what_was_lost(
    lose: Lose, tiny: FalEmulator, tmp_path: Path, ledger_url: str
) -> None:
    """The lost request is adopted, and its video is there without another purchase."""
    key = lose()
    run_sql(ledger_url, NOBODY_IS_THERE, realm="emulator")
    (row,) = succeed("ledger", "reconcile", "--json").json
    assert (row["key"], row["attempt"]) == (key, 1)
    assert row["request_id"] == tiny.submissions[0].request_id
    assert "Nothing is left open" in succeed("ledger", "reconcile").out
    assert generate(tiny, tmp_path / "videos").request_id == row["request_id"]
    assert tiny.charged == 1


def test_the_sweeps_rows_fit_a_terminal(lose: Lose, tiny: FalEmulator, ledger_url: str) -> None:
    """Each with its key, what became of it, and what it cost."""
    key = lose()
    run_sql(ledger_url, NOBODY_IS_THERE, realm="emulator")
    tiny.history.omits_payloads = True
    shown = succeed("ledger", "reconcile").out
    assert f"{key[:12]} #1" in shown and "parked" in shown and "$0.48" in shown
