"""The ledger as lines of JSON (`Exchange`), and the deletion of what no longer matters (`Pruning`).

An export holds what the tables hold, without any key or password, and can be merged into a ledger.

Pruning deletes nothing that cost money, or may have: budgets, the overview of spending and the
promise to buy once depend on it. It deletes nothing that is under way or waits for a decision.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    true,
    update,
)

from prefect_hailuo.errors import Billed, ConfigurationError
from prefect_hailuo.ledger.attempt import MOST_ATTEMPTS, Attempt, Fate, attempt_of, is_parked
from prefect_hailuo.ledger.database import REVISIONS, Part, reads, writes
from prefect_hailuo.ledger.tables import (
    Usd,
    attempt,
    budget,
    cancelled_run,
    file,
    generation,
    history,
    insert_once,
    is_attempt,
    lock_key,
    now_in,
    origin,
    owned_requests,
    waiter,
)
from prefect_hailuo.ticket import Realm

FORMAT_VERSION = 1

TABLES = (generation, attempt, file, waiter, cancelled_run, budget, history, origin)
"""In the order in which they can be filled."""

NOT_MERGED = (history, origin)
"""A ledger knows better when it began, and whose history it accounts for: what was bought since the
export is not in it."""

ROWS_AT_ONCE = 1_000
"""So many are in memory at once when a table is written out."""

Row = dict[str, Any]


class Header(BaseModel):
    """The first line of an export.

    Args:
        hailuo_ledger: The version of the format.
        revision: The revision of the tables.
        realm: Whose purchases it holds.
        exported_at: When it was written.
        rows: How many rows follow, by table.
    """

    hailuo_ledger: int
    revision: str
    realm: Realm
    exported_at: datetime
    rows: dict[str, int]


@dataclass
class Merged:
    """What became of an export's rows.

    Args:
        added: How many were added, by table.
        known: How many were there already, or are not merged, by table.
    """

    added: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)

    def count(self, table: Table, added: bool) -> None:
        """Count a row."""
        counts = self.added if added else self.known
        counts[table.name] = counts.get(table.name, 0) + 1


class Exchange(Part):
    """Exports a ledger, and merges an export into it."""

    @reads
    def export(self, connection: Connection, realm: Realm, put: Callable[[str], object]) -> Header:
        """Hand over a realm's part of the ledger, line by line, all of one moment.

        Args:
            realm: Which.
            put: Called with each line.
        """
        if connection.dialect.name == "postgresql":
            # Or a purchase between two tables would be half of one.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        header = _header(connection, realm)
        put(header.model_dump_json())
        for table in TABLES:
            for row in _rows(connection, table, realm):
                put(json.dumps({"table": table.name, "row": row}))
        return header

    @writes
    def merge(self, connection: Connection, realm: Realm, lines: Iterable[str]) -> Merged:
        """Add what an export has and the ledger has not: all of it, or nothing.

        What both have stays as the ledger has it. An attempt that was being submitted when it was
        exported may have been bought since: it is ambiguous, and is looked for. Another attempt
        under a number that is taken becomes a further one, shown as a duplicate.

        Args:
            realm: Which realm's ledger it is.
            lines: The export.

        Raises:
            ConfigurationError: It is no whole export of this realm, or of a newer release.
        """
        header, rows = _parsed(lines, realm)
        _check_whole(header, rows)
        merged = Merged()
        for table, row in rows:
            merged.count(table, _add(connection, table, row))
        _recount(connection, {row["key"] for table, row in rows if table is generation})
        return merged


def _header(connection: Connection, realm: Realm) -> Header:
    counts = {}
    for table in TABLES:
        question = select(func.count()).select_from(table).where(_part(table, realm))
        counts[table.name] = (connection.execute(question)).scalar_one()
    return Header(
        hailuo_ledger=FORMAT_VERSION,
        revision=REVISIONS[-1],
        realm=realm,
        exported_at=datetime.now(timezone.utc),
        rows=counts,
    )


def _part(table: Table, realm: Realm) -> ColumnElement[bool]:
    """A realm's rows of a table."""
    if "realm" in table.c:
        return table.c.realm == realm
    if "key" in table.c:
        return table.c.key.in_(select(attempt.c.key).where(attempt.c.realm == realm))
    return true()


def _rows(connection: Connection, table: Table, realm: Realm) -> Iterator[Row]:
    question = select(table).where(_part(table, realm)).order_by(*table.primary_key)
    found = connection.execute(question.execution_options(yield_per=ROWS_AT_ONCE))
    for row in found.mappings():
        yield {
            name: str(value) if isinstance(value, Decimal) else value for name, value in row.items()
        }


def _parsed(lines: Iterable[str], realm: Realm) -> tuple[Header, list[tuple[Table, Row]]]:
    numbered = iter(enumerate(lines, start=1))
    header = _parse_header(next(numbered, (1, ""))[1], realm)
    return header, [_parse_row(line, number) for number, line in numbered if line.strip()]


