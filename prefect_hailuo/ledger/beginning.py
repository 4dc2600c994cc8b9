"""What the account bought before this ledger began, which only fal's history knows.

Before the first purchase of each key, the ledger looks there: until the account's history has been
imported, or a person said that it need not be, or fal has forgotten that time.

After an import, the ledger looks among the imported requests instead. fal does not know which take
a request was, so an import enters all of them under the ordinary take. Until a person says so, any
of them may be what another take's call has bought.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import anyio
from sqlalchemy import Connection, RowMapping, and_, delete, select, update

from prefect_hailuo.clock import Deadline
from prefect_hailuo.errors import (
    BadKeyError,
    Billed,
    FalError,
    GenerationTimeoutError,
    HailuoError,
    NoCreditError,
    ParkedError,
    RealmMismatchError,
)
from prefect_hailuo.fal.platform import PastRequest, PlatformClient
from prefect_hailuo.ledger.attempt import (
    RECONCILE_SECONDS,
    Attempt,
    Fate,
    Purchase,
    Rerun,
    attempt_of,
    describe,
    moment,
)
from prefect_hailuo.ledger.database import Answers, Database, Part, reads_together, writes
from prefect_hailuo.ledger.search import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Window,
    likeness_of,
    ticket_of,
    window_of,
)
from prefect_hailuo.ledger.tables import (
    add_attempt,
    adopt_request,
    among,
    attempt,
    attempts_of,
    attempts_of_keys,
    database_now,
    history,
    insert_once,
    is_attempt,
    latest_attempt,
    lock_key,
    lock_or_make_key,
    now_in,
    origin,
    owned_requests,
    void_consent,
)
from prefect_hailuo.ledger.tail import (
    HISTORY_DAYS,
    NEVER,
    Stray,
    Tail,
    forget_strays,
    on_our_clock,
    strays_like,
)
from prefect_hailuo.models.key import shown_key
from prefect_hailuo.ticket import Realm

WHOLE_SECONDS = timedelta(seconds=1)
"""How precisely fal's clock is known: its `Date` header has whole seconds."""

LATELY = timedelta(days=1)
"""An account that was used so shortly before the ledger began may have bought right before it."""


@dataclass(frozen=True)
class Reading:
    """What one look at an endpoint's history gave.

    Args:
        number: Readings are numbered as they begin.
        age: How old the ledger was then, in seconds.
        requests: Those from before the ledger began, by the database's clock, and perhaps some
            from its first second; by the digests of their bodies.
        lately: Whether one of them is from the last day before.
        unread: Why it could not be read; None if it was.
    """

    number: int
    age: float
    requests: Mapping[str | None, Sequence[PastRequest]] = field(default_factory=dict)
    lately: bool = False
    unread: FalError | GenerationTimeoutError | None = None

    def serves(self, asked: int, seconds: float) -> bool:
        """Whether a caller that asked before reading number `asked` need not read again.

        A reading is complete once the ledger is older than the history may lag.
        """
        return self.number >= asked or (self.unread is None and self.age >= seconds)


class Earlier:
    """Finds requests from before the ledger began, for many calls at once.

    Args:
        database: The ledger's.
        tail: Reads what was sent since the ledger's newest row, of which a reading here has all.
    """

    def __init__(self, database: Database, tail: Tail) -> None:
        self._database = database
        self._tail = tail
        self._next = 0
        self._readings: dict[tuple[str, str], Reading] = {}
        self._locks: defaultdict[tuple[str, str], anyio.Lock] = defaultdict(anyio.Lock)

    async def equal_to(
        self, purchase: Purchase, began_at: float, platform: PlatformClient, seconds: float
    ) -> list[PastRequest]:
        """The requests with a purchase's body.

        The history may lag: where the account was at work shortly before, it is looked at again
        until the ledger is old enough for all of it to be listed.

        Args:
            purchase: What is about to be bought.
            began_at: When the ledger began.
            platform: fal's platform API, with the key of the account that would pay.
            seconds: How far the history may lag.

        Raises:
            FalError: fal's history could not be read.
            GenerationTimeoutError: Not in time.
        """
        reading = await self._read(purchase, began_at, platform, seconds)
        deadline = Deadline(min(seconds, seconds - reading.age), platform.clock)
        pause = FIRST_PAUSE_SECONDS
        while not (equal := _equal(purchase, reading)) and reading.lately and not deadline.passed:
            await deadline.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
            reading = await self._read(purchase, began_at, platform, seconds)
        return equal

    async def _read(
        self, purchase: Purchase, began_at: float, platform: PlatformClient, seconds: float
    ) -> Reading:
        """A reading of the endpoint's history, shared by all who wait for one."""
        which, asked = (purchase.account, purchase.endpoint), self._next
        async with self._locks[which]:
            reading = self._readings.get(which)
            if reading is None or not reading.serves(asked, seconds):
                reading = await self._ask(purchase, began_at, platform)
                self._readings[which] = reading
        if reading.unread is not None:
            raise _unread(reading.unread)
        return reading

    async def _ask(self, purchase: Purchase, began_at: float, platform: PlatformClient) -> Reading:
        number, self._next = self._next, self._next + 1
        began = moment(began_at)
        age = await self._database.read(now_in) - began_at
        try:
            past = await platform.history(purchase.endpoint, began - timedelta(days=HISTORY_DAYS))
        except (FalError, GenerationTimeoutError) as error:
            return Reading(number, age, unread=error)
        ahead = past.fal_now - moment(await self._database.read(now_in))
        sent = [on_our_clock(each, ahead) for each in past.requests]
        if not self._tail.is_read(purchase):
            await self._tail.enter(purchase, sent)
        requests: defaultdict[str | None, list[PastRequest]] = defaultdict(list)
        for each in sent:
            if each.sent_at <= began + WHOLE_SECONDS:
                requests[likeness_of(each).digest].append(each)
        lately = any(began - LATELY <= each.sent_at <= began for each in sent)
        return Reading(number, age, dict(requests), lately)


