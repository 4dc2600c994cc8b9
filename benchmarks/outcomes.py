"""What came of the rows: a table for people, and JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from rich.table import Table

from benchmarks.ground import Contender
from benchmarks.published import differences, published
from benchmarks.rows import Row

CONTENDERS: tuple[Contender, ...] = get_args(Contender)
NAMES: Mapping[Contender, str] = {
    "fal_client": "fal_client in a Prefect task, retries=3",
    "prefect_hailuo": "prefect-hailuo",
}
GOAL = "prefect-hailuo: charged 1, videos 1"
NOT_RUN = "not run"
CELL_COLUMNS = 23


@dataclass(frozen=True)
class Outcome:
    """What came of one row for one contender.

    Args:
        charged: How many videos fal charged for.
        videos: How many whole videos arrived.
        runs: How often the flow was run.
        ended_well: Whether the flow succeeded in the end.
        proof: That what was to go wrong did.
    """

    charged: int
    videos: int
    runs: int
    ended_well: bool
    proof: str


@dataclass(frozen=True)
class NotHit:
    """A row that says nothing, and why."""

    because: str


Played = dict[tuple[str, Contender], Outcome | NotHit]
"""By the row's name and the contender."""


def table(rows: Sequence[Row], played: Played) -> Table:
    """The table for people, with a line of totals."""
    made = Table(title="One video was wanted: what fal charged for, and what arrived")
    made.add_column("What happened, once; then the flow was run to its end")
    for contender in CONTENDERS:
        made.add_column(NAMES[contender], justify="right", width=CELL_COLUMNS)
    for row in rows:
        made.add_row(row.title, *(in_words(played.get((row.name, each))) for each in CONTENDERS))
    made.add_section()
    made.add_row(_wanted(played), *(_total(played, each) for each in CONTENDERS))
    return made


def as_json(rows: Sequence[Row], played: Played) -> list[dict[str, Any]]:
    """A list of rows for programs; `met` is null where a row was not run."""
    return [
        {
            "row": row.name,
            "figures": {each: _figures(played.get((row.name, each))) for each in CONTENDERS},
            "goal": GOAL,
            "met": met(row, played),
        }
        for row in rows
    ]


def met(row: Row, played: Played) -> bool | None:
    """Whether this package kept its promise, and both contenders were really put to it."""
    outcomes = [played.get((row.name, each)) for each in CONTENDERS]
    if None in outcomes:
        return None
    ours = outcomes[CONTENDERS.index("prefect_hailuo")]
    if not isinstance(ours, Outcome) or any(isinstance(each, NotHit) for each in outcomes):
        return False
    return (ours.charged, ours.videos, ours.ended_well) == (1, 1, True)


def misstatements(rows: Sequence[Row], played: Played) -> list[str]:
    """Where the documents' tables do not say what came of the rows that were run, a line each.

    A row that was not hit is said of none: its line in a document is not so.
    """
    everything = len({name for name, _ in played}) == len(rows)
    run = [row for row in rows if any((row.name, each) in played for each in CONTENDERS)]
    printed = {
        row.title: tuple(in_words(played.get((row.name, c))) for c in CONTENDERS) for row in run
    }
    charged = {
        row.title: tuple(_charged(played.get((row.name, c))) for c in CONTENDERS) for row in run
    }
    if everything:
        printed[_wanted(played)] = tuple(_total(played, each) for each in CONTENDERS)
    found: list[str] = []
    for document, heading, is_so in (
        ("benchmarks/README.md", "What happened, once", printed),
        ("docs/exactly-once.md", "what happened, once", charged),
    ):
        said = published(document, heading)
        if not everything:
            said = {title: cells for title, cells in said.items() if title in is_so}
        found += differences(document, said, is_so)
    return found


def in_words(outcome: Outcome | NotHit | None) -> str:
    """An outcome, for people."""
    if outcome is None:
        return NOT_RUN
    if isinstance(outcome, NotHit):
        return f"not hit: {outcome.because}"
    failed = "" if outcome.ended_well else ", the flow failed"
    return f"{_bill(outcome.charged, outcome.videos)}{failed}"


def _charged(outcome: Outcome | NotHit | None) -> str:
    """The same where one video arrived, as was wanted, and the flow ended well."""
    if isinstance(outcome, Outcome) and outcome.videos == 1 and outcome.ended_well:
        return f"{outcome.charged} charged"
    return in_words(outcome)


def _figures(outcome: Outcome | NotHit | None) -> dict[str, Any] | str:
    if outcome is None:
        return NOT_RUN
    return asdict(outcome)


def _wanted(played: Played) -> str:
    return f"in all, where {len({name for name, _ in played})} were wanted"


def _total(played: Played, contender: Contender) -> str:
    mine = [outcome for (_, each), outcome in played.items() if each == contender]
    told = [outcome for outcome in mine if isinstance(outcome, Outcome)]
    return _bill(sum(each.charged for each in told), sum(each.videos for each in told))


def _bill(charged: int, videos: int) -> str:
    return f"{charged} charged, {videos} arrived"
