"""`prefect-hailuo ledger export` and `import`."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TextIO

from cyclopts import Parameter, validators

from prefect_hailuo.cli.asking import (
    JsonOption,
    RealmOption,
    access_of,
    ask,
    ask_with,
    realm_of,
)
from prefect_hailuo.cli.printing import console, plain, say, say_json, table, usd
from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.endpoints import model_name
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.key import shown_key
from prefect_hailuo.ledger.earlier import HISTORY_DAYS
from prefect_hailuo.ledger.exchange import Header, Merged
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.rebuilding import Outcome, Rebuilt
from prefect_hailuo.settings import current_settings

OUTCOMES: dict[Outcome, str] = {
    "attempt": "entered: a rerun collects it",
    "duplicate": "entered, as a duplicate",
    "known": "known already",
    "searched": "left to ledger reconcile: an attempt misses a request like it",
    "unreadable": "fal does not show its input",
    "foreign": "no input of this package's",
}


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
        raise ConfigurationError("A file, and --skip.", cure="Give one of them.")
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
