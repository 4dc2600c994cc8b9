"""What became of an attempt, recorded as it becomes known: tickets, results, failures, files.

Nothing here buys. One request is never given to two attempts, and no ticket is dropped. Every
change names the state that it changes, so that a writer that comes too late changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any

import anyio
from sqlalchemy import Boolean, ColumnElement, Connection, and_, bindparam, case, select, update
from sqlalchemy.exc import IntegrityError

from prefect_hailuo.errors import Billed, HailuoError, RequestCancelledError
from prefect_hailuo.fal.messages import Completed, Output
from prefect_hailuo.ledger.attempt import (
    DECIDABLE,
    Attempt,
    Fate,
    Purchase,
    attempt_of,
    describe,
    latest_of,
    storable,
)
from prefect_hailuo.ledger.database import (
    Answers,
    Database,
    Part,
    reads,
    reads_together,
    writes,
    writes_together,
)
from prefect_hailuo.ledger.tables import (
    IS_THIS,
    NEWLY_SUBMITTED,
    UNBILLED,
    Texts,
    add_attempt,
    add_like,
    adopt_request,
    all_attempts,
    among,
    as_accepted,
    attempt,
    attempts_of_keys,
    database_now,
    file,
    from_file,
    is_attempt,
    is_one_of,
    latest_attempt,
    lock_key,
    lock_keys,
    lock_or_make_key,
    make_keys,
    now_in,
    owned_requests,
    prepared,
    texts_for,
    this,
    void_consent,
    void_consents,
    waiter,
)
from prefect_hailuo.ledger.waiters import end_waiters
from prefect_hailuo.models.video import Video
from prefect_hailuo.ticket import Realm, Ticket

LATEST = 50
"""How many durations are read: fal may have been slower or quicker before."""


BASES = {Billed.NO: "unbilled", Billed.YES: "estimate", Billed.UNKNOWN: "unknown"}
"""The basis of a cost, by the billing that an attempt ended with."""


@dataclass(frozen=True)
class Ended:
    """An attempt, and the error that it ended with."""

    one: Attempt
    error: HailuoError

    def row(self) -> dict[str, Any]:
        """The end, as the parameters of the statement."""
        cancelled = isinstance(self.error, RequestCancelledError)
        return {
            **as_seen(self.one),
            "new_fate": Fate.CANCELLED if cancelled else Fate.FAILED,
            "new_billed": self.error.billed,
            "new_error": describe(self.error),
            "new_basis": BASES[self.error.billed],
        }


IS_AS_SEEN = IS_THIS & and_(
    *(
        column.is_not_distinct_from(bindparam(f"its_{column.name}", type_=column.type))
        for column in (attempt.c.owner, attempt.c.request_id)
    )
)
"""The condition that a row is the attempt that `as_seen` names, with the same owner and request: a
ledger that was put back or filled again may have another one of that number."""


def as_seen(one: Attempt) -> dict[str, Any]:
    """An attempt as the parameters of `IS_AS_SEEN`."""
    return {**this(one), "its_owner": one.owner, "its_request_id": one.request_id}


def end_all(
    connection: Connection,
    those: Sequence[Ended],
    from_fates: Sequence[Fate],
    *held: ColumnElement[bool],
) -> bool:
    """Record how some attempts ended.

    Returns:
        For a single attempt, whether it still was as the conditions say.
    """
    lock_keys(connection, {each.one.key for each in those})
    basis = bindparam("new_basis", type_=attempt.c.cost_basis.type)
    ending = update(attempt).where(IS_AS_SEEN, is_one_of(attempt.c.fate, from_fates), *held)
    changed = connection.execute(
        ending.values(
            fate=bindparam("new_fate"),
            billed=bindparam("new_billed"),
            error=bindparam("new_error"),
            ended_at=database_now(),
            cost_usd=case((basis == "unbilled", 0), (basis == "estimate", attempt.c.estimated_usd)),
            cost_basis=basis,
            parked_at=None,
            parked_because=None,
        ),
        [each.row() for each in those],
    )
    return changed.rowcount == 1


NOW = database_now()


class Files(Part):
    """Knows the places that hold a video."""

    @reads_together
    def of(self, connection: Connection, keys: Sequence[str]) -> Answers[list[Video]]:
        """The videos that a key is stored as, one a place, the latest first."""
        found = connection.execute(
            select(file.c.key, file.c.video)
            .where(among(connection, file.c.key, keys))
            .order_by(file.c.stored_at.desc())
        )
        videos: defaultdict[str, list[Video]] = defaultdict(list)
        for key, video in found:
            videos[key].append(Video.model_validate(video))
        return Answers(list(videos[key]) for key in keys)

    @writes
    def add(self, connection: Connection, one: Attempt, video: Video) -> None:
        """Record another place that holds a copy."""
        # First, as `stored` does: a new row of a file locks its key's row anyway, but late.
        lock_key(connection, one.key)
        put_files(connection, [StoredVideo(one, video)])


@dataclass(frozen=True)
class StoredVideo:
    """An attempt's video, in some place."""

    one: Attempt
    video: Video


