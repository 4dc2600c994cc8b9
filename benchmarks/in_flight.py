"""Thousands of generations in flight at once: this package against what people do today.

    python -m benchmarks.in_flight
    python -m benchmarks.in_flight --check     # fails where a document says something else

For fal stands a server that is lean enough not to be what is measured (`benchmarks/lean_fal`), in
a process of its own; it measures its own share of a core. Every run of every contender is a
process of its own, too, which is measured from the start signal (imports done, a first pair of
videos made) until it has everything. Contenders take turns; the figures are medians.

"Seen late" is the time from when the server completed a request until a client asked for its
result, which proves that it had seen the end: being told, in a packet that nobody reads yet, does
not count. CPU, requests, Prefect calls and events are a generation's. Where a contender buys a
video twice or loses one, its row is not met, however fast it was.

Only ratios travel to other machines. No account can be charged: all addresses are on this machine,
every process refuses to connect to any other, and the key is worthless.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console

from benchmarks.flights.flying import Airfield, fly_row
from benchmarks.flights.importing import import_times
from benchmarks.flights.prefect_server import PrefectServer, prefect_server
from benchmarks.flights.rows import ROWS, SINGLE, Figured, Row
from benchmarks.flights.telling import as_json, is_met, misstatements, table
from benchmarks.lean_fal.process import LeanFal, lean_fal
from benchmarks.staying_inside import stay_inside, without_accounts

TABLE_COLUMNS = 150
NEEDED = ("aiohttp", "fal_client")
SHOWN = ("prefect-hailuo", "prefect", "fal-client", "aiohttp", "httpx", "uvloop")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 0 if every row that was run reached its goal, or, with
    `--check`, if it did where the documents say so; 1 if not, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        _parser().error(f"{', '.join(missing)} not installed: pip install -e '.[dev]'")
    stay_inside()
    signal.signal(signal.SIGTERM, _end)
    console = Console(width=TABLE_COLUMNS, highlight=False)
    console.print(_machine())
    done = {}
    with _airfield(options) as field:
        for row in _chosen(options):
            done[row] = _figured(row, field, options)
            console.print(table(row, done[row]))
    if options.json:
        told = [as_json(row, figured) for row, figured in done.items()]
        sys.stdout.write(json.dumps(told) + "\n")
    if options.check:
        wrong = misstatements(done)
        for each in wrong:
            console.print(each)
        return 1 if wrong else 0
    return 0 if all(is_met(row, figured) for row, figured in done.items()) else 1


def _end(number: int, frame: FrameType | None) -> None:
    """Told to end: no server and no contender is left behind."""
    sys.exit(128 + number)


def _figured(row: Row, field: Airfield, options: argparse.Namespace) -> Figured:
    if not row.entries:
        return import_times(options.repeats or row.repeats, field.say)
    return fly_row(row, field, repeats=options.repeats, with_peers=not options.skip_peers)


def _chosen(options: argparse.Namespace) -> list[Row]:
    chosen = [row for row in ROWS if row.name in options.rows]
    return [
        row.scaled(1, SINGLE.load.seconds / options.single_seconds)
        if row.name == SINGLE.name
        else row.scaled(options.scale, options.hurry)
        for row in chosen
    ]


@contextmanager
def _airfield(options: argparse.Namespace) -> Iterator[Airfield]:
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="in-flight-")))
        fal = LeanFal(options.url) if options.url else stack.enter_context(lean_fal(options.clip))
        fal.check()

        @cache
        def prefect() -> PrefectServer:
            if options.api_url:
                return PrefectServer(options.api_url)
            progress.print("starting a Prefect server")
            return stack.enter_context(prefect_server(folder, without_accounts()))

        yield Airfield(fal, prefect, folder, progress.print, _made(options.profile))


def _made(folder: str | None) -> Path | None:
    if folder is None:
        return None
    path = Path(folder).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def _machine() -> str:
    versions = ", ".join(f"{name} {_version(name)}" for name in SHOWN)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, "
        f"{files:,} open files at most; {versions}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.in_flight",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    names = [row.name for row in ROWS]
    listed = f"only these, of: {', '.join(names)}"
    add("--rows", type=_row_names, default=names, metavar="NAME,…", help=listed)
    add("--json", action="store_true", help="print all figures as the last line of the output")
    add("--check", action="store_true", help="fail where a document says something else of a goal")
    add("--url", help="a running `python -m benchmarks.lean_fal`; by default, one of its own")
    add("--api-url", help="a Prefect server; its CPU is then not measured; by default, a new one")
    add("--repeats", type=int, help="how often each flies; by default 3, once where it is long")
    add("--skip-peers", action="store_true", help="only what the goals need")
    add("--single-seconds", type=_positive, default=SINGLE.load.seconds, help="of the row single")
    add("--clip", choices=("tiny", "drawn"), default="tiny", help="28 kB, or 1080p of 220 kB")
    add(
        "--profile",
        metavar="FOLDER",
        help="where to write what CPU time went on; it is slower then",
    )
    add("--scale", type=_positive, default=1.0, help="multiplies the counts, to try it out")
    add("--hurry", type=_positive, default=1.0, help="divides the durations, to try it out")
    return parser


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _row_names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no row {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