def _parse_header(line: str, realm: Realm) -> Header:
    try:
        header = Header.model_validate_json(line)
    except ValidationError:
        raise _no_export("its first line is no header of one") from None
    if header.hailuo_ledger > FORMAT_VERSION or header.revision not in REVISIONS:
        raise ConfigurationError(
            f"The export is of a newer release (revision {header.revision}).",
            cure="Upgrade prefect-hailuo here: pip install -U prefect-hailuo.",
        )
    if header.realm != realm:
        raise ConfigurationError(
            f"The export is of the realm {header.realm!r}, and this ledger of {realm!r}.",
            cure=f"Import it with --realm {header.realm}.",
        )
    return header


def _parse_row(line: str, number: int) -> tuple[Table, Row]:
    try:
        record = json.loads(line)
        (table,) = (each for each in TABLES if each.name == record["table"])
        return table, {name: _value(table, name, given) for name, given in record["row"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
        raise _no_export(f"line {number} is no row of a ledger") from None


def _value(table: Table, name: str, given: Any) -> Any:
    money = isinstance(table.c[name].type, Usd)
    return Decimal(given) if money and given is not None else given


def _check_whole(header: Header, rows: list[tuple[Table, Row]]) -> None:
    names = [table.name for table, _ in rows]
    counts = {table.name: names.count(table.name) for table in TABLES}
    if any(counts[name] != count for name, count in header.rows.items() if name in counts):
        raise _no_export(f"it is not whole: {sum(header.rows.values())} rows, {len(rows)} are here")


def _no_export(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"This is no export of a ledger: {why}.",
        cure="Write one with: prefect-hailuo ledger export FILE. Nothing was imported.",
    )


def _add(connection: Connection, table: Table, row: Row) -> bool:
    """Add a row, if the ledger has it not."""
    if table in NOT_MERGED:
        return False
    if table is attempt:
        return _add_attempt(connection, row)
    if table is generation:
        # Whether another purchase was allowed is the living ledger's business.
        row = {**row, "consented": 0, "attempts": 0}
    added = connection.execute(insert_once(connection, table).values(row))
    return bool(added.rowcount)


def _add_attempt(connection: Connection, row: Row) -> bool:
    lock_key(connection, row["key"])
    found = connection.execute(select(attempt).where(attempt.c.key == row["key"]))
    here = found.mappings().all()
    if _has_request(connection, row) or any(_is_same(each, row) for each in here):
        return False
    if any(each["number"] == row["number"] for each in here):
        number = max(each["number"] for each in here) + 1
        row = {**row, "number": number, "duplicate": True}
    if row["fate"] in (Fate.INTENDED, Fate.SENDING):
        row = {**row, "fate": Fate.AMBIGUOUS, "owner": None, "lease_until": 0.0}
    connection.execute(attempt.insert().values(row))
    return True


def _has_request(connection: Connection, row: Row) -> bool:
    asked = row["request_id"]
    return asked is not None and bool(owned_requests(connection, row["realm"], [asked]))


def _is_same(here: Mapping[Any, Any], row: Row) -> bool:
    """Whether two rows are of one attempt, which may have gone on since it was exported."""
    same_request = here["number"] == row["number"] or here["request_id"] == row["request_id"]
    return bool(here["intended_at"] == row["intended_at"] and same_request)


def _recount(connection: Connection, keys: Iterable[str]) -> None:
    """Let the next attempt of each key have a number of its own."""
    highest = (
        select(func.coalesce(func.max(attempt.c.number), 0))
        .where(attempt.c.key == generation.c.key)
        .scalar_subquery()
    )
    for key in keys:
        connection.execute(
            update(generation)
            .where(generation.c.key == key, generation.c.attempts < highest)
            .values(attempts=highest)
        )


DAY_SECONDS = 86_400.0

REDACTED = "(redacted)"


@dataclass(frozen=True)
class Pruned:
    """What was dropped, in rows; or would be.

    Args:
        attempts: Attempts that cost nothing.
        generations: Keys without any attempt left.
        waiters: Calls that ended.
        cancelled_runs: Cancelled flow runs.
        redacted: Attempts whose prompts were removed.
    """

    attempts: int = 0
    generations: int = 0
    waiters: int = 0
    cancelled_runs: int = 0
    redacted: int = 0


class Pruning(Part):
    """Makes a ledger smaller, and removes prompts where that is wanted."""

    @writes
    def prune(
        self,
        connection: Connection,
        realm: Realm,
        older_than_days: float,
        *,
        redact: bool = False,
        dry_run: bool = False,
    ) -> Pruned:
        """Delete what can no longer matter, in one transaction.

        Args:
            realm: Of this realm.
            older_than_days: What ended so long ago.
            redact: Whether to remove prompts, labels and errors' words of what ended.
            dry_run: Whether to change nothing, and only say what would be.
        """
        if connection.dialect.name == "sqlite":
            # Or what is deleted stays readable in the file.
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        with connection.begin_nested() as savepoint:
            before = now_in(connection) - older_than_days * DAY_SECONDS
            redacted = _redact(connection, realm, before) if redact else 0
            pruned = Pruned(
                attempts=_drop(connection, attempt, *_worthless(realm, before)),
                generations=_drop(connection, generation, *_empty(before)),
                waiters=_drop(connection, waiter, *_gone(realm, before)),
                cancelled_runs=_drop(connection, cancelled_run, *_heeded(before)),
                redacted=redacted,
            )
            if dry_run:
                savepoint.rollback()
        return pruned


def _drop(connection: Connection, table: Table, *which: ColumnElement[bool]) -> int:
    return (connection.execute(delete(table).where(*which))).rowcount


def _ended_at() -> ColumnElement[float]:
    return func.coalesce(attempt.c.ended_at, attempt.c.submitted_at, attempt.c.intended_at)


def _worthless(realm: Realm, before: float) -> list[ColumnElement[bool]]:
    """Attempts that ended and cost nothing, but for those that stop a key from being tried more."""
    accepted = attempt.alias()
    tried_enough = (
        select(accepted.c.key)
        .where(accepted.c.request_id.is_not(None), accepted.c.duplicate.is_(False))
        .group_by(accepted.c.key)
        .having(func.count() >= MOST_ATTEMPTS)
    )
    return [
        attempt.c.realm == realm,
        attempt.c.billed == Billed.NO,
        attempt.c.fate.in_([Fate.FAILED, Fate.CANCELLED, Fate.FORGOTTEN]),
        or_(attempt.c.cost_usd == 0, attempt.c.cost_usd.is_(None)),
        _ended_at() < before,
        attempt.c.key.not_in(tried_enough),
    ]


def _empty(before: float) -> list[ColumnElement[bool]]:
    return [
        generation.c.created_at < before,
        ~exists().where(attempt.c.key == generation.c.key),
        ~exists().where(file.c.key == generation.c.key),
    ]


def _gone(realm: Realm, before: float) -> list[ColumnElement[bool]]:
    """Waiters that ended, except those of open attempts, however old they are."""
    open_keys = select(attempt.c.key).where(attempt.c.realm == realm, _is_open())
    return [
        waiter.c.realm == realm,
        waiter.c.lease_until < before,
        waiter.c.key.not_in(open_keys),
    ]


def _heeded(before: float) -> list[ColumnElement[bool]]:
    """Cancelled flow runs for which no waiter is left."""
    of_run = or_(
        waiter.c.flow_run_id == cancelled_run.c.flow_run_id,
        waiter.c.root_flow_run_id == cancelled_run.c.flow_run_id,
    )
    return [cancelled_run.c.cancelled_at < before, ~exists().where(of_run)]


def _is_open() -> ColumnElement[bool]:
    """Attempts that go on, that wait for a decision, or whose video may yet be collected."""
    on_its_way = [Fate.INTENDED, Fate.SENDING, Fate.SUBMITTED, Fate.SUCCEEDED, Fate.AMBIGUOUS]
    uncertain = or_(attempt.c.billed.is_(None), attempt.c.billed != Billed.NO)
    return or_(attempt.c.fate.in_(on_its_way), and_(attempt.c.fate == Fate.CANCELLED, uncertain))


def _redact(connection: Connection, realm: Realm, before: float) -> int:
    """Remove what was asked for from what ended; digests, money and places stay."""
    question: Select[Any] = select(attempt).where(
        attempt.c.realm == realm, ~_is_open(), _ended_at() < before, attempt.c.body.is_not(None)
    )
    rows = (connection.execute(question)).mappings().all()
    ended = [one for one in map(attempt_of, rows) if not is_parked(one)]
    for one in ended:
        connection.execute(update(attempt).where(is_attempt(one)).values(_redacted(one)))
    for key in sorted({one.key for one in ended}):
        _redact_files(connection, key)
    return len(ended)


def _redacted(one: Attempt) -> dict[str, Any]:
    values: dict[str, Any] = {"body": None, "labels": {}}
    if one.ticket is not None:
        bare = one.ticket.model_copy(update={"input": None, "labels": {}})
        values["ticket"] = bare.model_dump(mode="json")
    if one.completed is not None:
        quiet = one.completed.model_copy(update={"error": one.completed.error and REDACTED})
        values["completed"] = quiet.model_dump(mode="json")
    if one.error is not None:
        # fal's complaints quote the input.
        values["error"] = {**one.error, "message": REDACTED, "cure": "", "problems": []}
    return values


def _redact_files(connection: Connection, key: str) -> None:
    found = connection.execute(select(file.c.place, file.c.video).where(file.c.key == key))
    for place, video in found.all():
        connection.execute(
            update(file)
            .where(file.c.key == key, file.c.place == place)
            .values(video={**video, "input": None, "labels": {}})
        )
