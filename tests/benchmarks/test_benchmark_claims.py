"""The benchmark of the ledger runs, and says what it measured."""

from __future__ import annotations

import json

import pytest

from benchmarks.claims import CALLERS, Case, Measured, main


@pytest.mark.campaign
def test_a_small_run_has_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Both databases; claims alone, with a budget, and the whole chain; few and many callers."""
    assert main(["--count", "20", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["row"] for row in rows] == [
        f"{database}-{steps}-{callers}"
        for database in ("sqlite", "postgresql")
        for steps in ("claim", "budget", "chain")
        for callers in CALLERS
    ]
    assert all(row["figures"]["a_second"] > 0 < row["figures"]["cpu_ms_each"] for row in rows)


def test_goals_are_for_many_at_once() -> None:
    """Ten thousand claims in three seconds, and 0.4 ms of CPU for a whole generation."""
    claims = Case("sqlite", "claim", 10_000)
    assert Measured(claims, 10_000, 2.9, 1.0).as_json()["met"] is True
    assert Measured(claims, 10_000, 3.1, 1.0).as_json()["met"] is False
    assert Measured(Case("sqlite", "chain", 10_000), 1000, 9.0, 0.5).as_json()["met"] is False
    assert Measured(Case("sqlite", "chain", 1), 1000, 9.0, 0.5).as_json()["met"] is None
