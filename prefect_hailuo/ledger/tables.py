"""The ledger's tables, and the statements that more than one of its modules uses.

**Locks.** A transaction that locks several keys does so in one statement and in the keys' order, so
that no two transactions lock each other out: first all keys, then attempts and waiters, then the
budgets of scopes.

**Prepared statements.** `prepared` makes a statement once for each kind of database. To make one,
and to find out that it is the same as before, takes SQLAlchemy three times as long as SQLite takes
to run it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    any_,
    bindparam,
    collate,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TableValuedAlias

from prefect_hailuo.errors import Billed
from prefect_hailuo.fal.messages import File, Output
from prefect_hailuo.ledger.attempt import (
    NEVER_SENT,
    Attempt,
    Fate,
    Purchase,
    attempt_of,
    describe,
    latest_of,
)
from prefect_hailuo.models.video import Video, ticket_of
from prefect_hailuo.ticket import Realm, Ticket

MICRODOLLARS = Decimal(1_000_000)

VERSION_TABLE = "hailuo_alembic_version"


class Usd(TypeDecorator[Decimal]):
    """US dollars, kept as whole millionths: SQLite has no decimals, and sums must be exact."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Dollars to millionths."""
        return None if value is None else int((value * MICRODOLLARS).to_integral_value())

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Millionths to dollars, without trailing zeros."""
        return None if value is None else Decimal(int(value)) / MICRODOLLARS


class database_now(FunctionElement[float]):  # noqa: N801 - written like the SQL function it is
    """The database's clock, in seconds since 1970: the one clock that all workers share."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(*_: Any, **__: Any) -> str:
    # Not now(), which stands still while a transaction waits for a lock.
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


Document = JSON(none_as_null=True)

metadata = MetaData()

