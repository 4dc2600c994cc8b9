"""What all commands share: their options, how the ledger is asked, and how things are printed.

Prompts and errors come from outside. They are printed as they are, never as markup, and without the
characters that would control the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefect_hailuo.engine.loop import Connections, Emit, ignore, process_loop
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.ledger.attempt import moment
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.models.money import dollars
from prefect_hailuo.runs.blocks import resolve_credentials
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.ticket import Realm

T = TypeVar("T")

RealmOption = Annotated[
    Realm | None,
    Parameter(help="Whose purchases. Default: fal; the emulator where the settings name one."),
]

JsonOption = Annotated[
    bool, Parameter(help="Print everything, as JSON.", negative="", show_default=False)
]

CredentialsOption = Annotated[
    str | None,
    Parameter(help="A saved credentials block. Default: the attempt's own, else the environment."),
]

console = Console(highlight=False, markup=False, emoji=False)


def realm_of(given: Realm | None) -> Realm:
    """The realm that a command is about."""
    return given or ("emulator" if current_settings().emulator_url else "fal")


def access_of(realm: Realm, credentials: str | None) -> Access:
    """A key for a realm.

    Raises:
        ConfigurationError: There is no key, or it belongs to the other realm.
    """
    access = resolve_credentials(credentials).access()
    if access.realm != realm:
        raise ConfigurationError(
            f"The credentials are for the realm {access.realm!r}, and this is about {realm!r}.",
            cure="Name others with --credentials, or the realm with --realm.",
        )
    return access


def ask(realm: Realm, question: Callable[[Ledger], Awaitable[T]]) -> T:
    """Ask a realm's ledger, on the package's loop."""

    async def only(ledger: Ledger, connections: Connections, emit: Emit) -> T:
        return await question(ledger)

    return ask_with(realm, only)


def ask_with(
    realm: Realm,
    question: Callable[[Ledger, Connections, Emit], Awaitable[T]],
    handle: Callable[[Any], None] = ignore,
) -> T:
    """Ask a realm's ledger, and fal if need be.

    Args:
        realm: The realm.
        question: Asks, on the package's loop.
        handle: Called here with each event that the question emits.
    """
    address = current_settings().ledger_of(realm)

    async def job(connections: Connections, emit: Emit) -> T:
        return await question(connections.ledgers.at(address), connections, emit)

    return process_loop().run(job, handle)


def say(*texts: object) -> None:
    """Print a line, wrapped to the terminal if there is one."""
    console.print(Text(plain(" ".join(str(text) for text in texts))))


def say_json(value: Any) -> None:
    """Print a value as JSON, to be read by programs."""
    sys.stdout.write(json.dumps(value, indent=2, default=_written) + "\n")


def table(*columns: str, **options: Any) -> Table:
    """An empty table, no wider than its content."""
    return Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, **options)


def plain(text: object) -> str:
    """A text on one line, with a question mark for each character that cannot be printed.

    Example:
        >>> plain("A fox.\\x1b[31m\\nAn owl.")
        'A fox.?[31m An owl.'
    """
    return "".join(each if each.isprintable() else "?" for each in " ".join(str(text).split()))


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
    """A time of the ledger, in ISO 8601, for programs."""
    return None if seconds is None else moment(seconds).isoformat()


def _written(value: Any) -> str | list[int]:
    if isinstance(value, range):
        return list(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
