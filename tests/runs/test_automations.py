"""What is told makes automations act, on a real server."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml  # type: ignore[import-untyped]
from happenings import PATIENCE_SECONDS, recent
from prefect import flow
from prefect.automations import Automation
from roads import FOX

from prefect_hailuo import Budget, generate_video
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import BudgetError

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.fixture
def automation(prefect_server: None) -> Iterator[UUID]:
    """The documented one, which pauses what has reached its budget."""
    [written] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    created = Automation.model_validate(yaml.safe_load(written)).create()
    assert isinstance(created, Automation)
    assert created.id
    yield created.id
    created.delete()


@flow
def over_budget(emulator: FalEmulator, folder: Path) -> None:
    """Meets its budget."""
    with pytest.raises(BudgetError):
        generate_video(
            FOX,
            credentials=emulator.credentials(),
            storage=folder,
            budget=Budget(scope="pennies", total_usd=Decimal("0.01")),
        )


def test_the_documented_automation_fires(
    automation: UUID, tiny: FalEmulator, tmp_path: Path
) -> None:
    """Prefect says that it was triggered, by our event."""
    fired: list[Any] = []
    over_budget(tiny, tmp_path)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fired and time.monotonic() < deadline:
        time.sleep(0.2)
        fired = recent("prefect.automation.triggered", str(automation))
    assert fired