def _equal(purchase: Purchase, reading: Reading) -> list[PastRequest]:
    return list(reading.requests.get(purchase.body_digest, ()))


def _unread(why: FalError | GenerationTimeoutError) -> HailuoError:
    """The same error for each caller: every purchase would meet it."""
    mend = why.cure if isinstance(why, BadKeyError | NoCreditError) else "Try again later"
    error = type(why)(
        "This ledger is new, so what the account bought before is looked for in fal's history, "
        f"which could not be read: {why.message} Nothing was bought.",
        cure=f"{mend.rstrip('.')}; or import the history once, which may take longer: "
        "prefect-hailuo ledger import; or, if nothing was bought before: prefect-hailuo ledger "
        "import --skip.",
        billed=Billed.NO,
        retryable=not isinstance(why, BadKeyError | NoCreditError | RealmMismatchError),
    )
    error.concerns_all = True
    return error


ORDINARY_TAKE = "0"

IMPORTED = and_(
    attempt.c.adopted,
    attempt.c.take == ORDINARY_TAKE,
    # All three are fal's own `sent_at`; what this ledger sent or found itself has its own times.
    attempt.c.intended_at == attempt.c.sent_at,
    attempt.c.intended_at == attempt.c.submitted_at,
)
"""The condition that a row was entered by an import."""

ASKED_FOR = (attempt.c.realm, attempt.c.account, attempt.c.endpoint, attempt.c.body_digest)
"""The columns that say what was asked for, without the take."""

MOVED = (
    *("fate", "billed", "intended_at", "sent_at", "submitted_at", "ended_at", "request_id"),
    *("completed", "output", "error", "parked_at", "parked_because", "cancel_answer"),
    *("estimated_usd", "cost_usd", "cost_basis"),
)

BEST_FIRST = (Fate.STORED, Fate.SUCCEEDED, Fate.SUBMITTED)


def imported_like(connection: Connection, purchases: Sequence[Purchase]) -> list[dict[str, float]]:
    """The imported requests that each purchase may have made under another take.

    Returns:
        For each purchase, when each such request was sent, by its id.
    """
    like: defaultdict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    digests = {purchase.body_digest for purchase in purchases if purchase.take != ORDINARY_TAKE}
    if not digests:
        return [{} for _ in purchases]
    found = connection.execute(
        select(*ASKED_FOR, attempt.c.request_id, attempt.c.intended_at).where(
            IMPORTED,
            attempt.c.realm.in_(sorted({purchase.realm for purchase in purchases})),
            among(connection, attempt.c.body_digest, digests),
            attempt.c.billed.is_distinct_from(Billed.NO),
        )
    )
    for *asked_for, request_id, sent_at in found:
        like[tuple(asked_for)][request_id] = sent_at
    return [
        like[purchase.realm, purchase.account, purchase.endpoint, purchase.body_digest]
        if purchase.take != ORDINARY_TAKE
        else {}
        for purchase in purchases
    ]


async def move_imported(database: Database, one: Attempt, request_id: str) -> Attempt | None:
    """Give an attempt without a request one that an import entered under the ordinary take.

    Args:
        database: The ledger's.
        one: The latest attempt of another take of the same input.
        request_id: fal's id of the request.

    Returns:
        The attempt, with all that is known of the request; None where no such row holds it, its
        video is stored already, or the attempt is not as it was seen.
    """
    return await database.write(_move_imported, one, request_id)