def put_files(connection: Connection, those: Sequence[StoredVideo]) -> None:
    """Record where videos are. The file of the attempt that counts is not replaced by another's."""
    counted = _counted(connection, {each.one.key for each in those})
    rows = [
        {
            "key": each.one.key,
            "place": each.video.storage,
            "number": each.one.number,
            "video": each.video.model_dump(mode="json"),
            "counts": counted.get(each.one.key, each.one.number) == each.one.number,
        }
        for each in those
    ]
    connection.execute(_putting(texts_for(connection)), rows)


@cache
def _putting(texts: Texts) -> Any:
    put = texts.insert(file).values(
        {name: bindparam(name) for name in ("key", "place", "number", "video")}
    )
    news = {"number": put.excluded.number, "video": put.excluded.video, "stored_at": NOW}
    replaced = (file.c.number == put.excluded.number) | bindparam("counts", type_=Boolean)
    return put.values(stored_at=NOW).on_conflict_do_update(
        index_elements=[file.c.key, file.c.place], set_=news, where=replaced
    )


def _counted(connection: Connection, keys: Collection[str]) -> dict[str, int]:
    """The number of each key's attempt that counts."""
    found = _numbers(connection, keys)
    of_keys = groupby(found, key=lambda row: row.key)
    latest = {key: latest_of(list(rows)) for key, rows in of_keys}
    return {key: one.number for key, one in latest.items() if one is not None}


@prepared
def _numbers(keys: Texts) -> Any:
    return (
        select(attempt.c.key, attempt.c.number, attempt.c.billed, attempt.c.duplicate)
        .where(keys.have(attempt.c.key))
        .order_by(attempt.c.key, attempt.c.number)
    )


Request = tuple[Realm, str]
"""A realm, and fal's id of a request."""


@dataclass(frozen=True)
class Accepted:
    """An attempt whose POST was answered with a ticket."""

    mine: Attempt
    ticket: Ticket

    @property
    def request(self) -> Request:
        """The request."""
        return self.mine.realm, self.ticket.request_id


def owners_of(connection: Connection, requests: Iterable[Request]) -> dict[Request, Attempt]:
    """The attempts that have some requests."""
    wanted = set(requests)
    realms, ids = {realm for realm, _ in wanted}, {each for _, each in wanted}
    found = _owners(connection, ids, realms=realms)
    return {(one.realm, one.request_id or ""): one for one in all_attempts(found)}


@prepared
def _owners(ids: Texts) -> Any:
    realms = ids.named("realms")
    return select(attempt).where(realms.have(attempt.c.realm), ids.have(attempt.c.request_id))


