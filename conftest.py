"""What the tests share: the guard, ledgers, emulators; and the documentation's tests.

Every example in a docstring is a test, and so is every snippet of the README and the documentation.
"""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Callable, Iterator
from doctest import ELLIPSIS
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
from sybil import Example, Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

from prefect_hailuo import FalCredentials
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.ledger.address import Allowance

pytest_plugins = [
    *("databases", "prefect_servers", "process_loops", "released", "scenes", "side_by_side"),
    *("s3_servers", "tiny_emulators"),
]


def check_shell(example: Example) -> None:
    """As `shell_snippets` says; loaded where there are any, for it loads all commands."""
    import_module("shell_snippets").check_shell(example)


def check_data(example: Example) -> None:
    """As `shell_snippets` says."""
    import_module("shell_snippets").check_data(example)


TESTS = Path(__file__).parent / "tests"

GUARD = TESTS / "guard"


def pytest_configure() -> None:
    """Refuse what leaves this machine, here and in every child; forget any real key."""
    rooms = sorted(str(each) for each in TESTS.iterdir() if each.is_dir() and each != GUARD)
    path = [str(GUARD), str(TESTS), *rooms, os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
    os.environ["DO_NOT_TRACK"] = "1"
    # Hundreds of children would compile the package anew, each for itself.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Wherever a test machine keeps its temporary files, no money is at stake.
    os.environ["PREFECT_INTEGRATIONS_HAILUO_LEDGER_ALLOW"] = json.dumps(get_args(Allowance))
    # Where many tests start one at once, Prefect's temporary server takes its time.
    os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
    for name in ("FAL_KEY", "FAL_KEY_ID", "FAL_KEY_SECRET"):
        os.environ.pop(name, None)
    runpy.run_path(str(GUARD / "sitecustomize.py"))


@pytest.fixture(autouse=True)
def ledger_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A ledger of the test's own, which remembers nothing of other tests."""
    url = f"sqlite:///{tmp_path / 'ledger' / 'ledger.db'}"
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL", url)
    yield url
    # An open one takes three file descriptors and a thread.
    process_loop().run(close_ledgers)


async def close_ledgers(connections: Connections, emit: Emit) -> None:
    """A job for the process's loop."""
    await connections.ledgers.close()


@pytest.fixture(autouse=True)
def output_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A default directory of the test's own: no test sees or adds to this machine's videos."""
    directory = tmp_path / "out"
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY", str(directory))
    return directory


@pytest.fixture
def lose_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes an empty ledger in place of the one that knows."""

    def lose() -> None:
        url = f"sqlite:///{tmp_path / 'ledger' / 'empty.db'}"
        monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL", url)

    return lose


@pytest.fixture
def emulator() -> Iterator[FalEmulator]:
    """An emulator of the test's own: a generation takes a fraction of a second."""
    with FalEmulator(speed=1000, clip="plain") as started:
        yield started


@pytest.fixture
def credentials(emulator: FalEmulator) -> FalCredentials:
    """Credentials for that emulator."""
    return emulator.credentials()


@pytest.fixture
def everything_emulated(
    prefect_server: None,
    emulator: FalEmulator,
    ledger_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An empty directory to work in, where calls without credentials go to an emulator."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", emulator.url)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY", str(tmp_path / "out"))


pytest_collect_file = (
    Sybil(
        parsers=[DocTestParser(ELLIPSIS)],
        patterns=["prefect_hailuo/*.py", "prefect_hailuo/**/*.py"],
        document_types={".py": PythonDocStringDocument},
        fixtures=["everything_emulated"],
    )
    + Sybil(
        parsers=[
            PythonCodeBlockParser(),
            CodeBlockParser(language="bash", evaluator=check_shell),
            CodeBlockParser(language="yaml", evaluator=check_data),
        ],
        patterns=["README.md", "CONTRIBUTING.md", "docs/*.md"],
        fixtures=["everything_emulated"],
    )
).pytest()