def _move_imported(connection: Connection, one: Attempt, request_id: str) -> Attempt | None:
    row = _held(connection, one, request_id)
    if row is None:
        return None
    for key in sorted({row["key"], one.key}):
        lock_key(connection, key)
    row = _held(connection, one, request_id)
    latest = latest_attempt(connection, one.key)
    if row is None or latest != one or one.request_id is not None:
        return None
    return _move(connection, row, one)


def _held(connection: Connection, one: Attempt, request_id: str) -> RowMapping | None:
    found = connection.execute(
        select(attempt).where(
            IMPORTED,
            attempt.c.request_id == request_id,
            attempt.c.realm == one.realm,
            attempt.c.account == one.account,
            attempt.c.endpoint == one.endpoint,
            attempt.c.body_digest == one.body_digest,
            attempt.c.key != one.key,
            attempt.c.fate != Fate.STORED,
        )
    )
    return found.mappings().first()


def _move(connection: Connection, row: RowMapping, one: Attempt) -> Attempt:
    connection.execute(delete(attempt).where(is_attempt(attempt_of(row))))
    _promote(connection, row["key"])
    ticket = {**row["ticket"], "take": one.take, "labels": one.labels, "key": one.key}
    values: dict[str, Any] = {name: row[name] for name in MOVED}
    moved = connection.execute(
        update(attempt)
        .where(is_attempt(one))
        .values({**values, "ticket": ticket, "adopted": True})
        .returning(attempt)
    )
    void_consent(connection, one)
    return attempt_of(moved.mappings().one())


def _promote(connection: Connection, key: str) -> None:
    """Make the best duplicate a key's attempt, if that attempt was moved away."""
    left = attempts_of(connection, key)
    if left and all(each.duplicate for each in left):
        best = min(left, key=_worth)
        connection.execute(update(attempt).where(is_attempt(best)).values(duplicate=False))


def _worth(one: Attempt) -> int:
    return BEST_FIRST.index(one.fate) if one.fate in BEST_FIRST else len(BEST_FIRST)


class Beginnings(Part):
    """Looks for what was bought before the ledger began.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._tail = Tail(database)
        self._earlier = Earlier(database, self._tail)

    async def look_back(
        self,
        purchase: Purchase,
        platform: PlatformClient,
        seconds: float = RECONCILE_SECONDS,
        instead_of: Attempt | None = None,
    ) -> None:
        """Before a key is bought: give it the request that is there already, if any.

        It may be from before the ledger began, or from a time that the ledger has lost, for it is
        an older copy of itself. One such request is adopted for the ordinary take. Several, or
        another take, leave open which it is: the key is closed, with an error that names the cures.

        Args:
            purchase: What is about to be bought.
            platform: fal's platform API, with the key of the account that would pay.
            seconds: How far fal's history may lag.
            instead_of: The attempt that it is to replace: a purchase in its place may have been
                made already, too.

        Raises:
            FalError: fal's history could not be read; nothing was bought.
            GenerationTimeoutError: Not in time; nothing was bought.
            LedgerError: The ledger cannot be used.
        """
        if purchase.realm == "emulator":  # it forgets, and charges nothing
            return
        was_read = self._tail.is_read(purchase)
        known = await self._known(purchase)
        equal: list[PastRequest] = []
        if known.read_at is None and known.began_at is not None and not known.is_tried:
            equal = await self._earlier.equal_to(purchase, known.began_at, platform, seconds)
        if not was_read:
            await self._tail.look(purchase, platform)
            known = await self._known(purchase)
        if equal or known.imported or known.strays:
            past = [_as_stray(each) for each in equal]
            await self._database.write(_enter, purchase, [*past, *known.strays], instead_of)

    @reads_together
    def _known(self, connection: Connection, purchases: Sequence[Purchase]) -> Answers[_Known]:
        read_at = _read_at(connection, {purchase.account for purchase in purchases})
        began_at = _began_at(connection)
        imported = imported_like(connection, purchases)
        strays = strays_like(connection, purchases)
        tried = attempts_of_keys(connection, [purchase.key for purchase in purchases])
        return Answers(
            _Known(
                read_at.get((purchase.realm, purchase.account)),
                began_at,
                like,
                lost,
                bool(tried[purchase.key]),
            )
            for purchase, like, lost in zip(purchases, imported, strays, strict=True)
        )

    @writes
    def settle(self, connection: Connection, realm: Realm, account: str) -> None:
        """Note that an account's history has been imported: what it shows is in the ledger."""
        row = {"realm": realm, "account": account, "read_at": database_now()}
        connection.execute(insert_once(connection, history).values(row))

    @writes
    def skip(self, connection: Connection, realm: Realm, account: str) -> None:
        """Note that, by a person's word, an account's history does not matter."""
        which = {"realm": realm, "account": account}
        connection.execute(insert_once(connection, history).values(**which, read_at=NEVER))
        connection.execute(update(history).filter_by(**which).values(read_at=NEVER))
        forget_strays(connection, realm, account)


