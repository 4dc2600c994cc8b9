"""`prefect-hailuo ledger list` and `show`: what the ledger knows, for people and for programs."""

from __future__ import annotations

from dataclasses import fields

import pytest
from commands import refusal, run, succeed
from databases import run_sql
from ledger_ground import failed, intended, ledger_at, stored, submitted, ticket_for
from ledger_keys import A, B, C, parked, purchase

from prefect_hailuo.errors import ContentPolicyError
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.ledger.attempt import RERUN, Attempt, Rerun, Run

NASTY = "[bold]A fox[/bold] :fox: \x1b[31m\x9b2J\u202ered\nand white"


# list


async def test_attempts_are_listed_the_newest_first(each_ledger: str) -> None:
    """Each with its key, number, fate, money, prompt and request, in 80 columns."""
    async with ledger_at(each_ledger) as ledger:
        await stored(ledger, purchase(A))
        await failed(ledger, purchase(B))
        await intended(ledger, purchase(B))
    listed = succeed("ledger", "list").out
    places = [listed.index(each) for each in (f"{B[:12]} #2", f"{B[:12]} #1", f"{A[:12]} #1")]
    assert places == sorted(places)
    assert {"stored", "failed", "intended", "$0.49", "$0.00", f"{A}-1"[:36]} <= set(listed.split())
    assert "billed no" in listed and "A red fox" in listed


async def test_what_is_out_of_the_ordinary_is_seen(each_ledger: str) -> None:
    """Parked, duplicate, adopted, cancelled and by which run: all of it is in the list."""
    async with ledger_at(each_ledger) as ledger:
        one = await submitted(ledger, purchase(A, run=Run("run-of-mine"), waiter="w"))
        await ledger.records.accepted(one, ticket_for("another"))
        await ledger.waiters.withdraw(["run-of-mine"])
        await ledger.waiters.record_cancellation(one, Cancellation.REMOVED)
        await ledger.records.adopted(await parked(ledger, B), ticket_for("found"))
        await parked(ledger, C)
    rows = {(row["key"], row["number"]): row for row in succeed("ledger", "list", "--json").json}
    assert rows[A, 1]["cancelled_by"] == ["run-of-mine"] and rows[A, 1]["cancel_answer"] == "OK"
    assert (rows[A, 2]["duplicate"], rows[B, 1]["adopted"], rows[C, 1]["parked"]) == (True,) * 3
    listed = succeed("ledger", "list").words
    assert all(word in listed for word in ("duplicate", "adopted", "parked", "cancelled by"))


async def test_a_list_can_be_narrowed(each_ledger: str) -> None:
    """By fate, by what waits for a decision, by scope, by model, and by number."""
    async with ledger_at(each_ledger) as ledger:
        await stored(ledger, purchase(A, scope="trailer"))
        await parked(ledger, B)
        await intended(ledger, purchase(C, endpoint="fal-ai/minimax/hailuo-02/pro/text-to-video"))

    def keys(*options: str) -> list[str]:
        return [row["key"] for row in succeed("ledger", "list", "--json", *options).json]

    assert keys("--fate", "stored", "--fate", "intended") == [C, A]
    assert keys("--parked") == [B]
    assert keys("--scope", "trailer") == [A]
    assert keys("--model", "hailuo-02-pro") == [C]
    assert keys("--limit", "1") == [C]
    assert keys("--realm", "emulator") == []


async def test_json_is_the_whole_truth(each_ledger: str) -> None:
    """Every column is there by its name; times name their zone, and dollars are exact."""
    async with ledger_at(each_ledger) as ledger:
        await stored(ledger, purchase(A, labels={"shot": "7"}))
    (row,) = succeed("ledger", "list", "--json").json
    assert {field.name for field in fields(Attempt)} <= set(row)
    assert (row["cost_usd"], row["labels"], row["rerun"]) == ("0.49", {"shot": "7"}, "reuse")
    assert row["intended_at"].endswith("+00:00") and row["ticket"]["request_id"] == f"{A}-1"


