"""Markdown for the artifacts that a run publishes: texts, tables, and the emulator's notice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from prefect_hailuo.ticket import Realm


def escape(text: str) -> str:
    """A text that Markdown shows as it is, on one line.

    Example:
        >>> escape("a <b> | *c*")
        'a \\\\<b\\\\> \\\\| \\\\*c\\\\*'
    """
    return quote(" ".join(text.split()))


_MARKS = r"[\\`*_{}\[\]()#+!|<>~&-]|:(?=//)"


def quote(text: str) -> str:
    """A text without special characters of Markdown; `unquote` restores it."""
    return re.sub(f"({_MARKS})", r"\\\1", text)


def unquote(text: str) -> str:
    """The text that was quoted.

    Example:
        >>> unquote(quote("a <b>  ![c](https://d)")) == "a <b>  ![c](https://d)"
        True
    """
    return re.sub(rf"\\({_MARKS})", r"\1", text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table.

    Args:
        head: The titles of the columns.
        rows: The cells, which may hold Markdown. A pipe does not end a cell, nor does a line's end.

    Example:
        >>> print(table(["Model", "Note"], [["hailuo-02-pro", "6 s | 10 s"]]))
        | Model | Note |
        | --- | --- |
        | hailuo-02-pro | 6 s \\| 10 s |
    """
    return "\n".join(_row(each) for each in (head, ["---"] * len(head), *rows))


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of two columns without titles: a name and what is known of it, if anything is.

    Example:
        >>> print(facts([("Size", "1,024 bytes"), ("Labels", "")]))
        |  |  |
        | --- | --- |
        | Size | 1,024 bytes |
    """
    return table(["", ""], [each for each in rows if each[1]])


def notice(realm: Realm) -> str:
    """A paragraph that says whether the emulator made this; nothing for what fal made.

    Example:
        >>> notice("fal")
        ''
    """
    emulated = "**Made by the emulator: nothing was generated or charged.**\n\n"
    return emulated if realm == "emulator" else ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_cell(each) for each in cells)} |"


def _cell(text: str) -> str:
    # A pipe that is escaped already stays as it is.
    return " ".join(re.sub(r"(?<!\\)\|", r"\\|", text).split())
