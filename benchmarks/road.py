"""One video's road through the code: which functions it passes, in which files, in which order.

    python -m benchmarks.road          # what a real video passes, counted
    python -m benchmarks.road --list   # every function of that, file by file
    python -m benchmarks.road --every  # those too that lead no further, a line each
    python -m benchmarks.road --walk   # the walk that `docs/architecture.md` lists, counted

An emulator runs in a process of its own. A first video opens what a process opens once (the loop,
connections, the ledger); the second is followed, by Python's own profiling hook, in every thread.
Each function of the package counts once, where it is first entered, if it leads on to another. What
is counted:

- hops: functions;
- files: the files that they are in;
- forwards: functions that only hand on what they were given, to one other function;
- returns: steps from one file into another that was left before.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType

import prefect_hailuo

PACKAGE = Path(prefect_hailuo.__path__[0])

AROUND = ("emulator", "cli")
"""Rooms that are not on the road."""


@dataclass(frozen=True)
class Hop:
    """A function that the video passed."""

    file: str
    name: str
    line: int
    leads_on: bool = False


class Trace:
    """Notes each function of the package when it is first entered."""

    def __init__(self) -> None:
        self.hops: dict[CodeType, Hop] = {}
        self.leading: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Python's profiling hook."""
        code = frame.f_code
        if event == "call" and code not in self.hops and (file := _file_of(code)):
            name = getattr(code, "co_qualname", code.co_name)
            if "<" in name.rpartition(".")[2] or _is_loading(frame):
                return
            self.hops[code] = Hop(file, name.replace(".<locals>", ""), code.co_firstlineno)
            caller = frame.f_back
            while caller is not None and not _file_of(caller.f_code):
                caller = caller.f_back
            if caller is not None:
                self.leading.add(caller.f_code)


def _file_of(code: CodeType) -> str | None:
    path = Path(code.co_filename)
    if not path.is_relative_to(PACKAGE):
        return None
    inside = path.relative_to(PACKAGE)
    return None if inside.parts[0] in AROUND else inside.as_posix()


def _is_loading(frame: FrameType | None) -> bool:
    """Whether a module is being loaded, which happens once and to no video."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and _file_of(frame.f_code):
            return True
        frame = frame.f_back
    return False


@contextmanager
def emulator() -> Iterator[str]:
    """The address of an emulator in a process of its own."""
    program = (
        "from prefect_hailuo.emulator import FalEmulator\n"
        "import sys\n"
        "with FalEmulator(speed=100, clip='plain') as emulator:\n"
        "    print(emulator.url, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.kill()


def follow_one() -> list[Hop]:
    """The functions that a second video passes, in the order of first entry."""
    with emulator() as url, tempfile.TemporaryDirectory() as folder:
        os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
        os.environ["PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL"] = f"sqlite:///{folder}/ledger.db"
        return _followed(url, f"{folder}/videos")


def _followed(url: str, folder: str) -> list[Hop]:
    trace = Trace()
    threading.setprofile(trace)  # for threads that are started from now on

    from prefect import flow

    from prefect_hailuo import FalCredentials, hailuo_23_pro_text_to_video

    mine = FalCredentials.for_emulator(url)

    @flow
    def one(prompt: str) -> None:
        hailuo_23_pro_text_to_video(prompt, credentials=mine, storage=folder)

    one("The first, which opens what is opened once.")
    trace.hops.clear()
    sys.setprofile(trace)
    try:
        one("The second.")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return [replace(hop, leads_on=code in trace.leading) for code, hop in trace.hops.items()]


def walk() -> list[Hop]:
    """The functions that the documentation lists."""
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = re.findall(r"^  ([a-z_]+(?:/[a-z_0-9]+)*\.py) +(\S+)$", text, re.MULTILINE)
    return [Hop(file, name, _line_of(file, name)) for file, name in found]


def _line_of(file: str, name: str) -> int:
    """Where a function begins.

    Raises:
        LookupError: There is none of that name.
    """
    inside: ast.AST = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    for part in name.split("."):
        named = [each for each in ast.walk(inside) if getattr(each, "name", None) == part]
        if not named:
            raise LookupError(f"{file} has no {name}.")
        inside = named[0]
    decorators: list[ast.expr] = getattr(inside, "decorator_list", [])
    lines = [getattr(inside, "lineno", 0), *(each.lineno for each in decorators)]
    return min(int(line) for line in lines)


def counted(hops: list[Hop]) -> str:
    """Hops, files, forwards and returns, in words."""
    forwards = sum(is_forward(hop) for hop in hops)
    files = len({hop.file for hop in hops})
    return f"{len(hops)} hops, {files} files, {forwards} forwards, {count_returns(hops)} returns"


def is_forward(hop: Hop) -> bool:
    """Whether a function is one call of another, to which it only hands on what it was given."""
    tree = ast.parse((PACKAGE / hop.file).read_text(encoding="utf-8"))
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and min([node.lineno, *(each.lineno for each in node.decorator_list)]) == hop.line
    ]
    return bool(found) and _only_hands_on(found[0])


def _only_hands_on(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    body = [each for each in function.body if not _is_text(each)]
    if len(body) != 1 or not isinstance(body[0], ast.Return | ast.Expr):
        return False
    value = body[0].value
    call = value.value if isinstance(value, ast.Await) else value
    if not isinstance(call, ast.Call):
        return False
    given = [*call.args, *(each.value for each in call.keywords)]
    return all(isinstance(each, ast.Name | ast.Attribute | ast.Starred) for each in given)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def count_returns(hops: list[Hop]) -> int:
    """How often the road goes back into a file that it had left."""
    left: set[str] = set()
    returns = 0
    for before, after in pairwise(hops):
        if after.file != before.file:
            left.add(before.file)
            returns += after.file in left
    return returns


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def main() -> None:
    """Follow one video, and print what was counted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="print every function")
    parser.add_argument("--every", action="store_true", help="print the leaves, too")
    parser.add_argument("--walk", action="store_true", help="count the documentation's walk")
    options = parser.parse_args()
    if options.walk:
        say(counted(walk()))
        return
    every = follow_one()
    if options.every:
        for hop in every:
            say(f"{hop.file} {hop.name}")
    hops = [hop for hop in every if hop.leads_on]
    if options.list:
        file = ""
        for hop in hops:
            if hop.file != file:
                file = hop.file
                say(f"\n{file}")
            say(f"    {hop.name}{'  (hands on)' if is_forward(hop) else ''}")
        say("")
    say(counted(hops))


if __name__ == "__main__":
    main()
