"""The documentation's shell snippets: each line is a command that there is, called as it takes it.

They are parsed by what would run them, and not run: they start servers, or spend money.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from uuid import UUID

import yaml  # type: ignore[import-untyped]
from cyclopts import App
from prefect.cli._app import _app as prefect_app
from prefect.settings import Settings
from sybil import Example

from prefect_hailuo.cli import app
from prefect_hailuo.flows.command import complete
from prefect_hailuo.runs.settings import PREFIX, HailuoSettings

ROOT = Path(__file__).parent.parent

SETTING = re.compile(r"([A-Z][A-Z0-9_]+)=(.*)")

KNOWN_VARIABLES = {"FAL_KEY", "HAILUO_CAMPAIGN", "RAY_USAGE_STATS_ENABLED"}


def check_shell(example: Example) -> None:
    """Refuse a snippet with a line that could not be run as it stands there."""
    for line in commands_in(example.parsed):
        check_line(line)


def check_data(example: Example) -> None:
    """Refuse YAML or JSON that cannot be read."""
    yaml.safe_load(example.parsed)


def commands_in(snippet: str) -> list[str]:
    """The commands of a snippet, one by one."""
    lines = snippet.replace("\\\n", " ").splitlines()
    stripped = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    # One that ends with `&` goes on beside the next.
    return [each.removesuffix("&").strip() for line in stripped for each in line.split(" && ")]


def check_line(line: str) -> None:
    """Refuse a command that could not be run."""
    words = shlex.split(line, comments=True)
    while words and (words[0] == "export" or SETTING.fullmatch(words[0])):
        first = words.pop(0)
        if first != "export":
            _check_setting(first)
    if words:
        name, *arguments = words
        name = name.removeprefix(".venv/bin/")
        assert name in COMMANDS, f"{name} is no command that is known here"
        COMMANDS[name](arguments)


def _check_setting(assignment: str) -> None:
    name, _, value = assignment.partition("=")
    if name.startswith(PREFIX):
        field = name.removeprefix(PREFIX).lower()
        assert field in HailuoSettings.model_fields, name
        HailuoSettings.__pydantic_validator__.validate_assignment(
            HailuoSettings.model_construct(), field, _value(value)
        )
    elif name.startswith("PREFECT_"):
        assert _is_prefects(name), name
    else:
        assert name in KNOWN_VARIABLES, name


def _value(text: str) -> object:
    """A setting's value as it is read: lists and the like are JSON."""
    return json.loads(text) if text.startswith("[") else text


def _is_prefects(name: str) -> bool:
    """Whether Prefect has a setting of that name, wherever in its tree."""
    model: type = Settings
    rest = name.removeprefix("PREFECT_").lower()
    while True:
        fields = model.model_fields  # type: ignore[attr-defined]
        if rest in fields:
            return True
        parts = [each for each in fields if rest.startswith(f"{each}_")]
        if not parts:
            return False
        part = max(parts, key=len)
        model, rest = fields[part].annotation, rest.removeprefix(f"{part}_")


def _parse_ours(arguments: list[str]) -> None:
    _parse(app, complete(arguments) if arguments[0] == "run" else arguments)


def _parse_prefects(arguments: list[str]) -> None:
    ids = [str(UUID(int=0)) if each.endswith("_ID") else each for each in arguments]
    _parse(prefect_app, ids)


def _parse(program: App, arguments: list[str]) -> None:
    command, _, _ = program.parse_args(arguments, exit_on_error=False, print_error=False)
    assert command.__name__ != "help_print", f"there is no command {arguments}"


def _parse_python(arguments: list[str]) -> None:
    if arguments[0] == "-m":
        assert find_spec(arguments[1]), arguments[1]
        return
    if arguments[0] == "-c":
        _check_imports(arguments[1])
        return
    path = Path(arguments[0])
    assert (ROOT / path).is_file(), path
    assert path.parent == Path("flows"), path
    _parse(import_module(f"prefect_hailuo.flows.{path.stem}").app, complete(arguments[1:]))


def _check_imports(code: str) -> None:
    """Refuse a program that imports what there is not."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            module = import_module(node.module or "")
            assert all(hasattr(module, each.name) for each in node.names), code


def _trust(arguments: list[str]) -> None:
    """What every machine has, or brings itself."""


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "prefect-hailuo": _parse_ours,
    "prefect": _parse_prefects,
    "python": _parse_python,
    "python3": _parse_python,
    **dict.fromkeys(["cd", "cp", "git", "ls", "mkdir", "mkdocs", "pip", "source", "."], _trust),
}