@dataclass(frozen=True)
class _Known:
    """What the ledger knows of the time before it.

    Args:
        read_at: When the account's history was imported; `NEVER`, if it need not be; None until
            then.
        began_at: When the ledger began, if fal still knows of anything before.
        imported: The imported requests that the purchase may have made, with when each was sent.
        strays: The requests since then that no attempt had, and the purchase may have made.
        is_tried: Whether the key was tried before, at no cost.
    """

    read_at: float | None
    began_at: float | None
    imported: Mapping[str, float]
    strays: Sequence[Stray]
    is_tried: bool


def _read_at(connection: Connection, accounts: Iterable[str]) -> dict[tuple[str, str], float]:
    found = connection.execute(
        select(history.c.realm, history.c.account, history.c.read_at).where(
            among(connection, history.c.account, accounts)
        )
    )
    return {(realm, account): read_at for realm, account, read_at in found}


def _began_at(connection: Connection) -> float | None:
    began_at: float = (connection.execute(select(origin.c.began_at))).scalar_one()
    age = now_in(connection) - began_at
    return None if age > timedelta(days=HISTORY_DAYS).total_seconds() else began_at


def _as_stray(request: PastRequest) -> Stray:
    has_more = likeness_of(request).has_more
    return Stray(request.request_id, request.sent_at.timestamp(), has_more)


def _enter(
    connection: Connection,
    purchase: Purchase,
    equal: Sequence[Stray],
    instead_of: Attempt | None,
) -> None:
    """Record a key's attempt that this ledger does not know."""
    lock_or_make_key(connection, purchase.key)
    latest = latest_attempt(connection, purchase.key)
    number = instead_of and instead_of.number
    if latest is not None and latest.rerun is not Rerun.BUY and latest.number != number:
        return
    free = _free(connection, purchase, equal)
    sent = {each.request_id: each.sent_at for each in free}
    if latest is None and not _is_skipped(connection, purchase):
        sent |= imported_like(connection, [purchase])[0]
    if not sent:
        return
    one = add_attempt(connection, _unknown(purchase, sent))
    clear = len(sent) == len(free) == 1 and not free[0].has_more
    if clear and purchase.take == ORDINARY_TAKE:
        adopt_request(connection, one, ticket_of(one, free[0].request_id, moment(free[0].sent_at)))


def _is_skipped(connection: Connection, purchase: Purchase) -> bool:
    read_at = _read_at(connection, [purchase.account])
    return read_at.get((purchase.realm, purchase.account)) == NEVER


def _free(connection: Connection, purchase: Purchase, equal: Sequence[Stray]) -> list[Stray]:
    """The requests that belong to no attempt."""
    # In this order, because a ticket may be recorded between the two queries. The other way round,
    # its request would not be owned yet, and its attempt not be sending any more.
    sending = _being_sent(connection, purchase)
    taken = owned_requests(connection, purchase.realm, [each.request_id for each in equal])
    by_id = {each.request_id: each for each in equal}
    return [
        each
        for each in by_id.values()
        # What this ledger sent in its first second is not from before it began.
        if each.request_id not in taken
        and not any(own.holds(moment(each.sent_at)) for own in sending)
    ]


def _being_sent(connection: Connection, purchase: Purchase) -> list[Window]:
    """When this ledger sent the same body, and has no ticket for it: not yet, or given up."""
    found = connection.execute(
        select(attempt).where(
            attempt.c.realm == purchase.realm,
            attempt.c.body_digest == purchase.body_digest,
            attempt.c.request_id.is_(None),
            attempt.c.sent_at.is_not(None),
            attempt.c.billed.is_distinct_from(Billed.NO),
        )
    )
    return [window_of(attempt_of(row)) for row in found.mappings()]


def _unknown(purchase: Purchase, sent: Mapping[str, float]) -> dict[str, object]:
    ids = ", ".join(sent)
    error = ParkedError(
        "By fal's history the account asked for this very input, and this ledger does not know of "
        f"it ({ids}): it was before the ledger began, or the ledger is an older copy of itself, or "
        f"it is somebody else's. Whether one of these is take {purchase.take!r} cannot be known; "
        "nothing was bought.",
        cure=f"Adopt one: prefect-hailuo ledger resolve {shown_key(purchase.key)} --adopt "
        "REQUEST_ID. If all that was bought before is accounted for, let no other take be asked "
        "about: prefect-hailuo ledger import --skip.",
        billed=Billed.UNKNOWN,
    )
    return {
        **purchase.asked(),
        "fate": Fate.FAILED,
        "billed": Billed.UNKNOWN,
        "error": describe(error),
        "intended_at": max(sent.values()),
        "lease_until": 0.0,
        "estimated_usd": purchase.estimated_usd,
        "duplicate": False,
        "adopted": False,
    }
