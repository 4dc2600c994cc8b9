"""What the documents publish of a benchmark, held against what is measured anew.

A document promises which rows there are, what was counted, and whether a goal was met. Seconds and
shares are another machine's, and are not compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.staying_inside import ROOT

Cells = tuple[str, ...]
"""What a table says in a row, after the row's title."""

BORDERS = "|│┃┡├"
"""How the lines of a table begin, in Markdown and as they are printed."""


def published(document: str, heading: str) -> dict[str, Cells]:
    """The rows of a document's table, by their titles and in their order.

    Args:
        document: Its path in this repository.
        heading: How the first cell of the table's heading begins.

    Raises:
        ValueError: There is no such table.
    """
    lines = iter((ROOT / document).read_text().splitlines())
    if not any(line[:1] in "|┃" and line[1:].strip().startswith(heading) for line in lines):
        raise ValueError(f"{document} has no table whose heading begins with {heading!r}.")
    rows: dict[str, Cells] = {}
    for line in lines:
        if not line or line[0] not in BORDERS:
            break
        if line[0] in "|│" and not line.startswith("| ---"):
            cells = line.replace("`", "").strip(line[0]).split(line[0])
            title, *rest = (each.strip() for each in cells)
            rows[title] = tuple(rest)
    return rows


def differences(document: str, said: Mapping[str, Cells], is_so: Mapping[str, Cells]) -> list[str]:
    """Where a document says something else than what is so, a line for each row.

    Args:
        document: Its path in this repository.
        said: What it says in each row, by the rows' titles.
        is_so: What it should say; a row that was not run is in neither.
    """
    titles = list(dict.fromkeys([*is_so, *said]))
    return [
        f"{document}: {title!r} says {_words(said.get(title))}, and is {_words(is_so.get(title))}"
        for title in titles
        if said.get(title) != is_so.get(title)
    ]


def _words(cells: Sequence[str] | None) -> str:
    return "nothing" if cells is None else " / ".join(cells)
