"""`prefect-hailuo ledger show`: all that the ledger knows of one key, for people or for programs.

Here too is an attempt in words and as a document, which the other commands of the ledger show.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import BaseModel
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from prefect_hailuo.cli.output import (
    JsonOption,
    RealmOption,
    ask,
    console,
    iso,
    plain,
    realm_of,
    say,
    say_json,
    usd,
    when,
)
from prefect_hailuo.engine.acquire import parked_error
from prefect_hailuo.ledger.attempt import Attempt, Fate, Rerun, is_parked, was_cancelled
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.upkeep.reading import Story, Waiter
from prefect_hailuo.models.catalogue import model_name
from prefect_hailuo.models.image import with_identities

RUN_CHARACTERS = 8

TIMES = {field.name for field in fields(Attempt) if field.name.endswith("_at")} | {"lease_until"}

Facts = Iterable[tuple[str, object]]

ENDED = (Fate.FAILED, Fate.CANCELLED)
"""Fates whose recorded error a rerun raises again. With any other, the error is past."""


def show(
    key: Annotated[str, Parameter(help="The key, or any beginning of it that is unique.")],
    /,
    *,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Show everything about one key: its attempts, who waits, its files, and what a rerun does."""
    where = realm_of(realm)

    async def read(ledger: Ledger) -> Story:
        return await ledger.reading.story(await ledger.reading.key_of(where, key))

    story = ask(where, read)
    if json:
        say_json(story_document(story))
    else:
        tell(story)


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
        return "buy once more, in place of this attempt, because somebody allowed it"
    return latest.rerun.value


def cures_of(one: Attempt) -> str:
    """What a person can do about a parked attempt; empty for any other."""
    if not is_parked(one):
        return ""
    if one.error is not None and one.parked_at is None:
        return str(one.error["cure"])
    return parked_error(one, one.parked_because or "").cure


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


def _common(story: Story) -> Facts:
    """What all attempts of a key have in common, from the latest that knows it."""
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
    return f"waiting; its lease runs until {when(waiter.lease_until)}"


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
