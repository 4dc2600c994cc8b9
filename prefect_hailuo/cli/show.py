"""Everything about one key, told to a person or to a program.

What the commands share: which realm is meant, and how its ledger is asked.

How the commands show things.

Prompts and errors come from outside: they are shown as they are, never taken for markup, and
without the characters that would steer the terminal.

An attempt, in words and as a document.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, fields
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter
from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from prefect_hailuo.engine.acquire import parked_error
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.ledger.attempt import Attempt, Fate, Rerun, is_parked, moment, was_cancelled
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.upkeep.reading import Story, Waiter
from prefect_hailuo.models.catalogue import model_name
from prefect_hailuo.models.image import with_identities
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


def realm_of(given: Realm | None) -> Realm:
    """The realm that a command is about."""
    return given or ("emulator" if current_settings().emulator_url else "fal")


def ask(
    realm: Realm,
    question: Callable[[Ledger], Awaitable[T]],
    handle: Callable[[Any], None] | None = None,
) -> T:
    """Ask a realm's ledger, on the package's loop."""

    async def only(ledger: Ledger, connections: Connections, emit: Emit) -> T:
        return await question(ledger)

    return ask_with(realm, only, handle)


def ask_with(
    realm: Realm,
    question: Callable[[Ledger, Connections, Emit], Awaitable[T]],
    handle: Callable[[Any], None] | None = None,
) -> T:
    """Ask a realm's ledger, and fal; what the question emits is handled here."""
    address = current_settings().ledger_of(realm)

    async def job(connections: Connections, emit: Emit) -> T:
        return await question(connections.ledgers.at(address), connections, emit)

    return process_loop().run(job, handle) if handle else process_loop().run(job)


def access_of(realm: Realm, credentials: str | None) -> Access:
    """A key for a realm.

    Raises:
        ConfigurationError: There is none, or it is the other realm's.
    """
    access = resolve_credentials(credentials).access()
    if access.realm != realm:
        raise ConfigurationError(
            f"The credentials are for the realm {access.realm!r}, and this is about {realm!r}.",
            cure="Name others with --credentials, or the realm with --realm.",
        )
    return access


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


RUN_CHARACTERS = 8

TIMES = {field.name for field in fields(Attempt) if field.name.endswith("_at")} | {"lease_until"}


def fate_words(one: Attempt, cancelled_by: tuple[str, ...] = ()) -> list[str]:
    """How an attempt stands, a few words a line.

    Args:
        one: The attempt.
        cancelled_by: The flow runs that cancelled it.
    """
    words = [str(one.fate)]
    if one.billed is not None and one.fate is not Fate.STORED:
        words.append(f"billed {one.billed}")
    words += [
        word
        for word, holds in (
            ("parked", is_parked(one)),
            ("duplicate", one.duplicate),
            ("adopted", one.adopted),
        )
        if holds
    ]
    if was_cancelled(one) and cancelled_by:
        words += [f"cancelled by {run[:RUN_CHARACTERS]}" for run in cancelled_by]
    elif one.cancel_answer is not None:
        words.append(f"cancel: {one.cancel_answer}")
    return words


def as_document(one: Attempt, cancelled_by: tuple[str, ...] = ()) -> dict[str, Any]:
    """All of an attempt, for programs: times in ISO 8601, UTC; dollars as text, exact.

    Args:
        one: The attempt.
        cancelled_by: The flow runs that cancelled it.
    """
    document = {field.name: _field(one, field.name) for field in fields(one)}
    return {
        **document,
        "parked": is_parked(one),
        "cancelled_by": list(cancelled_by) if was_cancelled(one) else [],
        "rerun": one.rerun.name.lower(),
    }


def _field(one: Attempt, name: str) -> Any:
    value = getattr(one, name)
    if name in TIMES:
        return iso(value) if value else None
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


Facts = Iterable[tuple[str, object]]

ENDED = (Fate.FAILED, Fate.CANCELLED)
"""Fates whose recorded errors are raised again; of any other, the error is history."""


def story_document(story: Story) -> dict[str, Any]:
    """A key's story, for programs."""
    latest = story.latest
    return {
        "key": story.key,
        "created_at": iso(story.created_at),
        "consented": story.consented,
        "latest": latest.number if latest else None,
        "rerun": rerun_of(story),
        "cures": cures_of(latest) if latest else "",
        "attempts": [as_document(each, story.cancelled_by) for each in story.attempts],
        "waiters": [_waiter_document(each) for each in story.waiters],
        "files": [each.model_dump(mode="json") for each in story.files],
    }


