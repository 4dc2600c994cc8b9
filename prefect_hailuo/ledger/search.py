"""The search for requests whose tickets were lost, in fal's request history.

A request is adopted only if the case is clear: the history shows as many unclaimed requests with
this input, sent in the right window, as there are attempts that miss one, and no living owner may
still claim one of them. Equal requests are interchangeable, so it does not matter which attempt
gets which. Anything else is no evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.fal.platform import History, PastRequest, PlatformClient
from prefect_hailuo.ledger.attempt import (
    RECONCILE_SECONDS,
    Attempt,
    Fate,
    FindingKind,
    attempt_of,
    digest_of,
    moment,
)
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.tables import (
    adopt_request,
    attempt,
    lock_keys,
    now_in,
    owned_requests,
)
from prefect_hailuo.models.catalogue import read_request
from prefect_hailuo.models.image import with_identities
from prefect_hailuo.ticket import Ticket

WINDOW_MARGIN = timedelta(seconds=15)
"""How far fal's `sent_at` may be off, beyond what its `Date` header tells."""

END_MARGIN = timedelta(hours=1)
"""How far beyond the windows the history is read, because fal's clock may differ, or fal may go by
the end of a request. It is bounded, because an account may send much in a month."""


FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True)
class Finding:
    """What a search of the history found.

    Args:
        kind: What was found.
        because: Why the attempt has no request, for people.
    """

    kind: FindingKind
    because: str = ""

    @property
    def adopted(self) -> bool:
        """Whether the attempt has its request now."""
        return self.kind is FindingKind.ADOPTED


class Reconciling:
    """Finds requests for attempts that miss one.

    Args:
        database: The ledger's.
        platform: fal's platform API, with the key of the attempts' own account.
        clock: What waiting is measured with.
    """

    def __init__(
        self, database: Database, platform: PlatformClient, clock: Clock | None = None
    ) -> None:
        self._database = database
        self._platform = platform
        self._clock: Clock = clock or SystemClock()

    async def search(
        self, one: Attempt, seconds: float = RECONCILE_SECONDS, within: Deadline | None = None
    ) -> Finding:
        """Look for an attempt's request repeatedly for a while, because the history may lag.

        Args:
            one: An ambiguous attempt.
            seconds: How long, counted from its POST; there is always at least one look.
            within: The caller's own deadline.
        """
        age = await self._database.read(now_in) - (one.sent_at or one.intended_at)
        # Never longer than that, also if the database's clock was set back meanwhile.
        left = min(seconds, seconds - age, within.remaining if within else seconds)
        deadline = Deadline(left, self._clock)
        pause = FIRST_PAUSE_SECONDS
        while not (finding := await self.look(one)).adopted and not deadline.passed:
            await deadline.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
        return finding

    async def look(self, one: Attempt) -> Finding:
        """Look for an attempt's request once."""
        group, now = await self._database.read(
            lambda connection: (_group(connection, one), now_in(connection))
        )
        if group is None:
            return Finding(FindingKind.ADOPTED)  # somebody else found it, or its owner came late
        try:
            history, ahead = await self._read(one.endpoint, group, now)
        except HailuoError as error:
            because = f"fal's history could not be read: {error}"
            return Finding(FindingKind.UNREADABLE, because)
        try:
            return await self._assign(one, group, history, ahead)
        except IntegrityError:
            return Finding(FindingKind.BUSY, "The ledger changed meanwhile.")

    async def unclaimed(self, first: Attempt, last: Attempt) -> list[Ticket]:
        """The requests that fal took from two attempts of one key, though it seemed to refuse them.

        Args:
            first: The earlier attempt.
            last: The later one, which its owner still holds.

        Returns:
            Tickets for the later attempt, of requests that belong to nobody; none while another
            attempt with the same body misses its own.

        Raises:
            HailuoError: fal's history could not be read.
        """
        now = await self._database.read(now_in)
        sent = [first, replace(last, sent_at=now)]
        history, ahead = await self._read(last.endpoint, sent, now)

        def pick(connection: Connection) -> list[Ticket]:
            if any(not _same(each, last) for each in _open_like(connection, last)):
                return []
            found = _candidates(connection, sent, history, ahead)
            equal = [each for each in found if likeness_of(each) == Likeness(last.body_digest)]
            return [ticket_of(last, each.request_id, each.sent_at) for each in equal]

        return await self._database.read(pick)

    async def _assign(
        self, one: Attempt, group: Sequence[Attempt], history: History, ahead: timedelta
    ) -> Finding:
        """Give the group what the history shows, with all its keys locked.

        An attempt that joined the group while the locks were waited for is locked too, in another
        transaction: keys are always locked in one order, so that no two transactions deadlock.
        """
        keys = {each.key for each in group}

        def assign(connection: Connection) -> Finding | set[str]:
            lock_keys(connection, keys)
            now_group = _group(connection, one)
            if now_group is None:
                return Finding(FindingKind.ADOPTED)
            joined = {each.key for each in now_group} - keys
            return joined or _pair_off(connection, now_group, history, ahead)

        while isinstance(done := await self._database.write(assign), set):
            keys |= done
        return done

    async def _read(
        self, endpoint: str, group: Sequence[Attempt], now: float
    ) -> tuple[History, timedelta]:
        """The history around the group's POSTs, and how far fal's clock is ahead."""
        windows = [window_of(each) for each in group]
        start = min(each.start for each in windows)
        end = max(each.end for each in windows) + END_MARGIN
        asked_at = self._clock.now()
        history = await self._platform.history(endpoint, start, end)
        ahead = history.fal_now - moment(now + self._clock.now() - asked_at)
        if not -WINDOW_MARGIN <= ahead <= END_MARGIN:  # by fal's clock it was at another time
            history = await self._platform.history(endpoint, start + ahead, end + ahead)
        return history, ahead


