"""Running `prefect-hailuo` in this process, as a terminal of 80 columns sees it."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from prefect_hailuo.cli import main


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Its output as one line, however it was wrapped."""
        return " ".join(self.out.split())

    @property
    def json(self) -> Any:
        """Its output, read by a program."""
        return json.loads(self.out)


class Console(io.TextIOWrapper):
    """A console that knows no other characters than Western Europe's."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="cp1252", write_through=True)

    @property
    def told(self) -> str:
        """What was written to it."""
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode("cp1252")


def run(*arguments: object) -> Ran:
    """Run a command to its end."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(each) for each in arguments])
            code: object = 0
        except SystemExit as ended:
            code = ended.code
    if isinstance(code, str):  # as the interpreter would print it
        return Ran(1, out.getvalue(), err.getvalue() + code + "\n")
    return Ran(int(str(code or 0)), out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> Ran:
    """Run a command that does what it is told, in no more than 80 columns."""
    ran = run(*arguments)
    assert (ran.code, ran.err) == (0, ""), ran
    if "--json" not in arguments:
        assert max(map(len, ran.out.splitlines()), default=0) <= 80, ran.out
    return ran


def refusal(*arguments: object) -> str:
    """The one line that a command which refuses prints."""
    ran = run(*arguments)
    assert (ran.code, ran.out) == (1, ""), ran
    assert ran.err.startswith("error: ") and len(ran.err.splitlines()) == 1, ran.err
    return ran.err