def rerun_of(story: Story) -> str:
    """What a call for this video does now."""
    latest = story.latest
    if latest is None:
        return "buy, for the first time"
    if story.may_be_replaced and latest.rerun is not Rerun.REUSE:
        return "buy once more, in place of this attempt, for somebody allowed it"
    return latest.rerun.value


def cures_of(one: Attempt) -> str:
    """What a person can do about an attempt that nobody else can decide."""
    if not is_parked(one):
        return ""
    if one.error is not None and one.parked_at is None:
        return str(one.error["cure"])
    return parked_error(one, one.parked_because or "").cure


def tell(story: Story) -> None:
    """Print a key's story."""
    say(story.key)
    _print_facts(_common(story))
    for one in story.attempts:
        say("")
        say(f"Attempt {one.number}: {', '.join(fate_words(one, story.cancelled_by))}")
        _print_facts(_history(one), indent=2)
    for title, facts in (("Waiters", _waiters(story)), ("Files", _files(story))):
        if facts:
            say("")
            say(title)
            _print_facts(facts, indent=2)
    say("")
    say(f"A rerun will: {rerun_of(story)}.")
    latest = story.latest
    if latest is not None and (cures := cures_of(latest)):
        say(f"It waits for your decision. {cures}")


def _common(story: Story) -> Facts:
    """What all attempts of a key have in common, from the latest that tells."""
    if not story.attempts:
        return []
    one = story.attempts[-1]
    body = next((each.body for each in reversed(story.attempts) if each.body), None)
    given = body or {"prompt": "(redacted)"}
    return [
        ("model", f"{model_name(one.endpoint)} ({one.endpoint})"),
        *with_identities(given).items(),
        ("take", one.take),
        ("realm", one.realm),
        ("asked first", f"{when(story.created_at)} UTC"),
    ]


def _history(one: Attempt) -> Facts:
    """An attempt's own facts, in the order of its life."""
    ticket = one.ticket
    facts: list[tuple[str, object]] = [
        ("account", one.account),
        ("credentials", one.credentials),
        ("scope", one.scope),
        ("labels", ", ".join(f"{name}={text}" for name, text in one.labels.items())),
        ("intended", when(one.intended_at)),
        ("sent", when(one.sent_at)),
        ("accepted", when(one.submitted_at)),
        ("request id", one.request_id),
        ("status URL", ticket.status_url if ticket else None),
        ("ended", when(one.ended_at)),
        ("parked", when(one.parked_at)),
        ("because", one.parked_because),
        ("cancellation", one.cancel_answer),
        ("video", one.output.video.url if one.output else None),
        ("cost", _cost(one)),
        ("error", one.error and f"{one.error['kind']}: {one.error['message']}"),
        ("cure", one.error and one.fate in ENDED and one.error["cure"]),
    ]
    return [(name, value) for name, value in facts if value]


def _cost(one: Attempt) -> str:
    if one.cost_usd is None:
        return f"{usd(one.estimated_usd)} set aside" + (
            "; whether it was charged is not known" if one.cost_basis == "unknown" else ""
        )
    return f"{usd(one.cost_usd)} ({one.cost_basis})"


def _waiters(story: Story) -> list[tuple[str, object]]:
    return [
        (when(each.started_at), f"{_who(each)}, {_how_it_went(each)}") for each in story.waiters
    ]


def _who(waiter: Waiter) -> str:
    return f"flow run {waiter.flow_run_id}" if waiter.flow_run_id else "no flow run"


def _how_it_went(waiter: Waiter) -> str:
    if waiter.cancelled_at is not None:
        return f"cancelled {when(waiter.cancelled_at)}"
    if waiter.ended_at is not None:
        return f"served {when(waiter.ended_at)}"
    return f"waiting, last heard of to be good until {when(waiter.lease_until)}"


def _waiter_document(waiter: Waiter) -> dict[str, Any]:
    document = asdict(waiter)
    times = ("lease_until", "started_at", "ended_at", "cancelled_at")
    return {**document, **{name: iso(document[name]) for name in times}}


def _files(story: Story) -> list[tuple[str, object]]:
    return [
        (f"{each.stored_at:%Y-%m-%d %H:%M:%S}", f"{each.place} ({each.size} bytes)")
        for each in story.files
    ]


def _print_facts(facts: Facts, indent: int = 0) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(plain(name), Text(plain(value)))
    console.print(Padding(grid, (0, 0, 0, indent)))
