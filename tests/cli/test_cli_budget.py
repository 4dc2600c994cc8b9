"""`prefect-hailuo budget`: a limit is set, listed and shown, in the realm that it is for."""

from __future__ import annotations

from decimal import Decimal

import pytest
from commands import refusal, succeed

from prefect_hailuo import Budget


@pytest.mark.parametrize("realm", ["fal", "emulator"])
def test_a_limit_is_set_and_shown(realm: str) -> None:
    """As a table and as JSON; in the other realm there is none."""
    other = "emulator" if realm == "fal" else "fal"
    limits = ("--per-day", 5, "--total", 50)
    said = succeed("budget", "set", " trailer ", *limits, "--realm", realm)
    assert "trailer" in said.words and "$5.00" in said.words
    shown = succeed("budget", "show", "trailer", "--json", "--realm", realm).json
    assert [(each["period"], each["left_usd"]) for each in shown["limits"]] == [
        ("day", "5"),
        ("total", "50"),
    ]
    assert "trailer" in succeed("budget", "list", "--realm", realm).words
    assert "no limit" in succeed("budget", "show", "trailer", "--realm", other).words
    assert "No budget has a limit" in succeed("budget", "list", "--realm", other).words
    left = Budget(scope="trailer", total_usd=Decimal(1)).left(
        "fal" if realm == "fal" else "emulator"
    )
    assert set(left) == {"day", "total"}


def test_a_limit_must_be_one() -> None:
    """Without any, or with one below nothing, nothing is set."""
    for words in (["x"], ["x", "--total", "-1"], [" ", "--total", "1"]):
        assert "limit" in refusal("budget", "set", *words)
    assert "No budget has a limit" in succeed("budget", "list").words
