"""`prefect-hailuo ledger`: list, reconcile, resolve, export, import and prune.

`ledger show` has a module of its own.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TextIO

from cyclopts import Parameter, validators
from rich.text import Text

from prefect_hailuo.cli.output import (
    CredentialsOption,
    JsonOption,
    RealmOption,
    access_of,
    ask,
    ask_with,
    console,
    plain,
    realm_of,
    say,
    say_json,
    table,
    usd,
    when,
)
from prefect_hailuo.cli.show import as_document, fate_words, rerun_of, story_document
from prefect_hailuo.engine.decision import Resolution
from prefect_hailuo.engine.loop import Connections, Emit
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.ledger.attempt import Attempt, Fate
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.tail import HISTORY_DAYS
from prefect_hailuo.ledger.upkeep.exchange import Header, Merged
from prefect_hailuo.ledger.upkeep.reading import Choice, Entry, Story
from prefect_hailuo.ledger.upkeep.rebuild import Outcome, Rebuilt
from prefect_hailuo.models.catalogue import find_input_class, model_name
from prefect_hailuo.models.key import shown_key
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.tasks.sweep import SweepReport, sweep
from prefect_hailuo.ticket import Realm

OUTCOMES: dict[Outcome, str] = {
    "attempt": "entered: a rerun collects it",
    "duplicate": "entered, as a duplicate",
    "known": "known already",
    "searched": "left to ledger reconcile: an attempt misses a request like it",
    "unreadable": "fal does not show its input",
    "foreign": "no input of this package's",
}


def list_(
    *,
    fate: Annotated[
        list[Fate] | None,
        Parameter(help="Only these, such as stored or failed.", negative="", show_default=False),
    ] = None,
    parked: Annotated[
        bool, Parameter(help="Only what waits for your decision.", negative="", show_default=False)
    ] = False,
    scope: Annotated[str | None, Parameter(help="Only on this budget scope.")] = None,
    model: Annotated[str | None, Parameter(help="Only of this model.")] = None,
    limit: Annotated[
        int, Parameter(help="So many at most.", validator=validators.Number(gte=1))
    ] = 50,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """List the attempts to buy, the newest first. Times are UTC, costs are the catalogue's."""
    choice = Choice(
        realm=realm_of(realm),
        fates=tuple(fate or ()),
        parked=parked,
        scope=scope,
        endpoint=find_input_class(model).endpoint.id if model else None,
        limit=limit,
    )
    entries = ask(choice.realm, lambda ledger: ledger.reading.entries(choice))
    if json:
        say_json([as_document(entry.attempt, entry.cancelled_by) for entry in entries])
    else:
        _print_entries(entries, choice)


def _print_entries(entries: list[Entry], choice: Choice) -> None:
    if not entries:
        say(f"Nothing of that kind is in the ledger of the realm {choice.realm!r}.")
        return
    shown = table()
    shown.add_column("key and attempt", no_wrap=True)
    shown.add_column("fate", width=14)
    shown.add_column("model, prompt, request", ratio=1)
    shown.add_column("cost", justify="right", no_wrap=True)
    for entry in entries:
        one = entry.attempt
        shown.add_row(
            f"{shown_key(one.key)} #{one.number}\n{when(one.intended_at)[:16]}",
            "\n".join(fate_words(one, entry.cancelled_by)),
            _about(entry),
            usd(one.cost_usd if one.cost_usd is not None else one.estimated_usd),
        )
    console.print(shown)
    if len(entries) == choice.limit:
        say(f"Only the newest {choice.limit} are shown; see more with --limit.")


def _about(entry: Entry) -> Text:
    """The model and the prompt on one line, cut to the terminal; and the request."""
    one = entry.attempt
    prompt = (one.body or {}).get("prompt", "(redacted)")
    room = max(20, console.width - 44)
    line = f"{model_name(one.endpoint)}: {plain(prompt)}"
    first = line if len(line) <= room else f"{line[: room - 1]}…"
    return Text(f"{first}\n{plain(one.request_id or 'no request id')}", overflow="fold")