@dataclass(frozen=True)
class Window:
    """When, on the database's clock, fal may have taken a POST."""

    start: datetime
    end: datetime

    def meets(self, other: Window) -> bool:
        """Whether two windows overlap."""
        return self.start <= other.end and other.start <= self.end

    def holds(self, when: datetime) -> bool:
        """Whether a moment is in the window."""
        return self.start <= when <= self.end


def window_of(one: Attempt) -> Window:
    """An attempt's window."""
    sent = moment(one.sent_at or one.intended_at)
    limit = timedelta(seconds=SUBMIT_SECONDS)
    return Window(sent - WINDOW_MARGIN, sent + limit + WINDOW_MARGIN)


def _group(connection: Connection, one: Attempt) -> list[Attempt] | None:
    """The attempts that may own a request in this one's window; None if it has its request."""
    others = _open_like(connection, one)
    group = [each for each in others if _same(each, one) and each.fate is Fate.AMBIGUOUS]
    if not group:
        return None
    for each in group:  # it grows while it is gone through
        near = [other for other in others if window_of(other).meets(window_of(each))]
        group.extend(other for other in near if other not in group)
    return group


def _open_like(connection: Connection, one: Attempt) -> list[Attempt]:
    """The attempts with the same body that may miss their request."""
    found = connection.execute(
        select(attempt).where(
            attempt.c.realm == one.realm,
            attempt.c.account == one.account,
            attempt.c.endpoint == one.endpoint,
            attempt.c.body_digest == one.body_digest,
            attempt.c.request_id.is_(None),
            attempt.c.fate.in_([Fate.SENDING, Fate.AMBIGUOUS]),
        )
    )
    return [attempt_of(row) for row in found.mappings()]


def _same(one: Attempt, other: Attempt) -> bool:
    return (one.key, one.number) == (other.key, other.number)


