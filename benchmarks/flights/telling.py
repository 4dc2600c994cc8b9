"""What came of the rows: a table for people, and JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from benchmarks.flights.rows import OURS, Figured, Figures, Row
from benchmarks.published import Cells, differences, published

BUSY_SHARE = 0.7
"""From here on the server itself may have been what a contender waited for."""

COLUMNS = (
    ("wall ÷ ideal", "{wall_over_ideal:.2f}"),
    ("client CPU ms", "{client_cpu_ms:.2f}"),
    ("peak MB", "{peak_memory_mb:.0f}"),
    ("fal requests", "{requests:.2f}"),
    (
        "seen late, s: 50 / 95 / 100 %",
        "{seen_median_s:.2f} / {seen_95th_s:.2f} / {seen_worst_s:.2f}",
    ),
    ("sockets", "{sockets:.0f}"),
    ("Prefect server CPU ms", "{prefect_server_cpu_ms:.2f}"),
    ("Prefect calls + events", "{prefect_calls:.2f} + {events:.2f}"),
    ("stand-in's core: mean, most", "{server_share:.0%}, {server_busiest_second:.0%}"),
)
"""CPU, requests, calls and events are a generation's."""

IMPORT_COLUMNS = (
    ("takes, ms", "{import_ms:.0f}"),
    ("its CPU, ms", "{import_cpu_ms:.0f}"),
    ("more than import prefect, ms", "{more_ms:.0f}"),
    ("its CPU, ms", "{more_cpu_ms:.0f}"),
)


def is_whole(figures: Figures) -> bool:
    """Whether every video was bought once, and arrived."""
    if "failed" in figures:
        return False
    if not figures.get("bought"):
        return "import_ms" in figures or figures["arrived"] == figures["videos"]
    counts = {figures[name] for name in ("videos", "arrived", "bought", "bought_differing")}
    return len(counts) == 1


def is_met(row: Row, figured: Figured) -> bool:
    """Whether a row reached its goal; a contender that lost or doubled a video reached nothing."""
    needed = [each.label for each in row.entries if not each.is_peer] or [OURS]
    if not all(label in figured and is_whole(figured[label]) for label in needed):
        return False
    return row.met(figured)


DOCUMENTS = {"README.md": "on two cores", "docs/at-scale.md": "what, on one machine"}
"""Those that publish the table, and how its heading begins."""


MET, MISSED = ("met",), ("missed",)


def said_of_goals(document: str) -> dict[str, Cells]:
    """Whether a document says that a row reached its goal, by the rows' titles."""
    rows = published(document, DOCUMENTS[document])
    measured = {title: cells[1] for title, cells in rows.items()}
    return {title: MISSED if "missed" in each else MET for title, each in measured.items()}


def misstatements(done: Mapping[Row, Figured]) -> list[str]:
    """Where the documents say of a goal that it was met, or missed, and it was not."""
    found: list[str] = []
    for document in DOCUMENTS:
        said = said_of_goals(document)
        is_so = {row.title: _verdict(row, figured) for row, figured in done.items()}
        told = {title: said[title] for title in is_so if title in said}
        found += differences(document, told, is_so)
    return found


def _verdict(row: Row, figured: Figured) -> Cells:
    if lost := [_wrong(each) for each in figured.values() if not is_whole(each)]:
        return tuple(lost)  # it says nothing of the goal
    return MET if is_met(row, figured) else MISSED


def as_json(row: Row, figured: Figured) -> dict[str, Any]:
    """One row."""
    return {
        "row": row.name,
        "figures": dict(figured),
        "goal": row.goal,
        "met": is_met(row, figured),
    }


def table(row: Row, figured: Figured) -> Table:
    """One row, a line for each contender."""
    columns = COLUMNS if row.entries else IMPORT_COLUMNS
    made = Table(title=f"{row.name}: {row.title}", caption=_caption(row, figured))
    made.add_column("who", no_wrap=True)
    for heading, _ in columns:
        made.add_column(heading, justify="right", min_width=len(max(heading.split(), key=len)))
    for label, figures in figured.items():
        made.add_row(label, *(_cell(text, figures) for _, text in columns))
    return made


def _cell(text: str, figures: Figures) -> str:
    try:
        return text.format(**figures)
    except (KeyError, TypeError):  # nobody measured it, or it makes no sense here
        return "failed" if "failed" in figures else "-"


def _caption(row: Row, figured: Figured) -> str:
    lines = [f"goal: {row.goal}: {'met' if is_met(row, figured) else 'NOT MET'}"]
    for label, figures in figured.items():
        if not is_whole(figures):
            lines.append(f"{label}: {_wrong(figures)}")
        elif figures.get("server_share", 0.0) > BUSY_SHARE:
            lines.append(f"{label}: the stand-in for fal was busy, and may have been the limit")
    return "\n".join(lines)


def _wrong(figures: Figures) -> str:
    if "failed" in figures:
        return f"failed ({figures['failed']})"
    counts = "of {videos:.0f} wanted, {bought:.0f} were bought, {arrived:.0f} arrived"
    return counts.format(**figures) + f" ({figures.get('complaint', 'without a complaint')})"