def adopt(connection: Connection, one: Attempt, ticket: Ticket) -> Attempt | None:
    """Give an attempt a request that a person names; None where that cannot be."""
    lock_key(connection, one.key)
    owner = (owners_of(connection, [(one.realm, ticket.request_id)])).get(
        (one.realm, ticket.request_id)
    )
    if owner is not None:
        return _revive(connection, owner, ticket) if owner.key == one.key else None
    latest = latest_attempt(connection, one.key)
    if latest is None or latest.number != one.number:
        return None
    if one.request_id is None and (given := adopt_request(connection, one, ticket)) is not None:
        return given
    return add_like(connection, one, ticket, duplicate=False, adopted=True)


def _given(one: Attempt, ticket: Ticket, siblings: Sequence[Attempt], now: float) -> Attempt:
    """An attempt with its ticket, whatever was recorded of it meanwhile: there is a request now.

    If a later attempt has a request that may have cost money, this one is shown as a duplicate.
    """
    replaced = any(
        later.number > one.number and later.request_id and later.billed is not Billed.NO
        for later in siblings
    )
    return replace(
        one,
        **NEWLY_SUBMITTED,
        request_id=ticket.request_id,
        ticket=ticket,
        submitted_at=now,
        adopted=False,
        duplicate=one.duplicate or replaced,
    )


_GIVING = (
    update(attempt)
    .where(IS_THIS, attempt.c.request_id.is_(None))
    .values(
        **NEWLY_SUBMITTED,
        request_id=bindparam("new_request"),
        ticket=bindparam("new_ticket"),
        submitted_at=bindparam("now"),
        duplicate=bindparam("replaced"),
        adopted=False,
    )
)


def _write(connection: Connection, given: Sequence[Attempt]) -> None:
    rows = [
        {
            **this(one),
            "new_request": one.request_id,
            "new_ticket": one.open_ticket().model_dump(mode="json"),
            "now": one.submitted_at,
            "replaced": one.duplicate,
        }
        for one in given
    ]
    if rows:
        connection.execute(_GIVING, rows)


def _revive(connection: Connection, owner: Attempt, ticket: Ticket) -> Attempt:
    """Reopen an attempt that was recorded as failed, if a person found its request good."""
    if owner.fate not in (Fate.FAILED, Fate.CANCELLED):
        return owner
    changed = connection.execute(
        update(attempt).where(is_attempt(owner)).values(as_accepted(ticket)).returning(attempt)
    )
    void_consent(connection, owner)
    return attempt_of(changed.mappings().one())


UNKNOWN = (Fate.INTENDED, Fate.SENDING, Fate.AMBIGUOUS)
"""Fates in which only the owner can know whether there is a request."""

OPEN = (Fate.SUBMITTED, Fate.SUCCEEDED, Fate.CANCELLED)
"""Fates that an outcome may still change: a cancelled request may still end in a video."""