def reconcile(
    *,
    credentials: Annotated[
        list[str] | None,
        Parameter(
            help="Saved credentials blocks, one an account. Default: those that the attempts name, "
            "and the environment's key.",
            negative="",
        ),
    ] = None,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Look after every open attempt: find lost requests, collect finished videos, cancel what
    nobody wants. It buys nothing."""
    report = sweep(realm_of(realm), credentials=list(credentials or ()))
    if json:
        say_json([asdict(row) for row in report.rows])
        return
    for run in report.resumed:
        say(f"Resumed the flow run {run}.")
    if report.rows:
        _print_findings(report)
    else:
        say("Nothing is left open.")


def _print_findings(report: SweepReport) -> None:
    rows = table()
    rows.add_column("key and attempt", no_wrap=True)
    rows.add_column("outcome")
    rows.add_column("model, request, detail", ratio=1, overflow="fold")
    rows.add_column("cost", justify="right", no_wrap=True)
    for row in report.rows:
        about = "\n".join(
            plain(line) for line in (model_name(row.model), row.request_id, row.detail) if line
        )
        key = f"{shown_key(row.key)} #{row.attempt}"
        rows.add_row(key, row.outcome, Text(about), usd(row.cost_usd))
    console.print(rows)


def resolve(
    key: Annotated[str, Parameter(help="The key, or any beginning of it that is unique.")],
    /,
    *,
    adopt: Annotated[
        str | None, Parameter(help="It is this request of fal's: the next run collects it.")
    ] = None,
    allow_one_resubmit: Annotated[
        bool,
        Parameter(
            help="The next run may buy once more, which may pay twice.",
            negative="",
            show_default=False,
        ),
    ] = False,
    abandon: Annotated[
        bool, Parameter(help="Give it up; it counts as spent.", negative="", show_default=False)
    ] = False,
    attempt: Annotated[
        int | None, Parameter(help="Only if this attempt still is the latest.")
    ] = None,
    force: Annotated[
        bool,
        Parameter(
            help="Adopt it though fal's history does not show its input.",
            negative="",
            show_default=False,
        ),
    ] = False,
    credentials: CredentialsOption = None,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Decide about the latest attempt of a key, which may have been bought: one of the three."""
    choices = [name for name, given in _choices(adopt, allow_one_resubmit, abandon) if given]
    if len(choices) != 1:
        raise ConfigurationError(
            f"{' and '.join(choices) or 'Nothing'} was chosen.",
            cure="Choose one: --adopt REQUEST_ID, --allow-one-resubmit or --abandon.",
        )
    where = realm_of(realm)
    whole = ask(where, lambda ledger: ledger.reading.key_of(where, key))
    if adopt is not None:
        said = _adopt(where, whole, attempt, adopt.strip(), credentials, force)
    elif allow_one_resubmit:
        ask(where, lambda ledger: Resolution(ledger, whole, attempt).allow())
        said = "One more purchase is allowed."
    else:
        ask(where, lambda ledger: Resolution(ledger, whole, attempt).abandon())
        said = "It is given up, and counts as spent."
    _tell_decision(ask(where, lambda ledger: ledger.reading.story(whole)), said, json)


def _choices(
    adopt: str | None, allow_one_resubmit: bool, abandon: bool
) -> tuple[tuple[str, bool], ...]:
    return (
        ("--adopt", adopt is not None),
        ("--allow-one-resubmit", allow_one_resubmit),
        ("--abandon", abandon),
    )


def _adopt(
    realm: Realm,
    key: str,
    number: int | None,
    request_id: str,
    credentials: str | None,
    force: bool,
) -> str:
    one = ask(realm, lambda ledger: Resolution(ledger, key, number).latest())
    access = access_of(realm, credentials or one.credentials)

    async def adopt(ledger: Ledger, connections: Connections, emit: Emit) -> Attempt:
        resolving = Resolution(ledger, key, one.number)
        return await resolving.adopt(request_id, access, connections, force=force)

    adopted = ask_with(realm, adopt)
    return f"The request {request_id} is attempt {adopted.number}'s now."


def _tell_decision(story: Story, said: str, json: bool) -> None:
    if json:
        say_json(story_document(story))
        return
    say(f"{shown_key(story.key)}: {said}")
    say(f"A rerun will: {rerun_of(story)}.")


def _check_file(_: object, file: str | None) -> None:
    if file and file.startswith("-") and file != "-":
        raise ValueError(f"Unknown option: {file}.")


def _file(words: str) -> Parameter:
    """A file, or `-`."""
    return Parameter(help=words, allow_leading_hyphen=True, validator=_check_file)


def export(
    file: Annotated[str, _file("Where to write it; - for standard output.")],
    /,
    *,
    realm: RealmOption = None,
) -> None:
    """Write the whole ledger out, as lines of JSON. There are no secrets in it, but prompts."""
    where = realm_of(realm)
    if file == "-":
        _export(where, sys.stdout)
        return
    part = Path(f"{file}.part")
    try:
        with part.open("w", encoding="utf-8") as target:
            header = _export(where, target)
            target.flush()
            os.fsync(target.fileno())
        part.replace(file)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    say(f"{sum(header.rows.values())} rows, {header.rows['hailuo_attempt']} of them attempts.")


def _export(realm: Realm, target: TextIO) -> Header:
    async def write(ledger: Ledger, _: Connections, emit: Emit) -> Header:
        return await ledger.exchange.export(realm, emit)

    def put(line: str) -> None:
        target.write(f"{line}\n")

    return ask_with(realm, write, put)


def import_(
    file: Annotated[
        str | None, _file("An export; - for standard input. Default: fal's history.")
    ] = None,
    /,
    *,
    days: Annotated[
        float, Parameter(help="How far to look back.", validator=validators.Number(gt=0))
    ] = HISTORY_DAYS,
    skip: Annotated[
        bool,
        Parameter(
            help="Import nothing, and trust that all that was bought before is accounted for.",
            negative="",
            show_default=False,
        ),
    ] = False,
    credentials: Annotated[
        str | None, Parameter(help="A saved credentials block. Default: the environment's key.")
    ] = None,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Take in an export; or, after a ledger was lost, what fal's request history shows.

    What the ledger has already stays as it is, so that it may be repeated. From fal's history, all
    requests of an input become one generation of take 0: the first that succeeded, which a rerun
    collects without buying, and the others, shown as duplicates. Which
    take each was, fal does not know: so the first call for another take of such an input asks what
    to do, unless --skip says that all is accounted for.
    """
    where = realm_of(realm)
    if file is not None and skip:
        raise ConfigurationError("A file and --skip were both given.", cure="Give one of them.")
    if file is not None:
        merged = ask(where, lambda ledger: ledger.exchange.merge(where, _lines(file)))
        _tell_merged(merged, json)
        return
    access = access_of(where, credentials)
    if skip:
        ask(where, lambda ledger: ledger.beginnings.skip(where, access.account))
        say(f"The account {access.account}'s history counts as accounted for; nothing was read.")
        return
    _tell_rebuilt(_rebuild(where, access, days, credentials), access, json)
    if days < HISTORY_DAYS and not json:
        say(f"What is older than {days:g} days is still looked for before a first purchase.")


def _lines(file: str) -> list[str]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{file} is no text.", cure="Write one with: prefect-hailuo ledger export FILE."
        ) from error
    return text.splitlines()


def _tell_merged(merged: Merged, json: bool) -> None:
    if json:
        say_json(asdict(merged))
        return
    shown_rows = table("table", "added", "known already")
    for name in sorted({*merged.added, *merged.known}):
        added, known = merged.added.get(name, 0), merged.known.get(name, 0)
        shown_rows.add_row(name.removeprefix("hailuo_"), str(added), str(known))
    console.print(shown_rows)


def _rebuild(realm: Realm, access: Access, days: float, credentials: str | None) -> list[Rebuilt]:
    scope = current_settings().budget_scope

    async def rebuild(ledger: Ledger, connections: Connections, emit: Emit) -> list[Rebuilt]:
        platform = PlatformClient(access, connections.http)
        found = await ledger.rebuilding.rebuild(
            platform, days=days, scope=scope, credentials=credentials
        )
        if days >= HISTORY_DAYS and not any(each.outcome == "unreadable" for each in found):
            await ledger.beginnings.settle(realm, access.account)
        return found

    return ask_with(realm, rebuild)


def _tell_rebuilt(found: list[Rebuilt], access: Access, json: bool) -> None:
    if json:
        say_json([asdict(each) for each in found])
        return
    if news := [each for each in found if each.outcome != "known"]:
        _print_rebuilt(news)
    counts = Counter(each.outcome for each in found)
    say(f"{len(found)} requests of the account {access.account} are in fal's history.")
    for outcome, words in OUTCOMES.items():
        if counts[outcome]:
            say(f"{counts[outcome]} {words}.")
    if counts["unreadable"]:
        say(
            "So the account does not count as accounted for. If none of those can be a video that "
            "is asked for again, say so with: prefect-hailuo ledger import --skip"
        )


def _print_rebuilt(found: list[Rebuilt]) -> None:
    rows = table()
    for title in ("sent", "model, request", "key", "became"):
        rows.add_column(title, overflow="fold")
    rows.add_column("cost", justify="right", no_wrap=True)
    for each in found:
        became = f"{each.fate or ''}\n{each.outcome}".strip()
        about = f"{model_name(each.endpoint)}\n{plain(each.request_id)}"
        sent = f"{each.sent_at:%Y-%m-%d\n%H:%M:%S}"
        cost = usd(each.cost_usd) if each.key else ""
        rows.add_row(sent, about, shown_key(each.key or ""), became, cost)
    console.print(rows)


def prune(
    *,
    older_than: Annotated[
        float,
        Parameter(help="Days since it ended; 1 at least.", validator=validators.Number(gte=1)),
    ],
    redact: Annotated[
        bool,
        Parameter(
            help="Also remove prompts, labels and errors' words.", negative="", show_default=False
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        Parameter(help="Change nothing, and say what would be.", negative="", show_default=False),
    ] = False,
    realm: RealmOption = None,
    json: JsonOption = False,
) -> None:
    """Drop old rows that cost nothing and no longer matter; redact prompts if asked to.

    What cost money, or may have, is under way, or waits for a decision is never dropped: budgets
    and the promise to buy once stand on it. A redacted video is still found and reused. Files,
    their names and the records beside them are left as they are.
    """
    where = realm_of(realm)
    pruned = ask(
        where,
        lambda ledger: ledger.pruning.prune(where, older_than, redact=redact, dry_run=dry_run),
    )
    if json:
        say_json({**asdict(pruned), "dry_run": dry_run})
        return
    say(
        "Would be dropped:" if dry_run else "Dropped:",
        f"{pruned.attempts} attempts that cost nothing, {pruned.generations} keys without any,",
        f"{pruned.waiters} ended waiters, {pruned.cancelled_runs} cancelled flow runs.",
    )
    if redact:
        say(f"{'Would be redacted' if dry_run else 'Redacted'}: {pruned.redacted} attempts.")
