"""What a video costs when something goes wrong: this package against what people do today.

    python -m benchmarks.bought_once
    python -m benchmarks.bought_once --check     # fails where a document says something else

Two Prefect flows buy one video each: `with_fal_client.py` in a task with `retries=3` around
`fal_client.subscribe`, whose result Prefect keeps and caches, and `with_prefect_hailuo.py` with one
line of this package. Each row lets one thing go wrong, once: an answer of fal's is lost, or the
flow's process is killed (SIGKILL) at a certain point. Then the flow is run again, with the same
parameters, until it succeeds, as a scheduler would do. What fal charged for is counted, and how
many whole videos arrived.

Everything is real but fal: processes, signals, HTTP over TLS, a Prefect server, SQLite. For fal
stands this package's emulator, one for each row and contender, which plays fal itself, without the
marks by which this package would know it. A row counts only if what was to go wrong did: the
emulator's counters must say so, right after the kill; `--json` shows them.

No real account can be charged: all addresses are on this machine, every process refuses to connect
to any other, and the key is worthless. It takes about three minutes on two cores. "Killed before
fal's answer" takes this package a minute: its second run waits until the dead run's lease of 45 s
has ended before it looks in fal's request history.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from importlib.util import find_spec

from rich.console import Console

from benchmarks.ground import Contender, NotHitError, ground
from benchmarks.outcomes import (
    CONTENDERS,
    NotHit,
    Outcome,
    Played,
    as_json,
    in_words,
    met,
    misstatements,
    table,
)
from benchmarks.rows import ROWS, Row
from benchmarks.surroundings import Surroundings, surroundings

AT_ONCE = 3
"""How many grounds are played on at once: most of their time is waiting."""

TABLE_COLUMNS = 100

Job = tuple[Row, Contender]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 0 if this package kept its promise in every row that was run,
    and what the documents publish of them is so; 1 if not, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    chosen = [row for row in ROWS if row.name in options.rows]
    if find_spec("fal_client") is None:
        _parser().error("fal_client is not installed: pip install -e '.[dev]'")
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    with surroundings(options.api_url) as shared:
        played = play_all(chosen, shared, progress)
    Console(width=TABLE_COLUMNS).print(table(ROWS, played))
    if options.json:
        sys.stdout.write(json.dumps(as_json(ROWS, played)) + "\n")
    wrong = misstatements(ROWS, played) if options.check else []
    for each in wrong:
        progress.print(each)
    return 0 if all(met(row, played) for row in chosen) and not wrong else 1


def play_all(rows: Sequence[Row], shared: Surroundings, progress: Console) -> Played:
    """Let both contenders go through rows, a few at once, those that take longest first."""
    slow_first = sorted(rows, key=lambda row: not row.slow)
    jobs: list[Job] = [(row, each) for row in slow_first for each in reversed(CONTENDERS)]
    played: Played = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures: dict[Future[Outcome | NotHit], Job] = {
            pool.submit(play, *job, shared): job for job in jobs
        }
        for done in as_completed(futures):
            row, contender = futures[done]
            played[row.name, contender] = done.result()
            count = f"{len(played)} of {len(jobs)}"
            progress.print(f"{count}: {row.name}, {contender}: {in_words(done.result())}")
    return played


def play(row: Row, contender: Contender, shared: Surroundings) -> Outcome | NotHit:
    """Let one contender go through one row, on a ground of its own."""
    with ground(contender, row.name, shared, row.padding, row.runners) as its:
        try:
            ended = row.play(its)
            charged = its.charged()
        except NotHitError as error:
            return NotHit(str(error))
        proof = its.proof if ended else f"{its.proof}; its last words: {its.last_words()}"
        return Outcome(charged, its.arrived(), its.runs, ended, proof)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bought_once",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [row.name for row in ROWS]
    parser.add_argument(
        "--rows",
        type=_row_names,
        default=names,
        metavar="NAME,…",
        help=f"only these, of: {', '.join(names)}",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a list of row, figures, goal and met as the last line of the output",
    )
    parser.add_argument(
        "--check", action="store_true", help="fail where a document says something else of a row"
    )
    parser.add_argument(
        "--api-url", help="a Prefect server on this machine to use; by default, a temporary one"
    )
    return parser


def _row_names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no row {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
