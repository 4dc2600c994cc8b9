"""What the commands of the flows in `flows/` have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO, TypeVar

from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from pydantic import TypeAdapter, ValidationError

from prefect_hailuo.errors import HailuoError
from prefect_hailuo.fal.messages import EMULATOR_SPEED
from prefect_hailuo.runs.blocks import FalCredentials, resolve_credentials

Result = TypeVar("Result")

PATIENCE = {PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 120}
"""On a slow machine, the temporary server of a first run takes longer than Prefect's 20 s."""


def flow_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every flow's command has.

    Example:
        >>> parser = flow_parser("Make a video.")
        >>> parser.parse_args(["--emulator", "--json"])
        Namespace(emulator='', json=True)
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--emulator",
        nargs="?",
        const="",
        metavar="URL",
        help="spend nothing: use the emulator at URL, or one started for this run",
    )
    parser.add_argument("--json", action="store_true", help="print what the flow returns as JSON")
    return parser


def add_purchase_options(parser: argparse.ArgumentParser, *, goes: str) -> None:
    """Add what every command that buys takes.

    Args:
        parser: By `flow_parser`.
        goes: What `--output` is the place of, such as `"the video goes"`.

    Example:
        >>> parser = flow_parser("Make a video.")
        >>> add_purchase_options(parser, goes="the video goes")
        >>> parser.parse_args(["--take", "2"]).take
        '2'
    """
    parser.add_argument(
        "--no-prompt-optimizer",
        dest="prompt_optimizer",
        action="store_false",
        help="send prompts as they are",
    )
    parser.add_argument(
        "--take", default="0", help="another take of the same prompt is another purchase"
    )
    parser.add_argument("--output", metavar="DIR", help=f"where {goes}")
    parser.add_argument("--budget", metavar="SCOPE", help="the name of the scope that pays")


def add_approval_options(parser: argparse.ArgumentParser) -> None:
    """Add what a command takes whose cost is worth a look before it is spent.

    Example:
        >>> parser = flow_parser("Make many videos.")
        >>> add_approval_options(parser)
        >>> parser.parse_args(["--approve-above", "5"]).approve_above
        5.0
    """
    parser.add_argument("--plan", action="store_true", help="say what it would cost, and end there")
    parser.add_argument(
        "--approve-above", type=float, metavar="USD", help="spend no more than this unapproved"
    )
    parser.add_argument("--yes", action="store_true", help="approve the cost, whatever it is")


def run_flow_command(
    options: argparse.Namespace,
    run: Callable[[FalCredentials], Result],
    text: Callable[[Result], str],
    *,
    needs_key: bool = True,
) -> Result | None:
    """Run a flow for a command, and print what it returns, or why it could not.

    Args:
        options: What `flow_parser` read.
        run: Runs the flow with these credentials.
        text: How to print its result where no JSON was asked for.
        needs_key: Whether it can do nothing without a key.

    Returns:
        The flow's result; None where there is none, after a line on standard error.
    """
    try:
        with _credentials(options.emulator) as credentials:
            if needs_key:
                credentials.access()  # a missing key is told before a server is started
            with temporary_settings(set_defaults=PATIENCE):
                result = run(credentials)
    except ValidationError as error:
        why = "; ".join(f"{_field(each['loc'])}{each['msg']}" for each in error.errors())
    except HailuoError as error:
        why = str(error)
    else:
        _print(_json(result) if options.json else text(result), sys.stdout)
        return result
    _print(f"error: {why}", sys.stderr)
    return None


def _json(result: object) -> str:
    return TypeAdapter(type(result)).dump_json(result).decode()


def _field(location: Sequence[int | str]) -> str:
    return f"{location[0]}: " if location else ""


def _print(line: str, stream: TextIO) -> None:
    print(line, file=stream)


@contextmanager
def _credentials(emulator: str | None) -> Iterator[FalCredentials]:
    """fal's from the environment, a running emulator's, or those of one for this run."""
    if emulator is None:
        yield resolve_credentials(None)
    elif emulator:
        yield FalCredentials.for_emulator(emulator)
    else:
        from prefect_hailuo.emulator import FalEmulator

        with FalEmulator(speed=EMULATOR_SPEED) as started:
            yield started.credentials()
