"""Export and import: a ledger as lines of JSON, whole, and merged without a purchase lost."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from commands import refusal, run, succeed
from databases import LEDGER_URL, run_sql
from file_server import smallest_video
from ledger_ground import (
    cancelled,
    decided,
    failed,
    intended,
    latest,
    ledger_at,
    sending,
    stored,
    submitted,
    ticket_for,
)
from ledger_keys import A, B, C, parked, purchase
from roads import FOX, names

from prefect_hailuo import FalCredentials
from prefect_hailuo.emulator import FalEmulator, lose_answer
from prefect_hailuo.errors import HailuoError, InputRefusedError
from prefect_hailuo.ledger.attempt import Fate, Limits, Run
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.tables import metadata
from prefect_hailuo.ledger.upkeep.exchange import TABLES
from prefect_hailuo.runs.execution import generating, perform
from prefect_hailuo.runs.orders import make_order

SECRET = "0123456789abcdef-secret"

LIMITS = Limits(total_usd=Decimal(9))

Rows = dict[str, list[dict[str, Any]]]


async def fill(ledger: Ledger) -> None:
    """Something in every table."""
    await stored(ledger, purchase(A, labels={"Ö": "☃"}, limits=LIMITS, scope="trailer"))
    await failed(ledger, purchase(B, waiter="first"))
    await submitted(ledger, purchase(B, run=Run("run-1")))
    await cancelled(ledger, purchase(C))
    await parked(ledger, "d" * 64)
    await ledger.waiters.withdraw(["run-1"])
    await ledger.beginnings.settle("fal", "studio")


async def exported(ledger: Ledger) -> list[str]:
    """The lines of an export."""
    lines: list[str] = []
    await ledger.exchange.export("fal", lines.append)
    return lines


def rows_of(url: str) -> Rows:
    """All that a ledger holds, but for when it began and what it accounts for."""
    names = [
        table.name for table in TABLES if table.name not in ("hailuo_origin", "hailuo_history")
    ]
    return {
        name: sorted(run_sql(url, f"SELECT * FROM {name}"), key=repr)  # noqa: S608
        for name in names
    }


def test_every_table_is_exported() -> None:
    """None is forgotten, now or later."""
    assert set(TABLES) == set(metadata.tables.values())


async def test_an_import_is_the_ledger_again(each_ledger: str, tmp_path: Path) -> None:
    """To the row, from either database; to import it again changes nothing."""
    other = f"sqlite:///{tmp_path / 'other' / 'ledger.db'}"
    async with ledger_at(each_ledger) as ledger, ledger_at(other) as again:
        await fill(ledger)
        merged = await again.exchange.merge("fal", await exported(ledger))
        assert merged.added["hailuo_attempt"] == 5
        assert (await latest(again, A)) == (await latest(ledger, A))
        assert (await again.exchange.merge("fal", await exported(ledger))).added == {}
        assert await again.spending.spent("fal") == await ledger.spending.spent("fal")


async def test_a_ledger_moves_from_sqlite_to_postgresql(
    ledger_url: str, postgresql_url: str
) -> None:
    """All its rows are the same there, and nothing is bought again."""
    async with ledger_at(ledger_url) as small, ledger_at(postgresql_url) as big:
        await fill(small)
        await big.exchange.merge("fal", await exported(small))
        here, there = rows_of(ledger_url), rows_of(postgresql_url)
        assert {name: len(rows) for name, rows in here.items()} == {
            name: len(rows) for name, rows in there.items()
        }
        for key in (A, B, C):
            assert await latest(big, key) == await latest(small, key)
            assert await decided(big, purchase(key)) == await decided(small, purchase(key))


async def test_what_the_ledger_has_stays(each_ledger: str) -> None:
    """An older export does not take back what has become known since."""
    async with ledger_at(each_ledger) as ledger:
        mine = await submitted(ledger, purchase(A))
        before = await exported(ledger)
        await ledger.records.failed(mine, InputRefusedError("Refused."))
        await submitted(ledger, purchase(B))
        merged = await ledger.exchange.merge("fal", before)
        assert merged.added == {}
        assert (await latest(ledger, A)).fate is Fate.FAILED


async def test_another_attempt_under_the_same_number_is_kept(
    each_ledger: str, tmp_path: Path
) -> None:
    """Two ledgers bought the same: both purchases are in the merged one, the second a duplicate."""
    other = f"sqlite:///{tmp_path / 'other' / 'ledger.db'}"
    async with ledger_at(each_ledger) as ledger, ledger_at(other) as lost:
        await submitted(lost, purchase(A))
        await ledger.records.accepted(await sending(ledger, purchase(A)), ticket_for("another"))
        lines = await exported(lost)
        await ledger.exchange.merge("fal", lines)
        assert (await ledger.exchange.merge("fal", lines)).added == {}
        story = await ledger.reading.story(A)
        found = [(each.number, each.request_id, each.duplicate) for each in story.attempts]
        assert found == [(1, "another", False), (2, f"{A}-1", True)]


async def test_the_next_attempt_has_a_number_of_its_own(each_ledger: str, tmp_path: Path) -> None:
    """What is bought after an import goes on counting."""
    other = f"sqlite:///{tmp_path / 'other' / 'ledger.db'}"
    async with ledger_at(each_ledger) as ledger, ledger_at(other) as lost:
        await failed(lost, purchase(A))
        await ledger.exchange.merge("fal", await exported(lost))
        assert (await intended(ledger, purchase(A))).number == 2


@pytest.mark.parametrize("prepare", [intended, sending])
async def test_what_was_being_submitted_may_have_been_bought(
    prepare: Any, each_ledger: str, tmp_path: Path
) -> None:
    """Its owner went on after the export: it is looked for, never taken for unsent."""
    other = f"sqlite:///{tmp_path / 'other' / 'ledger.db'}"
    async with ledger_at(other) as lost, ledger_at(each_ledger) as ledger:
        await prepare(lost, purchase(A))
        await ledger.exchange.merge("fal", await exported(lost))
        assert (await latest(ledger, A)).fate is Fate.AMBIGUOUS
        assert await decided(ledger, purchase(A)) == "Reconcile"


async def test_a_merged_ledger_still_looks_back(ledger_url: str, tmp_path: Path) -> None:
    """What was bought since the export only fal knows: the export settles nothing."""
    other = f"sqlite:///{tmp_path / 'other' / 'ledger.db'}"
    async with ledger_at(other) as lost, ledger_at(ledger_url) as ledger:
        await fill(lost)
        assert (await ledger.claims.latest(A)) is None
        await ledger.exchange.merge("fal", await exported(lost))
    assert run_sql(ledger_url, "SELECT * FROM hailuo_history") == []


# What is no export


async def test_half_an_export_changes_nothing(each_ledger: str, tmp_path: Path) -> None:
    """A torn file, a damaged line, another thing altogether: refused, and nothing is written."""
    other = f"sqlite:///{tmp_path / 'other' / 'ledger.db'}"
    async with ledger_at(other) as lost:
        await fill(lost)
        lines = await exported(lost)
    torn = {
        "torn": lines[:-1],
        "damaged": [*lines[:-1], lines[-1][:-9]],
        "headless": lines[1:],
        "empty": [],
        "foreign": ["[]"],
        "stranger": [lines[0], '{"table": "hailuo_attempt", "row": {"nope": 1}}'],
    }
    for name, content in torn.items():
        file = tmp_path / name
        file.write_text("\n".join(content))
        assert "Nothing was imported" in refusal("ledger", "import", file)
    assert succeed("ledger", "list", "--json").json == []


async def test_an_export_says_what_it_is(ledger_url: str, tmp_path: Path) -> None:
    """Its realm and its revision: another realm's, or a newer release's, is refused."""
    file = tmp_path / "export.jsonl"
    assert "3 rows" not in succeed("ledger", "export", file).out
    header = json.loads(file.read_text().splitlines()[0])
    assert (header["hailuo_ledger"], header["realm"]) == (1, "fal")
    assert "--realm fal" in refusal("ledger", "import", file, "--realm", "emulator")
    newer = {**header, "revision": "9999"}
    file.write_text(json.dumps(newer))
    assert "Upgrade prefect-hailuo" in refusal("ledger", "import", file)


# The commands


async def test_the_commands_write_and_read_a_file(
    each_ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written whole or not at all, to a file or to standard output; read into another ledger."""
    async with ledger_at(each_ledger) as ledger:
        await fill(ledger)
    file = tmp_path / "export.jsonl"
    assert "5 of them attempts" in succeed("ledger", "export", file).out
    assert run("ledger", "export", "-").out.splitlines()[1:] == file.read_text().splitlines()[1:]
    assert "No such file" in refusal("ledger", "export", tmp_path / "none" / "export.jsonl")
    monkeypatch.setenv(LEDGER_URL, f"sqlite:///{tmp_path / 'new' / 'ledger.db'}")
    assert "attempt 5 0" in succeed("ledger", "import", file).words
    assert succeed("ledger", "import", file, "--json").json["added"] == {}
    assert not [name for name in names(tmp_path) if name.endswith(".part")]
    assert "No such file" in refusal("ledger", "import", tmp_path / "nothing")
    assert "Unknown option: --nothing" in run("ledger", "import", "--nothing").err


def test_there_is_no_secret_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever key bought: it is in no line, nor in the ledger's own file."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")
    with FalEmulator(speed=1000, clip=smallest_video(), api_key=f"id:{SECRET}") as emulator:
        mine = FalCredentials.for_emulator(emulator.url, f"id:{SECRET}")
        place = tmp_path / "videos"
        perform(generating(make_order(FOX, credentials=mine, storage=place)))
        emulator.faults.add(lose_answer("submit"))
        emulator.history.omits_payloads = True
        with pytest.raises(HailuoError):
            perform(generating(make_order(FOX, credentials=mine, storage=place, take=1)))
    whole = run("ledger", "export", "-", "--realm", "emulator").out
    assert "ambiguous" in whole and FOX.prompt in whole and SECRET not in whole
    for path in (tmp_path / "ledger").iterdir():
        assert SECRET.encode() not in path.read_bytes()
