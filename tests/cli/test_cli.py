"""The command `prefect-hailuo`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from commands import refusal, succeed

from prefect_hailuo import FalCredentials
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.models.catalogue import CATALOGUE

COMMAND = str(Path(sys.executable).parent / "prefect-hailuo")


def test_the_emulator_can_be_run_as_a_command() -> None:
    """It says where it is, answers there, accepts its own credentials, and ends on request."""
    arguments = [COMMAND, "emulator", "--port", "0", "--speed", "1000", "--clip", "plain"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(m[0] for line in lines if (m := re.search(r"http://127\.0\.0\.1:\d+", line)))
        stats = httpx.get(f"{url}/_emulator/stats").json()
        FalCredentials.for_emulator(url).check_key()
        process.terminate()
        process.communicate(timeout=10)
    kinds = ["submit", "status", "stream", "result", "cancel", "media"]
    nothing = {"charged": 0, "submitted": 0, "running": 0, "completed": 0}
    assert stats == {**nothing, "requests": dict.fromkeys(kinds, 0)}


def test_it_has_help() -> None:
    """`--help` names the commands and their options."""
    assert "emulator" in succeed("--help").words
    assert {"--port", "--speed"} <= set(re.findall(r"--\w+", succeed("emulator", "--help").out))


def test_it_lists_the_catalogue() -> None:
    """Every model is in it, with its price, and where and when that was seen."""
    listed = {each["id"]: each["variants"] for each in succeed("models", "--json").json}
    assert set(listed) == set(CATALOGUE)
    prices = [each["price"] for variants in listed.values() for each in variants]
    assert all(price["source"] and price["seen"] for price in prices)
    names = {input_class.endpoint.name for input_class in CATALOGUE.values()}
    assert names | {"$0.48", "$0.102"} <= set(succeed("models").out.split())


@pytest.mark.parametrize("arguments", [["--speed", "0"], ["--port", "{taken}"]])
def test_what_cannot_be_served_is_explained(emulator: FalEmulator, arguments: list[str]) -> None:
    """A speed of nothing, a port that is taken: one line, no traceback."""
    taken = emulator.url.rpartition(":")[2]
    refusal("emulator", *(each.format(taken=taken) for each in arguments))