async def test_a_prompt_steers_nothing(each_ledger: str) -> None:
    """It is shown as it was written: no markup, no emoji, no control character, no line end."""
    async with ledger_at(each_ledger) as ledger:
        mine = await submitted(ledger, purchase(A, body={"prompt": NASTY}, labels={"x": NASTY}))
        await ledger.records.failed(mine, ContentPolicyError(NASTY))
    for command in (["list"], ["show", "a"]):
        shown = succeed("ledger", *command).out
        assert "[bold]A fox" in shown
        assert not any(each in shown for each in "\x1b\x9b\u202e")
    assert ":fox:" in succeed("ledger", "show", "a").out


async def test_the_settings_name_the_realm(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is fal's, unless an emulator is set, and `--realm` says otherwise."""
    async with ledger_at(ledger_url) as ledger:
        await stored(ledger, purchase(A))
    assert A[:12] in succeed("ledger", "list").out
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", "http://127.0.0.1:1")
    assert "Nothing of that kind" in succeed("ledger", "list").out
    assert A[:12] in succeed("ledger", "list", "--realm", "fal").out


def test_a_ledger_out_of_reach_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the cure, and no traceback."""
    url = "postgresql://fox:s3cret@127.0.0.1:1/hailuo"
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL", url)
    said = refusal("ledger", "list")
    assert "PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL" in said and "s3cret" not in said


# show


async def test_a_key_is_found_by_any_beginning_of_it(each_ledger: str) -> None:
    """If it is unique; if not, or if it is none, the error says so."""
    async with ledger_at(each_ledger) as ledger:
        for key in (A, B):
            await stored(ledger, purchase(key))
    assert succeed("ledger", "show", "AB", "--json").json["key"] == B
    assert succeed("ledger", "show", A, "--json").json["key"] == A
    assert "Several keys begin with 'a'" in refusal("ledger", "show", "a")
    assert "knows no key that begins with 'b'" in refusal("ledger", "show", "b")
    assert "is no key" in refusal("ledger", "show", "fox%")


async def test_a_key_is_told_with_all_that_belongs_to_it(each_ledger: str) -> None:
    """Its attempts with their history and errors, its tickets, its waiters, its files."""
    async with ledger_at(each_ledger) as ledger:
        await failed(ledger, purchase(A, waiter="first", run=Run("run-1", "root-1")))
        await stored(ledger, purchase(A, waiter="second"))
    story = succeed("ledger", "show", "a", "--json").json
    assert [each["fate"] for each in story["attempts"]] == ["failed", "stored"]
    assert story["attempts"][0]["error"]["message"] == "Out of order."
    assert {each["flow_run_id"] for each in story["waiters"]} == {"run-1", None}
    assert [each["storage_key"] for each in story["files"]] == [f"{A}.mp4"]
    told = succeed("ledger", "show", "a").words
    assert all(word in told for word in ("Out of order.", f"{A}-2", "flow run run-1", "here/"))
    assert f"A rerun will: {Rerun.REUSE.value}." in told


async def test_what_is_parked_is_told_with_its_cures(each_ledger: str) -> None:
    """Why it is, that a rerun looks again, and the three decisions that there are."""
    async with ledger_at(each_ledger) as ledger:
        one = await parked(ledger, A)
    told = succeed("ledger", "show", "a").words
    assert RERUN[one.fate, one.billed].value in told and "fal's history shows nothing." in told
    for option in ("--adopt REQUEST_ID", "--allow-one-resubmit", "--abandon"):
        assert option in told


async def test_a_consent_changes_what_a_rerun_does(each_ledger: str) -> None:
    """It is shown for as long as it is not used."""
    async with ledger_at(each_ledger) as ledger:
        await parked(ledger, A)
        assert await ledger.claims.consent(A, 1)
        assert "buy once more" in succeed("ledger", "show", "a").words
        await intended(ledger, purchase(A))
        assert "buy once more" not in succeed("ledger", "show", "a").words


async def test_a_redacted_generation_can_be_told(each_ledger: str) -> None:
    """What is gone is said to be gone."""
    async with ledger_at(each_ledger) as ledger:
        await stored(ledger, purchase(A))
    run_sql(each_ledger, "UPDATE hailuo_attempt SET body = NULL")
    assert "(redacted)" in succeed("ledger", "list").out
    assert "(redacted)" in succeed("ledger", "show", "a").out


def test_every_command_has_help() -> None:
    """Each says what it does, and names its options."""
    listed = run("ledger", "--help").out
    for name in ("list", "show", "reconcile", "resolve", "export", "import", "prune"):
        assert name in listed
        assert run("ledger", name, "--help").code == 0
