"""The flows as commands: what they have in common, and that each says what it takes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from children import run_forked
from commands import Console, run
from cyclopts import App

from prefect_hailuo import flows
from prefect_hailuo.cli.run import SUMMARIES
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.flows.command import UNREACHED, FlowOptions, run_flow_command, say
from prefect_hailuo.runs.blocks import FalCredentials

ROOT = Path(__file__).parents[2]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("[!_]*.py"))


def app_of(name: str) -> App:
    """A flow's command."""
    found: App = importlib.import_module(f"prefect_hailuo.flows.{name}").app
    return found


def test_every_flow_of_the_package_has_a_file_and_a_command() -> None:
    """Of one name, and with the same words about it."""
    assert flows.__all__ == list(SUMMARIES) == FLOWS
    for name, summary in SUMMARIES.items():
        told = (app_of(name).default_command.__doc__ or "").splitlines()[0]
        assert told == summary
        assert app_of(name).name == (name.replace("_", "-"),)


@pytest.mark.parametrize("name", FLOWS)
def test_help_explains_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also those that all flows have: an emulator, and JSON."""
    module = importlib.import_module(f"flows.{name}")
    assert module.main(["--help"]) == 0
    assert {"--emulator", "--json"} <= set(capsys.readouterr().out.split())
    assert run("run", name.replace("_", "-"), "--help").code == 0
    for argument in app_of(name).assemble_argument_collection(parse_docstring=False):
        assert argument.parameter.help or argument.name == "*", argument


def test_a_flows_file_is_a_script() -> None:
    """It needs nobody's installation but the package's, and starts nothing to explain itself."""
    command = [sys.executable, str(ROOT / "flows" / "compare_models.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"--emulator", "--json", "--models", "--take"} <= set(done.stdout.split())


@pytest.mark.parametrize("name", FLOWS)
def test_a_wrong_call_is_told_from_a_flow_that_fails(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its exit code is 2, and nothing has begun; of the file and of the program alike."""
    module = importlib.import_module(f"flows.{name}")
    assert module.main(["A fox.", "--nonsense"]) == 2
    assert "--nonsense" in capsys.readouterr().err
    wrong = run("run", name.replace("_", "-"), "A fox.", "--nonsense")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--nonsense" in wrong.err


CALLS: list[list[str]] = [
    ["A fox.", "An owl.", "--emulator", "{url}", "--plan"],
    ["--emulator", "{url}", "--plan", "A fox.", "An owl."],
    ["--plan", "--emulator={url}", "--", "A fox.", "An owl."],
]


@pytest.mark.parametrize("call", CALLS)
def test_options_stand_before_and_after_the_prompts(
    call: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also the one that may have a value, and may have none."""
    main: Any = importlib.import_module("flows.batch").main
    with FalEmulator(clip=b"") as emulator:
        words = [each.format(url=emulator.url) for each in call]
        assert main(words) == 0
        assert "2 of 2 to buy" in capsys.readouterr().out
        ran = run("run", "batch", *words)
        assert (ran.code, ran.err) == (0, "")
        assert "2 of 2 to buy" in ran.out
        assert emulator.submissions == []


def test_the_emulator_needs_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    """One is started for the command: at its end, in the middle, and before a `--`."""
    main: Any = importlib.import_module("flows.batch").main
    for words in (["A fox.", "--plan", "--emulator"], ["--emulator", "--plan", "--", "-A fox."]):
        assert main(words) == 0
        assert "at fal, about $0.49" in capsys.readouterr().out


def test_models_that_are_not_named_are_not_bought() -> None:
    """`--models` without one is no call for those that are taken by default."""
    ran = run("run", "compare-models", "A fox.", "--emulator", "http://127.0.0.1:1", "--models")
    assert (ran.code, ran.out) == (1, "")
    assert "two models" in ran.err


def test_the_program_loads_no_flow_that_is_not_asked_for() -> None:
    """Its other commands start as fast as without them."""
    code = "import sys, prefect_hailuo.cli; print('prefect_hailuo.flows.batch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


ORDERS = [
    "from prefect_hailuo.flows import batch",
    "import prefect_hailuo.flows.batch; from prefect_hailuo.flows import batch",
    "from prefect_hailuo.flows.batch import main; from prefect_hailuo.flows import batch",
    "from prefect_hailuo.flows import *",
    "import prefect_hailuo; batch = prefect_hailuo.flows.batch",
]

FOUND = f"""
assert isinstance(batch, Flow), batch
assert isinstance(sys.modules["prefect_hailuo.flows.batch"], types.ModuleType)
assert load_flow_from_entrypoint("prefect_hailuo.flows.batch.batch") is batch
assert load_flow_from_entrypoint("prefect_hailuo.flows.batch") is batch
assert {{*{flows.__all__!r}}} <= {{*dir(sys.modules["prefect_hailuo.flows"])}}
"""


def test_a_flow_is_found_by_its_name_however_it_is_imported() -> None:
    """The flow, never its module; Prefect's entry points find it by the package and the module."""
    before = "import sys, types\nfrom prefect import Flow\n"
    before += "from prefect.flows import load_flow_from_entrypoint\n"
    run_forked(before, [order + FOUND for order in ORDERS])


@pytest.mark.parametrize(
    "name", ["batch", "compare_models", "patient_video", "storyboard", "text_to_video"]
)
def test_no_command_buys_a_files_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever names a file means what is in it."""
    main: Any = importlib.import_module(f"flows.{name}").main
    with FalEmulator(clip=b"") as emulator:
        assert main(["rows.xlsx", "--emulator", emulator.url]) == 1
        assert emulator.submissions == []
    err = capsys.readouterr().err
    assert "'rows.xlsx' looks like a file's name or address" in err and "--file" in err


def test_a_console_of_few_characters_is_told_all_the_same() -> None:
    """What it has no character for is written as JSON writes it, and stays readable as such."""
    console = Console()
    say('{"prompt": "Łódź — café 🦊"}', console)
    assert json.loads(console.told) == {"prompt": "Łódź — café 🦊"}
    assert "— café" in console.told


@pytest.mark.parametrize("error", [RuntimeError(f"{UNREACHED[0]} at x"), httpx.ConnectError("no")])
def test_without_a_server_there_is_one_line_with_a_cure(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback: nothing is wrong but that nobody is there."""

    def run(_: FalCredentials) -> str:
        raise error

    options = FlowOptions(emulator="http://127.0.0.1:1")
    assert run_flow_command(options, run, str) is None
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Prefect's server cannot be reached.")
    assert "prefect server start" in line


def test_a_key_without_its_secret_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part of it was copied."""
    monkeypatch.setenv("FAL_KEY", "11112222-3333-4444-5555-666677778888")
    assert run_flow_command(FlowOptions(), lambda _: "", str) is None
    assert "has no colon" in capsys.readouterr().err
