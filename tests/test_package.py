"""What is installed, and what the README promises about it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import entry_points, metadata, requires
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The README's shell commands, in order."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_prefect_finds_the_collection() -> None:
    """Prefect's entry point leads to the module whose import registers the blocks."""
    (entry,) = [e for e in entry_points(group="prefect.collections") if "hailuo" in e.name]
    assert {"Budget", "FalCredentials", "HailuoVideoJob"} <= set(entry.load().__all__)


def test_is_typed_and_licensed() -> None:
    """Type checkers are told that the package has types; the licence is Apache's."""
    assert files("prefect_hailuo").joinpath("py.typed").is_file()
    assert metadata("prefect-hailuo")["License-Expression"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_declares_what_it_imports() -> None:
    """Every package that the code imports is named among the requirements."""
    named = {re.split(r"[^a-z0-9_-]", each.lower())[0] for each in requires("prefect-hailuo") or []}
    provided = {name.replace("-", "_") for name in named}
    # By python-slugify, pillow, fastapi and pyyaml.
    provided |= {"slugify", "pil", "starlette", "yaml"}
    imported = set()
    for path in (ROOT / "prefect_hailuo").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported |= {name for node in ast.walk(tree) for name in _imported_by(node)}
    foreign = {name.lower() for name in imported - sys.stdlib_module_names}
    assert foreign - {"prefect_hailuo"} <= provided


def test_ci_runs_the_readmes_test_command() -> None:
    """CI runs what the README tells a newcomer to run, and then the campaign."""
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    [command] = [line for line in commands() if line.endswith("-m pytest")]
    assert command in lines
    assert lines[-1].endswith("-m pytest -m campaign")


@pytest.mark.campaign
def test_the_readmes_first_command_ends_with_a_video(tmp_path: Path) -> None:
    """The command for newcomers, without the installing, ends with the path of an MP4."""
    _, _, run = commands()[0].partition(" && .venv/bin/python ")
    prompt = "A red fox crosses a snowy field."
    assert run == f'flows/text_to_video.py "{prompt}" --emulator --output videos'
    script = str(ROOT / "flows" / "text_to_video.py")
    command = [sys.executable, script, prompt, "--emulator", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    assert path.suffix == ".mp4"
    assert path.parent == tmp_path
    assert path.stat().st_size > 10_000


def _imported_by(node: ast.AST) -> list[str]:
    """The packages that a statement imports, wherever it stands."""
    if isinstance(node, ast.ImportFrom):
        return [(node.module or "").partition(".")[0]]
    return [a.name.partition(".")[0] for a in node.names] if isinstance(node, ast.Import) else []


ROOMS = [
    *("moved", "clock", "ticket"),
    *("errors", "models", "fal", "media", "storage", "ledger", "engine"),
    *("runs", "tasks", "block_types"),
    *("emulator", "flows", "cli"),
]
"""The package's rooms; each may import only from those before it."""

PREFECTS_FACE = ROOMS[ROOMS.index("runs") :]

LOADS = re.compile(r"prefect_hailuo\.([a-z_]+)")


def imports_of(path: Path) -> set[str]:
    """The modules that a file imports, wherever it does: at its top, in functions, for types."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return named | {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}


def test_imports_point_one_way() -> None:
    """A room knows only the rooms before it, and Prefect is known to its own face alone."""
    package = ROOT / "prefect_hailuo"
    for path in package.rglob("*.py"):
        room = path.relative_to(package).with_suffix("").parts[0]
        if room == "__init__":
            continue
        for imported in imports_of(path):
            if found := LOADS.match(imported):
                other = found[1]
                assert ROOMS.index(other) <= ROOMS.index(room), (path.name, imported)
            if imported.split(".")[0] == "prefect":
                assert room in PREFECTS_FACE, path.name


def test_every_room_is_listed() -> None:
    """The package's root holds the rooms, and nothing else."""
    package = ROOT / "prefect_hailuo"
    found = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert found - {"__init__", "__pycache__"} == set(ROOMS)
