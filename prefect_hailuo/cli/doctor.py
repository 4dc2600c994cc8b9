"""`prefect-hailuo doctor`: all checks, in the order in which people read their findings."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter
from pydantic import ValidationError
from rich.text import Text

from prefect_hailuo.cli.checks import (
    CHECK_SECONDS,
    Check,
    Finding,
    Surroundings,
    Verdict,
    check_clock,
    check_key,
    check_ledger,
    check_limits,
    check_server,
    check_settings,
    check_storage,
    check_versions,
    make_checks,
    refused,
)
from prefect_hailuo.cli.output import JsonOption, console, plain, say, say_json, table
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.runs.blocks import Credentials, FalCredentials, resolve_credentials
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.runs.storage import Storage

CHECKS: dict[str, Check] = {
    "versions": check_versions,
    "settings": check_settings,
    "key": check_key,
    "clock": check_clock,
    "ledger": check_ledger,
    "storage": check_storage,
    "server": check_server,
    "limits": check_limits,
}

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


def examine(
    credentials: Credentials = None, storage: Storage = None, *, seconds: float = CHECK_SECONDS
) -> list[Finding]:
    """Look at everything that a purchase needs. It spends nothing, and shows no secret.

    Args:
        credentials: As for `generate_video`.
        storage: As for `generate_video`.
        seconds: How long all of it may take.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator() as emulator:
        ...     findings = examine(emulator.credentials())
        >>> [finding.verdict for finding in findings if finding.check == "key"]
        ['ok']
    """
    if not _settings_are_valid():  # which most checks go by
        return make_checks(_some("versions", "settings", "server"), Surroundings(), seconds)
    try:
        block = resolve_credentials(credentials)
    except HailuoError as error:
        without_key = _some(*(name for name in CHECKS if name not in ("key", "clock")))
        found = make_checks(without_key, Surroundings(storage=storage), seconds)
        return [*found, refused("key", error)]
    return make_checks(CHECKS, Surroundings(block, storage), seconds)


def _some(*names: str) -> dict[str, Check]:
    return {name: CHECKS[name] for name in names}


def _settings_are_valid() -> bool:
    try:
        current_settings()
    except ValidationError:
        return False
    return True


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