class Records(Part):
    """Records outcomes.

    Changes that a claim may make too lock the generation's row first, as a claim does. Calls that
    come at once share one transaction.

    """

    async def accepted(self, mine: Attempt, ticket: Ticket) -> Attempt:
        """Write down the ticket that an attempt's POST was answered with.

        An owner that was frozen and comes late records it all the same. If its attempt was given
        another request meanwhile, the ticket becomes a further attempt, shown as a duplicate.

        Returns:
            The attempt that holds the ticket.
        """
        return await self._accept(Accepted(mine, ticket))

    @writes_together
    def _accept(self, connection: Connection, those: Sequence[Accepted]) -> Answers[Attempt]:
        """Give each attempt its ticket; returns the attempts that hold the tickets.

        The ticket of an attempt that was given another request becomes a further attempt, shown as
        a duplicate. So does that of one that is not there any more, for an older copy of the ledger
        was put in its place; it is a duplicate if its key has another that may have cost money.
        """
        keys = {each.mine.key for each in those}
        locked = lock_keys(connection, keys)
        if missing := keys - locked.keys():
            make_keys(connection, missing)
        owners = owners_of(connection, (each.request for each in those))
        attempts = attempts_of_keys(connection, keys)
        now = now_in(connection)
        given: list[Attempt] = []
        for each in those:
            if each.request in owners:
                continue
            siblings = attempts[each.mine.key]
            here = [
                one for one in siblings if one.number == each.mine.number and not one.request_id
            ]
            if here:
                one = _given(here[0], each.ticket, siblings, now)
                siblings[siblings.index(here[0])] = one
                given.append(one)
            else:
                again = any(other.billed is not Billed.NO for other in siblings)
                one = add_like(connection, each.mine, each.ticket, duplicate=again, adopted=False)
                siblings.append(one)
            owners[each.request] = one
        _write(connection, given)
        void_consents(connection, given, locked)
        return Answers(owners[each.request] for each in those)

    async def refused(self, mine: Attempt, error: HailuoError) -> None:
        """Record that nothing was accepted: no connection stood, or fal refused for certain.

        The owner knows this for certain, also if others have marked its attempt ambiguous.
        """
        await self._refuse(Ended(mine, error))

    @writes_together
    def _refuse(self, connection: Connection, those: Sequence[Ended]) -> Answers[None]:
        end_all(connection, those, UNKNOWN)
        return Answers([None] * len(those))

    async def answer_lost(self, mine: Attempt, error: HailuoError) -> None:
        """Record that the POST was sent and its answer was lost."""
        await self._lose(Ended(mine, error))

    @writes_together
    def _lose(self, connection: Connection, those: Sequence[Ended]) -> Answers[None]:
        lock_keys(connection, {each.one.key for each in those})
        rows = [{**as_seen(each.one), "why": describe(each.error)} for each in those]
        connection.execute(_LOSING, rows)
        return Answers([None] * len(those))

    async def succeeded(self, one: Attempt, output: Output, completed: Completed) -> None:
        """Record a result: now the money is known to be spent."""
        await self._succeed(_Result(one, output, completed))

    @writes_together
    def _succeed(self, connection: Connection, those: Sequence[_Result]) -> Answers[None]:
        locked = lock_keys(connection, {each.one.key for each in those})
        connection.execute(_SUCCEEDING, [each.row() for each in those])
        void_consents(connection, (each.one for each in those), locked)
        return Answers([None] * len(those))

    async def failed(self, one: Attempt, error: HailuoError) -> None:
        """Write down a failure at fal, or a cancellation, and whether it cost money."""
        await self._fail(Ended(one, error))

    @writes_together
    def _fail(self, connection: Connection, those: Sequence[Ended]) -> Answers[None]:
        # What is known of the money stays: a video, or a request that never left the queue.
        unsettled = attempt.c.billed.is_(None) | (attempt.c.billed == Billed.UNKNOWN)
        end_all(connection, those, OPEN, unsettled)
        # The calls that waited get the error.
        end_waiters(connection, {each.one.key for each in those})
        return Answers([None] * len(those))

    async def stored(self, one: Attempt, video: Video) -> None:
        """Write down where a video is kept."""
        await self._store(StoredVideo(one, video))

    @writes_together
    def _store(self, connection: Connection, those: Sequence[StoredVideo]) -> Answers[None]:
        keys = {each.one.key for each in those}
        locked = lock_keys(connection, keys)
        connection.execute(_STORING, [as_seen(each.one) for each in those])
        end_waiters(connection, keys)  # the calls that waited get the video
        void_consents(connection, (each.one for each in those), locked)
        put_files(connection, those)
        return Answers([None] * len(those))

    @writes
    def forgotten(self, connection: Connection, one: Attempt) -> None:
        """Write down that an emulator knows a request no longer: it was restarted."""
        connection.execute(
            update(attempt)
            .where(is_attempt(one), attempt.c.realm == "emulator")
            .values(**UNBILLED, fate=Fate.FORGOTTEN)
        )

    @writes
    def found(self, connection: Connection, purchase: Purchase, video: Video) -> None:
        """Record a stored video that this ledger did not know: it need not be bought."""
        lock_or_make_key(connection, purchase.key)
        owned = owned_requests(connection, purchase.realm, [video.request_id])
        if not owned and latest_attempt(connection, purchase.key) is None:
            one = add_attempt(connection, from_file(purchase, video))
            put_files(connection, [StoredVideo(one, video)])

    @writes
    def parked(self, connection: Connection, one: Attempt, because: str) -> bool:
        """Park an attempt: a person has to decide.

        Returns:
            Whether the attempt still was as it was seen.
        """
        open_as_seen = attempt.c.fate.in_(DECIDABLE) & (attempt.c.fate == one.fate)
        changed = connection.execute(
            update(attempt)
            .where(is_attempt(one), open_as_seen)
            .values(parked_at=database_now(), parked_because=storable(because))
        )
        return changed.rowcount == 1

    @writes
    def abandoned(self, connection: Connection, one: Attempt, error: HailuoError) -> bool:
        """Give an attempt up, whatever became of it. Its money counts as spent.

        Returns:
            Whether it still was as it was seen.
        """
        return end_all(connection, [Ended(one, error)], (one.fate,))

    async def adopted(self, one: Attempt, ticket: Ticket) -> Attempt | None:
        """Give an attempt a request that a person names.

        Returns:
            The attempt that holds it; None where another key's attempt does, or this one no
            longer is its key's latest.
        """
        try:
            return await self._database.write(adopt, one, ticket)
        except IntegrityError:
            # The request was given to an equal attempt at the same moment: now that is seen.
            return await self._database.write(adopt, one, ticket)

    async def durations(self, endpoint: str) -> list[float]:
        """How many seconds the latest stored requests of an endpoint ran, by fal; the latest last.

        Args:
            endpoint: fal's endpoint id.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        asked = (
            select(attempt.c.completed)
            .where(attempt.c.realm == "fal", attempt.c.fate == Fate.STORED)
            .where(attempt.c.endpoint == endpoint)
            .order_by(attempt.c.submitted_at.desc())
            .limit(LATEST)
        )
        found = await self._database.read(lambda each: each.execute(asked).scalars().all())
        said = (Completed.model_validate(each or {}).inference_seconds for each in reversed(found))
        return [seconds for seconds in said if seconds and seconds > 0]

    async def of_request(self, realm: Realm, request_id: str) -> Attempt | None:
        """The attempt that a request belongs to."""
        return await self._of((realm, request_id))

    @reads_together
    def _of(self, connection: Connection, requests: Sequence[Request]) -> Answers[Attempt | None]:
        owners = owners_of(connection, requests)
        return Answers(owners.get(request) for request in requests)


@dataclass(frozen=True)
class _Result:
    one: Attempt
    output: Output
    completed: Completed

    def row(self) -> dict[str, Any]:
        return {
            **as_seen(self.one),
            "new_output": self.output.model_dump(mode="json"),
            "new_completed": self.completed.model_dump(mode="json", exclude={"logs"}),
        }


_SUCCEEDING = (
    update(attempt)
    .where(IS_AS_SEEN, is_one_of(attempt.c.fate, OPEN))
    .values(
        fate=Fate.SUCCEEDED,
        billed=Billed.YES,
        output=bindparam("new_output"),
        completed=bindparam("new_completed"),
        cost_usd=attempt.c.estimated_usd,
        # Only an administrator's key can ask what fal charged.
        cost_basis="estimate",
        error=None,
        parked_at=None,
        parked_because=None,
    )
)

_STORING = (
    update(attempt)
    .where(IS_AS_SEEN, is_one_of(attempt.c.fate, OPEN))
    .values(fate=Fate.STORED, billed=Billed.YES, ended_at=database_now())
)

_LOSING = (
    update(attempt)
    .where(IS_AS_SEEN, is_one_of(attempt.c.fate, [Fate.INTENDED, Fate.SENDING]))
    .values(fate=Fate.AMBIGUOUS, error=bindparam("why"))
)


LOOK_SECONDS = 1.0
"""How often the ledger is asked about the requests that a process waits for."""

LOOKED_FOR_A_SECOND = 2_000
"""How many requests are asked about in a second; with more, each is asked about less often."""


class Completions(Part):
    """Completions of requests that another process may have recorded, so that fal is not asked.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._waited: defaultdict[Request, set[asyncio.Future[Completed]]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None

    @writes
    def note(self, connection: Connection, one: Attempt, completed: Completed) -> None:
        """Record that a request is over, when its result is not collected yet."""
        news = attempt.c.completed.is_(None) & (attempt.c.fate == Fate.SUBMITTED)
        connection.execute(
            update(attempt)
            .where(is_attempt(one), news)
            .values(completed=completed.model_dump(mode="json", exclude={"logs"}))
        )

    @reads
    def output_of(self, connection: Connection, ticket: Ticket) -> Output | None:
        """A request's result, if it is recorded."""
        mine = (attempt.c.realm == ticket.realm) & (attempt.c.request_id == ticket.request_id)
        found = (connection.execute(select(attempt.c.output).where(mine))).scalar()
        return None if found is None else Output.model_validate(found)

    @reads
    def runs_wanting(self, connection: Connection, key: str) -> list[str]:
        """The flow runs that have waited for a key, and were not cancelled; the latest first."""
        ran = waiter.c.flow_run_id
        theirs = (waiter.c.key == key) & ran.is_not(None) & waiter.c.cancelled_at.is_(None)
        asked = select(ran).where(theirs).order_by(waiter.c.started_at.desc())
        return list(dict.fromkeys((connection.execute(asked)).scalars()))

    @reads
    def over(
        self, connection: Connection, requests: Collection[Request]
    ) -> dict[Request, Completed]:
        """The requests among some that are over, and how they ended."""
        wanted = set(requests)
        if not wanted:
            return {}
        asked = select(
            attempt.c.realm, attempt.c.request_id, attempt.c.completed, attempt.c.error
        ).where(
            attempt.c.realm.in_(sorted({realm for realm, _ in wanted})),
            (attempt.c.fate != Fate.SUBMITTED) | attempt.c.completed.is_not(None),
        )
        ids = among(connection, attempt.c.request_id, {each for _, each in wanted})
        found = (connection.execute(asked.where(ids))).all()
        ended = {(row.realm, row.request_id): _completed(row.completed, row.error) for row in found}
        return {each: ended[each] for each in wanted if each in ended}

    async def hear(self, request: Request) -> Completed:
        """Wait until the ledger says that a request is over; one query serves all callers."""
        mine: asyncio.Future[Completed] = asyncio.get_running_loop().create_future()
        self._waited[request].add(mine)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            return await mine
        finally:
            self._waited[request].discard(mine)
            if not self._waited[request]:
                del self._waited[request]
            if not self._waited and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self) -> None:
        while True:
            # An error here may pass, and fal is asked now and then all the same.
            with suppress(Exception):
                for request, completed in (await self.over(tuple(self._waited))).items():
                    for each in self._waited.get(request, ()):
                        if not each.done():
                            each.set_result(completed)
            await anyio.sleep(max(LOOK_SECONDS, len(self._waited) / LOOKED_FOR_A_SECOND))


def _completed(completed: dict[str, Any] | None, error: dict[str, Any] | None) -> Completed:
    if completed is not None:
        return Completed.model_validate(completed)
    said = error or {}
    return Completed(error=said.get("message"), error_type=said.get("error_type"))
