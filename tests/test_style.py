"""The house's tools have nothing to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "tool", ["ruff check .", "ruff format --check .", "mypy --strict"], ids=lambda tool: tool
)
def test_is_clean(tool: str) -> None:
    """Lint, format and types are part of the test command."""
    command = [sys.executable, "-m", *tool.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