def _pair_off(
    connection: Connection, group: Sequence[Attempt], history: History, ahead: timedelta
) -> Finding:
    """Give the requests in the history to the attempts that miss one, if it is a clear case.

    Everything is read again in this transaction, because an owner may have recorded its ticket
    since the history was read. An owner that has begun to send since then is in the group; while it
    is alive, nothing is clear.
    """
    now = now_in(connection)
    if any(each.fate is Fate.SENDING and each.lease_until > now for each in group):
        because = "The same input is being submitted in this moment."
        return Finding(FindingKind.BUSY, because)
    found = _candidates(connection, group, history, ahead)
    if any(each.json_input is None for each in found):
        because = "fal's history does not show the inputs of requests."
        return Finding(FindingKind.UNREADABLE, because)
    like = [(each, likeness_of(each)) for each in found]
    mine = group[0].body_digest
    if perhaps := [each for each, how in like if how.digest == mine and how.has_more]:
        ids = ", ".join(each.request_id for each in perhaps)
        because = (
            "fal's history shows what may be it: this input with more fields than were sent, or "
            f"without an id that can be read ({ids})."
        )
        return Finding(FindingKind.SEVERAL, because)
    equal = [each for each, how in like if how.digest == mine]
    pairs = _pair(group, equal, ahead)
    if pairs is None:
        kind = FindingKind.SEVERAL if equal else FindingKind.NONE
        return Finding(kind, _unclear(len(equal), len(group)))
    for missing, request in pairs:
        adopt_request(connection, missing, ticket_of(missing, request.request_id, request.sent_at))
    return Finding(FindingKind.ADOPTED)


def _candidates(
    connection: Connection, group: Sequence[Attempt], history: History, ahead: timedelta
) -> list[PastRequest]:
    """The requests in the group's windows that no attempt has."""
    windows = [window_of(each) for each in group]
    inside = [
        request
        for request in history.requests
        if any(window.holds(request.sent_at - ahead) for window in windows)
    ]
    ids = [request.request_id for request in inside]
    taken = owned_requests(connection, group[0].realm, ids)
    return [request for request in inside if request.request_id not in taken]


@dataclass(frozen=True)
class Likeness:
    """What a request of the history asked for, to be compared with what this package sends.

    Args:
        digest: The digest of its input, with the defaults that were left out filled in, and without
            fields that its endpoint's typed input has not; None if the history does not show it.
        has_more: Whether there are such fields, or its id cannot be read: then it may be an equal
            request, or another one, and is not adopted.
    """

    digest: str | None
    has_more: bool = False


def likeness_of(request: PastRequest) -> Likeness:
    """What a request asked for, compared on the fields that this package sends."""
    given = request.json_input
    if given is None:
        return Likeness(None)
    read = read_request(request.endpoint_id, given)
    if read is None:
        return Likeness(digest_of(given), has_more=not request.is_named)
    asked, more = read
    return Likeness(digest_of(asked.body), has_more=bool(more) or not request.is_named)


def _pair(
    group: Sequence[Attempt], requests: Sequence[PastRequest], ahead: timedelta
) -> list[tuple[Attempt, PastRequest]] | None:
    """As many requests as attempts, each within its attempt's window; else nothing."""
    if len(group) != len(requests):
        return None
    attempts = sorted(group, key=lambda each: window_of(each).start)
    pairs = list(zip(attempts, sorted(requests, key=lambda each: each.sent_at), strict=True))
    fits = (window_of(one).holds(request.sent_at - ahead) for one, request in pairs)
    return pairs if all(fits) else None


def _unclear(requests: int, attempts: int) -> str:
    many = "no request" if requests == 0 else f"{requests} request{'s' * (requests > 1)}"
    few = "1 attempt misses" if attempts == 1 else f"{attempts} attempts miss"
    return (
        f"fal's history shows {many} of this input in the time of its POST that nobody claims, "
        f"and {few} one."
    )


def ticket_of(one: Attempt, request_id: str, sent_at: datetime | None = None) -> Ticket:
    """The ticket of a request that was found for an attempt.

    Args:
        one: The attempt.
        request_id: fal's id of the request.
        sent_at: When it was sent, if that is known.
    """
    return Ticket(
        endpoint=one.endpoint,
        request_id=request_id,
        realm=one.realm,
        account=one.account,
        submitted_at=sent_at,
        input=one.body and with_identities(one.body),
        take=one.take,
        labels=one.labels,
        key=one.key,
        price_usd=one.estimated_usd,
    )
