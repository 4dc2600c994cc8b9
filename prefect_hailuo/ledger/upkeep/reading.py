"""The ledger for people and sweeps to read: lists, the history of one key, unfinished attempts."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, update

from prefect_hailuo.errors import Billed, ConfigurationError
from prefect_hailuo.ledger.attempt import (
    DECIDABLE,
    PARKED_ERROR,
    Attempt,
    Fate,
    KeyState,
    attempt_of,
    latest_of,
    may_replace,
    was_cancelled,
)
from prefect_hailuo.ledger.database import Part, reads, writes
from prefect_hailuo.ledger.tables import (
    as_void,
    attempt,
    attempts_of,
    database_now,
    file,
    generation,
    lock_keys,
    now_in,
    waiter,
)
from prefect_hailuo.models.video import Video
from prefect_hailuo.ticket import Realm

SHOWN_MATCHES = 5


@dataclass(frozen=True)
class Choice:
    """Which attempts are asked for.

    Args:
        realm: Of this realm.
        fates: Of one of these fates; empty: of any.
        parked: Only attempts that wait for a person's decision.
        scope: On this scope's budget; None: on any.
        endpoint: Of this endpoint, by fal's id; None: of any.
        limit: So many at most, the newest first.
    """

    realm: Realm
    fates: Collection[Fate] = ()
    parked: bool = False
    scope: str | None = None
    endpoint: str | None = None
    limit: int = 50


@dataclass(frozen=True)
class Waiter:
    """A call that waits for a key, or waited.

    Args:
        id: Its name in the ledger.
        flow_run_id: The flow run that it was made in.
        root_flow_run_id: The flow run that its process was started for.
        lease_until: Until when it counts as alive; all times in seconds since 1970.
        started_at: When it began to wait.
        ended_at: When it had its video.
        cancelled_at: When its flow run was cancelled.
    """

    id: str
    flow_run_id: str | None
    root_flow_run_id: str | None
    lease_until: float
    started_at: float
    ended_at: float | None
    cancelled_at: float | None


@dataclass(frozen=True)
class Entry:
    """An attempt in a list.

    Args:
        attempt: The attempt.
        cancelled_by: The flow runs that cancelled it, if it was cancelled.
    """

    attempt: Attempt
    cancelled_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Story:
    """Everything that the ledger knows of one key.

    Args:
        key: The generation's key.
        created_at: When it was first asked for.
        consented: How many attempts there were when one more purchase was allowed; 0 for none.
        attempts: Its attempts, the oldest first.
        waiters: The calls that waited for it, the oldest first.
        files: What it is stored as, one video a place.
    """

    key: str
    created_at: float
    consented: int
    attempts: tuple[Attempt, ...]
    waiters: tuple[Waiter, ...]
    files: tuple[Video, ...]

    @property
    def latest(self) -> Attempt | None:
        """The attempt that decides what a rerun does."""
        return latest_of(self.attempts)

    @property
    def may_be_replaced(self) -> bool:
        """Whether somebody allowed one more purchase, and it was not made yet."""
        return may_replace(self.attempts, self.consented)

    @property
    def cancelled_by(self) -> tuple[str, ...]:
        """The flow runs that were cancelled while they waited."""
        return _cancellers(self.waiters)


class Reading(Part):
    """Answers people's questions; it changes nothing."""

    @reads
    def entries(self, connection: Connection, choice: Choice) -> list[Entry]:
        """The attempts that were chosen, the newest first."""
        question = (
            select(attempt)
            .where(*_conditions(choice))
            .order_by(attempt.c.intended_at.desc(), attempt.c.key, attempt.c.number.desc())
            .limit(choice.limit)
        )
        found = [attempt_of(row) for row in (connection.execute(question)).mappings()]
        keys = {one.key for one in found if was_cancelled(one)}
        waiters = {key: _waiters_of(connection, key) for key in keys}
        return [Entry(one, _cancellers(waiters.get(one.key, ()))) for one in found]

    @reads
    def key_of(self, connection: Connection, realm: Realm, prefix: str) -> str:
        """The key that begins so.

        Raises:
            ConfigurationError: No key does, or several do.
        """
        start = prefix.strip().lower()
        if not re.fullmatch(r"[0-9a-f]{1,64}", start):
            raise ConfigurationError(f"{prefix!r} is no key, nor the beginning of one.", cure=LIST)
        question = (
            select(attempt.c.key)
            .where(attempt.c.realm == realm, attempt.c.key.startswith(start))
            .distinct()
            .order_by(attempt.c.key)
            .limit(SHOWN_MATCHES + 1)
        )
        found = list((connection.execute(question)).scalars())
        return _only(found, start, realm)

    @reads
    def story(self, connection: Connection, key: str) -> Story:
        """Everything about a key.

        Raises:
            ConfigurationError: The ledger does not know it.
        """
        found = connection.execute(select(generation).where(generation.c.key == key))
        row = found.mappings().first()
        if row is None:
            raise _unknown(key)
        return Story(
            key=key,
            created_at=row["created_at"],
            consented=row["consented"],
            attempts=tuple(attempts_of(connection, key)),
            waiters=_waiters_of(connection, key),
            files=_files_of(connection, key),
        )

    @reads
    def states(self, connection: Connection, keys: Collection[str]) -> dict[str, KeyState]:
        """The state of some keys, as a call that wants one of them now would find it."""
        now = now_in(connection)
        return {key: _state_of(connection, key, now) for key in keys}


