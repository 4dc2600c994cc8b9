"""Export and import: the ledger written as lines of JSON, and merged into another ledger.

An export holds what the tables hold, and no key or password. A merge loses no purchase.
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
    Table,
    func,
    select,
    true,
    update,
)

from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.ledger.attempt import Fate
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
    lock_key,
    origin,
    owned_requests,
    stray,
    waiter,
)
from prefect_hailuo.ticket import Realm

FORMAT_VERSION = 1

TABLES = (generation, attempt, file, waiter, cancelled_run, budget, history, origin, stray)
"""In the order in which they can be filled."""

NOT_MERGED = (history, origin)
"""These are not merged: a ledger knows itself when it began, and whose history it accounts for. The
export lacks what was bought since."""

ROWS_AT_ONCE = 1_000
"""How many rows are in memory at once when a table is exported."""

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
