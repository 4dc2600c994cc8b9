"""What is in fal's history is not bought again, however it got there and however it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from roads import generate, order_of

from prefect_hailuo import Hailuo23ProTextToVideo
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.steps import acquiring, perform

COMPOSED = Hailuo23ProTextToVideo(prompt="A caf\u00e9.")
DECOMPOSED = Hailuo23ProTextToVideo(prompt="A cafe\u0301.")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in the history at once is not waited for, unless a test says so."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")


def test_accents_are_found_however_they_are_written(fal: FalEmulator, tmp_path: Path) -> None:
    """It was bought composed, before the ledger began, and is asked for decomposed."""
    planted = fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=60)
    order = order_of(fal, tmp_path, DECOMPOSED)
    assert order.input.body() == DECOMPOSED.body() != COMPOSED.body()
    assert perform(acquiring(order)).request_id == planted
    assert generate(fal, tmp_path, DECOMPOSED).request_id == planted
    assert fal.submissions == []


def test_half_a_character_hides_no_other_request(fal: FalEmulator, tmp_path: Path) -> None:
    """JSON lets a prompt end within an emoji: that is somebody else's, and no obstacle."""
    fal.plant(COMPOSED.endpoint.id, {"prompt": "A fox \ud83e"}, seconds_ago=60)
    planted = fal.plant(COMPOSED.endpoint.id, COMPOSED.body(), seconds_ago=60)
    assert perform(acquiring(order_of(fal, tmp_path, COMPOSED))).request_id == planted