LIST = "See all attempts: prefect-hailuo ledger list"


def _parked() -> ColumnElement[bool]:
    """`is_parked`, asked of the database."""
    billed = or_(attempt.c.billed.is_(None), attempt.c.billed != Billed.NO)
    closed = attempt.c.error["kind"].as_string() == PARKED_ERROR
    return or_(
        and_(attempt.c.parked_at.is_not(None), attempt.c.fate.in_(DECIDABLE), billed),
        and_(attempt.c.fate == Fate.FAILED, closed),
    )


def _conditions(choice: Choice) -> list[ColumnElement[bool]]:
    conditions = [attempt.c.realm == choice.realm]
    if choice.fates:
        conditions.append(attempt.c.fate.in_(list(choice.fates)))
    if choice.parked:
        conditions.append(_parked())
    if choice.scope is not None:
        conditions.append(attempt.c.scope == choice.scope)
    if choice.endpoint is not None:
        conditions.append(attempt.c.endpoint == choice.endpoint)
    return conditions


def _only(found: Sequence[str], start: str, realm: Realm) -> str:
    exact = [key for key in found if key == start]
    if len(found) == 1 or exact:
        return (exact or list(found))[0]
    if not found:
        other = "fal" if realm == "emulator" else "emulator"
        raise ConfigurationError(
            f"The ledger of the realm {realm!r} knows no key that begins with {start!r}.",
            cure=f"{LIST} (with --realm {other} for the other realm's).",
        )
    listed = ", ".join(key[: max(12, len(start) + 4)] for key in found[:SHOWN_MATCHES])
    more = ", …" if len(found) > SHOWN_MATCHES else ""
    raise ConfigurationError(
        f"Several keys begin with {start!r}: {listed}{more}.", cure="Write out more of it."
    )


def _unknown(key: str) -> ConfigurationError:
    return ConfigurationError(f"The ledger does not know the key {key!r}.", cure=LIST)


def _cancellers(waiters: Sequence[Waiter]) -> tuple[str, ...]:
    runs = (each.flow_run_id for each in waiters if each.cancelled_at is not None)
    return tuple(dict.fromkeys(run for run in runs if run))


def _waiters_of(connection: Connection, key: str) -> tuple[Waiter, ...]:
    columns = [waiter.c[name] for name in Waiter.__dataclass_fields__]
    question: Select[tuple[object, ...]] = (
        select(*columns).where(waiter.c.key == key).order_by(waiter.c.started_at)
    )
    rows = (connection.execute(question)).mappings()
    return tuple(Waiter(**row) for row in rows)


def _files_of(connection: Connection, key: str) -> tuple[Video, ...]:
    question = select(file.c.video).where(file.c.key == key).order_by(file.c.stored_at)
    return tuple(Video.model_validate(each) for each in (connection.execute(question)).scalars())


def _state_of(connection: Connection, key: str, now: float) -> KeyState:
    attempts = attempts_of(connection, key)
    latest = latest_of(attempts)
    if latest is None:
        return KeyState(None, consented=False, alive=False)
    found = connection.execute(select(generation.c.consented).where(generation.c.key == key))
    consented = may_replace(attempts, found.scalar() or 0)
    return KeyState(latest, consented, alive=latest.lease_until > now)


UNFINISHED = (Fate.SUBMITTED, Fate.SUCCEEDED, Fate.AMBIGUOUS)


class Unfinished(Part):
    """Finds what was begun and not ended."""

    @writes
    def lapse(self, connection: Connection, realm: Realm) -> list[Attempt]:
        """End the leases of dead owners, as the next claim would: it buys nothing.

        Returns:
            The intents that are void now, whose money is released; what was on its way is
            ambiguous now.
        """
        dead = (attempt.c.realm == realm) & (attempt.c.lease_until <= database_now())
        open_ended = attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING])
        found = connection.execute(select(attempt.c.key).where(dead, open_ended))
        # As a claim would: who changes many attempts locks their keys first, in their order.
        lock_keys(connection, set(found.scalars()))
        voided = connection.execute(
            update(attempt)
            .where(dead, attempt.c.fate == Fate.INTENDED)
            .values(as_void())
            .returning(attempt)
        )
        connection.execute(
            update(attempt).where(dead, attempt.c.fate == Fate.SENDING).values(fate=Fate.AMBIGUOUS)
        )
        return [attempt_of(row) for row in voided.mappings()]

    @reads
    def attempts(self, connection: Connection, realm: Realm) -> list[Attempt]:
        """The attempts that are at fal, done and not stored, or of unknown fate or cost.

        The oldest come first.
        """
        uncosted = (attempt.c.fate == Fate.CANCELLED) & (attempt.c.billed == Billed.UNKNOWN)
        found = connection.execute(
            select(attempt)
            .where(attempt.c.realm == realm, attempt.c.fate.in_(UNFINISHED) | uncosted)
            .order_by(attempt.c.intended_at)
        )
        return [attempt_of(row) for row in found.mappings()]
