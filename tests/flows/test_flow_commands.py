"""The flows as commands: what they have in common, and that each says what it takes."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pytest

FLOWS = sorted(path.stem for path in (Path(__file__).parents[2] / "flows").glob("[!_]*.py"))


@pytest.mark.parametrize("name", FLOWS)
def test_help_explains_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also those that all flows have: an emulator, and JSON."""
    module = importlib.import_module(f"flows.{name}")
    with pytest.raises(SystemExit, match="0"):
        module.main(["--help"])
    assert {"--emulator", "--json"} <= set(capsys.readouterr().out.replace("[", " ").split())
    parser: argparse.ArgumentParser = module._parser()
    assert [each.dest for each in parser._actions if not each.help] == []