generation = Table(
    "hailuo_generation",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("attempts", Integer, nullable=False),
    # How many attempts there were when one more purchase was allowed; 0 for no consent.
    Column("consented", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
)

attempt = Table(
    "hailuo_attempt",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("realm", String(16), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("credentials", Text),
    Column("place", Text),
    Column("scope", Text, nullable=False),
    Column("take", Text, nullable=False),
    Column("body", Document),
    Column("body_digest", String(64), nullable=False),
    Column("labels", Document, nullable=False),
    Column("fate", String(16), nullable=False),
    Column("billed", String(8)),
    Column("owner", String(32)),
    Column("lease_until", Double, nullable=False),
    Column("intended_at", Double, nullable=False),
    Column("sent_at", Double),
    Column("submitted_at", Double),
    Column("ended_at", Double),
    Column("request_id", Text),
    Column("ticket", Document),
    Column("completed", Document),
    Column("output", Document),
    Column("error", Document),
    Column("parked_at", Double),
    Column("parked_because", Text),
    Column("cancel_answer", String(32)),
    Column("estimated_usd", Usd),
    Column("cost_usd", Usd),
    Column("cost_basis", String(16)),
    Column("duplicate", Boolean, nullable=False),
    Column("adopted", Boolean, nullable=False),
    ForeignKeyConstraint(["key"], ["hailuo_generation.key"]),
    # One request is never given to two attempts.
    UniqueConstraint("realm", "request_id", name="hailuo_attempt_request"),
    Index("hailuo_attempt_fate", "realm", "fate"),
    Index("hailuo_attempt_body", "realm", "body_digest"),
    Index("hailuo_attempt_scope", "realm", "scope", "intended_at"),
)

file = Table(
    "hailuo_file",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("place", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("video", Document, nullable=False),
    Column("stored_at", Double, nullable=False),
    ForeignKeyConstraint(["key"], ["hailuo_generation.key"]),
)

waiter = Table(
    "hailuo_waiter",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("realm", String(16), nullable=False),
    Column("flow_run_id", String(36)),
    Column("root_flow_run_id", String(36)),
    Column("lease_until", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("cancelled_at", Double),
    Index("hailuo_waiter_key", "key"),
    Index("hailuo_waiter_flow_run", "flow_run_id"),
    Index("hailuo_waiter_root_flow_run", "root_flow_run_id"),
)

cancelled_run = Table(
    "hailuo_cancelled_run",
    metadata,
    Column("flow_run_id", String(36), primary_key=True),
    Column("cancelled_at", Double, nullable=False),
)

budget = Table(
    "hailuo_budget",
    metadata,
    Column("realm", String(16), primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("per_day_usd", Usd),
    Column("per_month_usd", Usd),
    Column("total_usd", Usd),
    Column("set_at", Double, nullable=False),
)

history = Table(
    # Whose request history is accounted for: by an import, or because somebody said so.
    "hailuo_history",
    metadata,
    Column("realm", String(16), primary_key=True),
    Column("account", Text, primary_key=True),
    Column("read_at", Double, nullable=False),
)

stray = Table(
    # Requests of an account's history that no attempt has; see `tail`.
    "hailuo_stray",
    metadata,
    Column("realm", String(16), primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("body_digest", String(64)),
    Column("has_more", Boolean, nullable=False),
    Column("sent_at", Double, nullable=False),
    Index("hailuo_stray_body", "body_digest"),
)

origin = Table(
    # When this ledger began: what an account bought before, only fal's history knows.
    "hailuo_origin",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("began_at", Double, nullable=False),
)


@dataclass(frozen=True)
class Texts:
    """Some texts as one parameter of a statement: there may be many, and any number of them.

    Args:
        postgresql: Which of the two databases it is for.
        name: The parameter's name.
    """

    postgresql: bool
    name: str = "texts"

    def have(self, column: Column[Any]) -> ColumnElement[bool]:
        """The condition that a column holds one of them."""
        if self.postgresql:
            return column == any_(bindparam(self.name, type_=ARRAY(String)))
        return column.in_(select(self.table().c.value))

    def table(self) -> TableValuedAlias:
        """The texts as a table, with a column `value`."""
        if self.postgresql:
            array = bindparam(self.name, type_=ARRAY(String))
            return func.unnest(array).table_valued("value").render_derived()
        return func.json_each(bindparam(self.name, type_=Text)).table_valued("value")

    def named(self, name: str) -> Texts:
        """Other texts, as another parameter."""
        return Texts(self.postgresql, name)

    def sorting(self, column: Column[str]) -> ColumnElement[str]:
        """What to sort by for Python's own order, whatever a database's language is."""
        return collate(column, "C") if self.postgresql else column

    def insert(self, table: Table) -> Any:
        """An INSERT that may say what to do about a row which is there already."""
        dialect: Any = postgresql if self.postgresql else sqlite
        return dialect.insert(table)

    def given(self, values: Iterable[str]) -> Any:
        """The parameter's value."""
        return list(values) if self.postgresql else json.dumps(list(values))


def texts_for(connection: Connection) -> Texts:
    """Some texts as a parameter for a connection's database."""
    return Texts(connection.dialect.name == "postgresql")


Execute = Callable[..., CursorResult[Any]]


def prepared(make: Callable[[Texts], Any]) -> Execute:
    """A statement to be executed with a connection, some texts, and further parameters by name.

    Args:
        make: Makes the statement.
    """
    made = cache(make)

    def execute(
        connection: Connection, texts: Iterable[str], **more: Iterable[str] | float
    ) -> CursorResult[Any]:
        which = texts_for(connection)
        values = {
            name: each if isinstance(each, float) else which.given(each)
            for name, each in {which.name: texts, **more}.items()
        }
        return connection.execute(made(which), values)

    return execute


UNBILLED = {"billed": Billed.NO, "cost_usd": 0, "cost_basis": "unbilled"}
"""The columns of an attempt that cost nothing: its money is released."""


NEWLY_SUBMITTED: dict[str, Any] = {
    "fate": Fate.SUBMITTED,
    "billed": None,
    "ended_at": None,
    "error": None,
    "parked_at": None,
    "parked_because": None,
    "cost_usd": None,
    "cost_basis": None,
}
"""The columns of an attempt that has just been given a request, whatever they were before."""


def as_accepted(ticket: Ticket) -> dict[str, Any]:
    """The columns of an attempt whose request is known."""
    return {
        **NEWLY_SUBMITTED,
        "request_id": ticket.request_id,
        "ticket": ticket.model_dump(mode="json"),
        "submitted_at": database_now(),
    }


def as_void() -> dict[str, Any]:
    """The columns of an intent whose owner never began to send, and now cannot any more."""
    return {
        **UNBILLED,
        "fate": Fate.FAILED,
        "error": describe(NEVER_SENT),
        "ended_at": database_now(),
    }


def add_like(
    connection: Connection, like: Attempt, ticket: Ticket, *, duplicate: bool, adopted: bool
) -> Attempt:
    """A further attempt of the same key, for a request that is known already."""
    row = {
        **_copied(like),
        **as_accepted(ticket),
        "lease_until": 0.0,
        "duplicate": duplicate,
        "adopted": adopted,
    }
    return add_attempt(connection, row)


def add_attempt(connection: Connection, row: dict[str, Any]) -> Attempt:
    """A further attempt of a key, whose generation's row is locked."""
    changed = connection.execute(
        update(generation)
        .where(generation.c.key == row["key"])
        .values(attempts=generation.c.attempts + 1)
        .returning(generation.c.attempts)
    )
    numbered = {**row, "number": changed.scalar_one()}
    added = connection.execute(insert(attempt).values(numbered).returning(attempt))
    return attempt_of(added.mappings().one())


def attempt_as_written(row: Mapping[str, Any]) -> Attempt:
    """The attempt that will be read from a row which is about to be written."""
    usd = row["estimated_usd"]
    # In whole millionths of a dollar, as the table keeps it.
    read = usd and Decimal(int((usd * MICRODOLLARS).to_integral_value())) / MICRODOLLARS
    return attempt_of({**dict.fromkeys(attempt.c.keys()), **row, "estimated_usd": read})


def _copied(like: Attempt) -> dict[str, Any]:
    names = (
        *("key", "realm", "endpoint", "account", "credentials", "place", "scope", "take"),
        *("body", "body_digest", "labels", "intended_at", "estimated_usd"),
    )
    return {name: getattr(like, name) for name in names}


def from_file(purchase: Purchase, video: Video) -> dict[str, Any]:
    """The row of an attempt, made from a stored video's own record."""
    bought_at = (video.submitted_at or video.stored_at).timestamp()
    return {
        **purchase.asked(),
        "account": video.account or purchase.account,
        "labels": video.labels,
        "fate": Fate.STORED,
        "billed": Billed.YES,
        "intended_at": bought_at,
        "submitted_at": bought_at,
        "ended_at": video.stored_at.timestamp(),
        "lease_until": 0.0,
        "request_id": video.request_id,
        "ticket": ticket_of(video).model_dump(mode="json"),
        "output": Output(video=File(url=video.url)).model_dump(mode="json"),
        "estimated_usd": video.price_usd,
        "cost_usd": video.price_usd,
        "cost_basis": "estimate",
        "duplicate": False,
        "adopted": True,
    }


IS_THIS = (attempt.c.key == bindparam("this_key")) & (attempt.c.number == bindparam("this_number"))
"""The condition that a row is the attempt that `this` names, in statements about many."""


class Counts(NamedTuple):
    """The counts in a generation's row, once it is locked.

    Args:
        attempts: How many attempts there were.
        consented: How many there were when a consent was given, or 0.
    """

    attempts: int
    consented: int


def this(one: Attempt) -> dict[str, Any]:
    """An attempt as the parameters of `IS_THIS`."""
    return {"this_key": one.key, "this_number": one.number}


_NOW = select(database_now())


def now_in(connection: Connection) -> float:
    """The database's time. Ask after the locks are held, because waiting for them takes time."""
    return float((connection.execute(_NOW)).scalar_one())


def lock_key(connection: Connection, key: str) -> None:
    """Lock a generation's row, if there is one."""
    lock_keys(connection, [key])


def lock_keys(connection: Connection, keys: Iterable[str]) -> dict[str, Counts]:
    """Lock the rows of some generations; keys without a row are skipped."""
    found = _locking(connection, keys)
    return {key: Counts(attempts, consented) for key, attempts, consented in found}


@prepared
def _locking(keys: Texts) -> Any:
    return (
        select(generation.c.key, generation.c.attempts, generation.c.consented)
        .where(keys.have(generation.c.key))
        .order_by(keys.sorting(generation.c.key))
        .with_for_update()
    )


def lock_or_make_key(connection: Connection, key: str) -> None:
    """Lock a generation's row, made if need be."""
    make_keys(connection, [key])
    lock_key(connection, key)


def make_keys(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Make the rows of the generations that have none yet; returns the keys that were made."""
    return set((_making(connection, sorted(set(keys)))).scalars())


@prepared
def _making(keys: Texts) -> Any:
    new = keys.table().c.value
    rows = select(new, literal(0), literal(0), database_now()).where(new.is_not(None))
    names = ["key", "attempts", "consented", "created_at"]
    made = keys.insert(generation).on_conflict_do_nothing().from_select(names, rows)
    return made.returning(generation.c.key)


def attempts_of(connection: Connection, key: str) -> list[Attempt]:
    """The attempts of a key in their order."""
    return (attempts_of_keys(connection, [key]))[key]


def attempts_of_keys(
    connection: Connection, keys: Iterable[str]
) -> defaultdict[str, list[Attempt]]:
    """The attempts of each of some keys in their order."""
    found = _attempts(connection, keys)
    attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
    for one in all_attempts(found):
        attempts[one.key].append(one)
    return attempts


@prepared
def _attempts(keys: Texts) -> Any:
    return select(attempt).where(keys.have(attempt.c.key)).order_by(attempt.c.number)


def all_attempts(found: CursorResult[Any]) -> list[Attempt]:
    """The attempts that a result holds the rows of."""
    names = tuple(found.keys())
    return [attempt_of(dict(zip(names, row, strict=True))) for row in found]


def latest_attempt(connection: Connection, key: str) -> Attempt | None:
    """The attempt of a key that counts: see `latest_of`."""
    return latest_of(attempts_of(connection, key))


def owned_requests(connection: Connection, realm: Realm, request_ids: Collection[str]) -> set[str]:
    """The requests among some that belong to attempts: one request is never given to two."""
    found = connection.execute(
        select(attempt.c.request_id).where(
            attempt.c.realm == realm, among(connection, attempt.c.request_id, request_ids)
        )
    )
    return set(found.scalars())


def void_consent(connection: Connection, found: Attempt) -> None:
    """A request has turned up: a consent that was given because it was missing is void."""
    connection.execute(
        update(generation)
        # Also if the attempt that replaces it is there: that one may still fail at no cost.
        .where(generation.c.key == found.key, generation.c.consented >= found.number)
        .values(consented=0)
    )


def adopt_request(connection: Connection, one: Attempt, ticket: Ticket) -> Attempt | None:
    """Give an attempt a request that was found; None where it has one already."""
    changed = connection.execute(
        update(attempt)
        .where(is_attempt(one), attempt.c.request_id.is_(None))
        .values({**as_accepted(ticket), "adopted": True})
        .returning(attempt)
    )
    row = changed.mappings().first()
    if row is None:
        return None
    void_consent(connection, one)
    return attempt_of(row)


def void_consents(
    connection: Connection, found: Iterable[Attempt], locked: dict[str, Counts]
) -> None:
    """The same for many whose keys are locked; hardly any has a consent."""
    for one in found:
        if one.key in locked and locked[one.key].consented >= one.number:
            void_consent(connection, one)


def is_attempt(one: Attempt) -> ColumnElement[bool]:
    """The condition that a row is this attempt's."""
    return (attempt.c.key == one.key) & (attempt.c.number == one.number)


def insert_once(connection: Connection, table: Table) -> Any:
    """An INSERT that leaves a row alone that is there already."""
    return texts_for(connection).insert(table).on_conflict_do_nothing()


def among(
    connection: Connection, column: Column[Any], values: Iterable[str]
) -> ColumnElement[bool]:
    """The condition that a column holds one of some texts, for a statement that is seldom made."""
    texts = texts_for(connection)
    return texts.have(column).unique_params({texts.name: texts.given(values)})


def is_one_of(column: Column[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """The condition that a column holds one of a few values, also where many rows are changed.

    SQLAlchemy's own `in_` cannot be executed with many parameters.
    """
    return or_(*(column == value for value in values))
