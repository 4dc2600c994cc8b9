"""How the commands show things.

Prompts and errors come from outside: they are shown as they are, never taken for markup, and
without the characters that would steer the terminal.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefect_hailuo.ledger.attempts import moment
from prefect_hailuo.money import dollars

console = Console(highlight=False, markup=False, emoji=False)


def plain(text: object) -> str:
    """A text on one line, without what is no letter to be read.

    Example:
        >>> plain("A fox.\\x1b[31m\\nAn owl.")
        'A fox.?[31m An owl.'
    """
    return "".join(each if each.isprintable() else "?" for each in " ".join(str(text).split()))


def say(*texts: object) -> None:
    """Print a line, wrapped to the terminal, or as it is where there is none."""
    console.print(Text(plain(" ".join(str(text) for text in texts))))


def say_json(value: Any) -> None:
    """Print a value as JSON, to be read by programs."""
    sys.stdout.write(json.dumps(value, indent=2, default=_written) + "\n")


def table(*columns: str, **options: Any) -> Table:
    """An empty table that is as wide as it must be."""
    return Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, **options)


def usd(amount: Decimal | None) -> str:
    """An amount of dollars, with cents at least.

    Example:
        >>> usd(Decimal("4.9")), usd(Decimal("0.485")), usd(Decimal(0)), usd(None)
        ('$4.90', '$0.485', '$0.00', '?')
    """
    return "?" if amount is None else dollars(amount)


def when(seconds: float | None) -> str:
    """A time of the ledger, UTC, to the second."""
    return "" if seconds is None else f"{moment(seconds):%Y-%m-%d %H:%M:%S}"


def iso(seconds: float | None) -> str | None:
    """A time of the ledger for programs."""
    return None if seconds is None else moment(seconds).isoformat()


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
