"""Flow files that a user copied from the first release: the flows run, their commands say the cure.

`flows.tar.xz` is `git archive fbd91da flows | xz`.
"""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prefect.flows import load_flow_from_entrypoint

from prefect_hailuo.emulator import FalEmulator

ARCHIVE = Path(__file__).with_name("flows.tar.xz")

CALLS: Mapping[str, Mapping[str, Any]] = {
    "batch": {"prompts": ["A fox.", "An owl."], "approve_above_usd": 5},
    "compare_models": {"prompt": "A kite.", "approve_above_usd": 5},
    "patient_video": {"prompt": "A cat.", "suspend": False},
    "reconcile": {"realm": "emulator"},
    "schema_watch": {},
    "storyboard": {"scenes": ["A fox wakes.", {"prompt": "It runs.", "continues": True}]},
    "text_to_video": {"prompt": "A red fox."},
}

BOUGHT = {"batch": 2, "compare_models": 2, "patient_video": 1, "storyboard": 2, "text_to_video": 1}
"""How many videos each buys."""


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the files."""
    folder = tmp_path_factory.mktemp("copies")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "flows"


@pytest.mark.parametrize("name", CALLS)
def test_its_flow_runs(
    name: str,
    copies: Path,
    emulator: FalEmulator,
    prefect_server: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a deployment loads and calls it."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", emulator.url)
    flow: Any = load_flow_from_entrypoint(f"{copies / name}.py:{name}")
    made = flow(**CALLS[name])
    assert asyncio.run(made) if inspect.iscoroutine(made) else made
    assert emulator.charged == BOUGHT.get(name, 0)


def test_its_command_says_the_cure(copies: Path) -> None:
    """It ends before anything is bought, and names what to call instead."""
    command = [sys.executable, "batch.py", "A fox.", "--emulator"]
    done = subprocess.run(command, cwd=copies, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nothing was bought" in done.stderr and "prefect-hailuo run batch" in done.stderr
    assert "from prefect_hailuo.flows import batch" in done.stderr
    assert "Traceback" not in done.stderr
