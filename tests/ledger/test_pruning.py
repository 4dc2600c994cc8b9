"""Pruning: what cost nothing may go, what was asked for may be forgotten, money never."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import succeed
from databases import run_sql
from ledger_ground import (
    Prepare,
    cancelled,
    failed,
    failed_by,
    latest,
    ledger_at,
    sending,
    stored,
    submitted,
    succeeded,
)
from ledger_keys import A, B, C, parked, purchase
from roads import FOX, generate

from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import ContentPolicyError, InputRefusedError
from prefect_hailuo.ledger.attempt import MOST_ATTEMPTS, Run
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.upkeep.pruning import Pruned

LONG_AGO = [
    "UPDATE hailuo_attempt SET intended_at = intended_at - 864000, lease_until = 0, "
    "submitted_at = submitted_at - 864000, ended_at = ended_at - 864000",
    "UPDATE hailuo_generation SET created_at = created_at - 864000",
    "UPDATE hailuo_waiter SET lease_until = lease_until - 864000",
    "UPDATE hailuo_cancelled_run SET cancelled_at = cancelled_at - 864000",
]
"""Ten days pass, for what is there."""

WORD = "Sphinx"


def age(url: str, realm: str = "fal") -> None:
    """Let ten days pass."""
    run_sql(url, *LONG_AGO, realm="emulator" if realm == "emulator" else "fal")


async def pruned(ledger: Ledger, **options: bool) -> Pruned:
    """What is dropped of what is older than five days."""
    return await ledger.pruning.prune("fal", 5, **options)


async def test_what_cost_nothing_goes_with_all_of_it(each_ledger: str) -> None:
    """The attempt, its key, its waiter; what is younger stays."""
    async with ledger_at(each_ledger) as ledger:
        await failed(ledger, purchase(A))
        age(each_ledger)
        await failed(ledger, purchase(B))
        assert await pruned(ledger) == Pruned(attempts=1, generations=1, waiters=1)
        assert await ledger.claims.latest(A) is None
        assert (await latest(ledger, B)).number == 1
        assert await pruned(ledger) == Pruned()


async def test_money_is_never_dropped(each_ledger: str) -> None:
    """Nor what may have cost some, is under way, or waits for a decision; the sum is the same."""
    refused = failed_by(InputRefusedError("Refused."))
    prepared: list[Prepare] = [sending, submitted, succeeded, stored, cancelled, refused]
    async with ledger_at(each_ledger) as ledger:
        for n, prepare in enumerate(prepared):
            await prepare(ledger, purchase(f"{n}" * 64))
        await parked(ledger, A)
        age(each_ledger)
        before = await ledger.spending.spent("fal")
        assert (await pruned(ledger, redact=True)).attempts == 0
        assert await ledger.spending.spent("fal") == before
        assert len(run_sql(each_ledger, "SELECT * FROM hailuo_attempt")) == len(prepared) + 1


async def test_whoever_waits_for_what_is_open_stays(each_ledger: str) -> None:
    """So that it is not cancelled under them; whoever waited for what has ended goes."""
    async with ledger_at(each_ledger) as ledger:
        for key in (A, B):
            await submitted(ledger, purchase(key, run=Run(f"run-{key[:4]}")))
        await parked(ledger, C)
        await ledger.waiters.withdraw(["run-aaaa", "run-ab00"])
        await stored(ledger, purchase("d" * 64))
        await ledger.records.failed(await latest(ledger, B), ContentPolicyError("No."))
        age(each_ledger)
        assert await pruned(ledger) == Pruned(waiters=2, cancelled_runs=1)
        assert await ledger.waiters.is_unwanted(A)
    left = {row["key"] for row in run_sql(each_ledger, "SELECT key FROM hailuo_waiter")}
    assert left == {A, C}


async def test_a_key_that_failed_too_often_is_remembered(each_ledger: str) -> None:
    """Or a rerun would try it as often again."""
    async with ledger_at(each_ledger) as ledger:
        for _ in range(MOST_ATTEMPTS):
            await failed(ledger, purchase(A))
        age(each_ledger)
        assert (await pruned(ledger)).attempts == 0


async def test_a_dry_run_changes_nothing(each_ledger: str) -> None:
    """And says the same as the real one."""
    async with ledger_at(each_ledger) as ledger:
        await failed(ledger, purchase(A))
        await stored(ledger, purchase(B))
        age(each_ledger)
        would = await pruned(ledger, redact=True, dry_run=True)
        assert (await latest(ledger, B)).body and (await latest(ledger, A)).number == 1
        assert await pruned(ledger, redact=True) == would
        assert would == Pruned(attempts=1, generations=1, waiters=2, redacted=2)


async def test_redacting_leaves_no_word_of_a_prompt(each_ledger: str) -> None:
    """Not in the body, the ticket, the labels, the errors or the files; the digest stays."""
    said = {"body": {**FOX.body(), "prompt": WORD}, "labels": {"title": WORD}}
    async with ledger_at(each_ledger) as ledger:
        one = await stored(ledger, purchase(A, **said))
        mine = await submitted(ledger, purchase(B, **said))
        await ledger.records.failed(mine, ContentPolicyError(f"It shows a {WORD}."))
        age(each_ledger)
        assert (await pruned(ledger, redact=True)).redacted == 2
        assert (await latest(ledger, A)).body_digest == one.body_digest
        video = (await ledger.files.of(A))[0]
        assert (video.input, video.labels) == (None, {})
    for table in ("hailuo_attempt", "hailuo_file"):
        assert WORD not in repr(run_sql(each_ledger, f"SELECT * FROM {table}"))  # noqa: S608


async def test_redacting_leaves_no_word_in_sqlites_file(ledger_url: str) -> None:
    """Nor in the pages that it has freed."""
    body = {**FOX.body(), "prompt": WORD * 2000}
    async with ledger_at(ledger_url) as ledger:
        await stored(ledger, purchase(A, body=body))
    assert any(WORD.encode() in content for content in files_of(ledger_url))
    age(ledger_url)
    async with ledger_at(ledger_url) as ledger:
        await pruned(ledger, redact=True)
    assert not any(WORD.encode() in content for content in files_of(ledger_url))


def files_of(url: str) -> list[bytes]:
    """What SQLite's files hold."""
    database = Path(url.removeprefix("sqlite:///"))
    return [path.read_bytes() for path in database.parent.iterdir()]


def test_a_redacted_video_is_reused(
    tmp_path: Path, tiny: FalEmulator, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same prompt finds it, and so does another place; nothing is bought again."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", tiny.url)
    first = generate(tiny, tmp_path / "videos")
    age(ledger_url, "emulator")
    assert "Redacted: 1 attempts" in succeed("ledger", "prune", "--older-than", 5, "--redact").out
    again = generate(tiny, tmp_path / "videos")
    elsewhere = generate(tiny, tmp_path / "elsewhere")
    assert (again.path, again.sha256) == (first.path, first.sha256)
    assert elsewhere.sha256 == first.sha256
    assert tiny.charged == 1


def test_less_than_a_day_is_not_old(ledger_url: str) -> None:
    """What ended a moment ago may still be in somebody's hands."""
    ran = succeed("ledger", "prune", "--older-than", "1", "--dry-run", "--json").json
    assert (ran["attempts"], ran["dry_run"]) == (0, True)
