"""`prefect-hailuo doctor`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from prefect_hailuo.blocks import Credentials, FalCredentials
from prefect_hailuo.checkup.examining import examine
from prefect_hailuo.checkup.findings import CHECK_SECONDS, Finding, Verdict
from prefect_hailuo.cli.asking import JsonOption
from prefect_hailuo.cli.printing import console, plain, say, say_json, table

MARKS: dict[Verdict, str] = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


def doctor(
    *,
    credentials: Annotated[
        str | None, Parameter(help="A saved credentials block. Default: the environment's key.")
    ] = None,
    emulator: Annotated[
        str | None, Parameter(help="The URL of an emulator to ask in fal's place.")
    ] = None,
    storage: Annotated[
        str | None,
        Parameter(help="A directory, or block:TYPE/NAME. Default: as the settings say."),
    ] = None,
    timeout: Annotated[
        float, Parameter(help="How many seconds all of it may take.")
    ] = CHECK_SECONDS,
    json: JsonOption = False,
) -> None:
    """Look at all that a purchase needs, and say what is wrong and what cures it.

    It spends nothing, and shows no secret. Its exit code is 1 where there is a problem.
    """
    chosen: Credentials = FalCredentials.for_emulator(emulator) if emulator else credentials
    findings = examine(chosen, storage, seconds=timeout)
    if json:
        say_json([finding.model_dump() for finding in findings])
    else:
        _print(findings)
    if any(finding.verdict == "problem" for finding in findings):
        sys.exit(1)


def _print(findings: list[Finding]) -> None:
    rows = table()
    rows.add_column("", no_wrap=True)
    rows.add_column("what", no_wrap=True)
    rows.add_column("found, and what to do", ratio=1, overflow="fold")
    for each in findings:
        lines = [each.says, *([f"-> {each.cure}"] if each.cure else [])]
        about = Text("\n".join(plain(line) for line in lines))
        rows.add_row(MARKS[each.verdict], each.check, about)
    console.print(rows)
    counts = {name: sum(each.verdict == name for each in findings) for name in MARKS}
    say(f"{_counted(counts['problem'], 'problem')}, {_counted(counts['warning'], 'warning')}.")


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
