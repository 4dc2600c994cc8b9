"""The lost tail: what an account sent since the ledger's newest row, and the ledger does not know.

A ledger may be an older copy of itself: put back from a backup, a replica that was promoted, the
file of a worker that was meant for another ledger. What was bought since is in fal's history alone.
That history is read once for each process, account and endpoint, before the first purchase of a key
that the ledger does not have. Requests without an attempt are written down as strays, for all
processes: the next one would take its own first purchase for the ledger's newest row. A stray has
no attempt until a call asks for the same video; then it is adopted, or the key is closed, and
nothing is bought.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import anyio
from sqlalchemy import Connection, delete, func, select

from prefect_hailuo.errors import Billed, GenerationTimeoutError, HailuoError, LedgerError
from prefect_hailuo.fal.platform import History, PastRequest, PlatformClient
from prefect_hailuo.ledger.attempt import Purchase, moment
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.search import likeness_of
from prefect_hailuo.ledger.tables import (
    among,
    attempt,
    history,
    insert_once,
    now_in,
    origin,
    owned_requests,
    stray,
)
from prefect_hailuo.ticket import Realm

HISTORY_DAYS = 30
"""How long fal keeps requests with their payloads, by its documentation as gathered 2026-08."""

MARGIN = timedelta(seconds=60)
"""How much before the newest row the history is read: rows of many processes are committed in
another order than they were intended in, and fal's clock is known to the second only."""

NEVER = 0.0
"""The time of reading that stands for a history which need not be read."""


@dataclass(frozen=True)
class Since:
    """From when on the ledger may have lost something.

    Args:
        at: Since then; None where a person said that the past does not matter, and there is no row.
        is_skipped: Whether a person said so: then a history that cannot be read stops nothing.
    """

    at: float | None
    is_skipped: bool


class Tail:
    """Reads what was sent since the ledger's newest row, once for all calls of a process.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_in: dict[tuple[str, str], int] = {}
        self._failures: defaultdict[tuple[str, str], tuple[int, HailuoError | None]]
        self._failures = defaultdict(lambda: (0, None))
        self._locks: defaultdict[tuple[str, str], anyio.Lock] = defaultdict(anyio.Lock)

    async def look(self, purchase: Purchase, platform: PlatformClient) -> None:
        """Have the strays of a purchase's account and endpoint written down.

        Args:
            purchase: What is about to be bought.
            platform: fal's platform API, with the key of the account that would pay.

        Raises:
            FalError: fal's history could not be read.
            GenerationTimeoutError: Not in time.
            LedgerError: The ledger cannot be used.
        """
        if self.is_read(purchase):
            return
        which = purchase.account, purchase.endpoint
        seen, _ = self._failures[which]
        async with self._locks[which]:
            if self.is_read(purchase):
                return
            failures, failure = self._failures[which]
            if failure is not None and failures != seen:
                raise copy(failure)  # asked once for all who waited
            try:
                # Again, where it was connected to anew meanwhile: it may have become an older copy.
                while not self.is_read(purchase):
                    await self._read(purchase, platform)
            except HailuoError as error:
                self._failures[which] = (failures + 1, error)
                raise

    def is_read(self, purchase: Purchase) -> bool:
        """Whether it was read already, since the last time that the database was connected to."""
        which = purchase.account, purchase.endpoint
        return self._read_in.get(which) == self._database.connected

    def _note_read(self, purchase: Purchase, connected: int) -> None:
        self._read_in[purchase.account, purchase.endpoint] = connected

    async def _read(self, purchase: Purchase, platform: PlatformClient) -> None:
        since = await self._database.read(since_of, purchase)
        connected = self._database.connected
        if since.at is not None:
            try:
                await self._ask(purchase, since.at, platform)
            except HailuoError as error:
                if isinstance(error, LedgerError) or not since.is_skipped:
                    raise
        self._note_read(purchase, connected)

    async def _ask(self, purchase: Purchase, since: float, platform: PlatformClient) -> None:
        start = moment(since) - MARGIN
        past = await self._history(purchase, start, platform)
        ahead = past.fal_now - moment(await self._database.read(now_in))
        if ahead < -MARGIN:  # by fal's clock it was earlier
            past = await self._history(purchase, start + ahead, platform)
        sent = [on_our_clock(each, ahead) for each in past.requests]
        await self._database.write(_enter, purchase, sent, since)

    async def _history(
        self, purchase: Purchase, start: datetime, platform: PlatformClient
    ) -> History:
        try:
            return await platform.history(purchase.endpoint, start)
        except GenerationTimeoutError as error:
            raise _unread(error.message) from error

    async def enter(self, purchase: Purchase, requests: Sequence[PastRequest]) -> None:
        """Write down which requests of an endpoint's whole history are no attempt's.

        Args:
            purchase: One of the account and endpoint.
            requests: Its history, with when each was sent by the database's clock.
        """
        await self._database.write(_enter, purchase, requests)
        self._note_read(purchase, self._database.connected)


def on_our_clock(request: PastRequest, ahead: timedelta) -> PastRequest:
    """A request as it was sent by the database's clock.

    Args:
        request: The request.
        ahead: How far fal's clock is ahead of it.
    """
    return request.model_copy(update={"sent_at": request.sent_at - ahead})


def since_of(connection: Connection, purchase: Purchase) -> Since:
    """From when on this ledger may have lost requests of a purchase's account and endpoint."""
    mine = (
        (attempt.c.realm == purchase.realm)
        & (attempt.c.account == purchase.account)
        & (attempt.c.endpoint == purchase.endpoint)
    )
    newest = connection.execute(select(func.max(attempt.c.intended_at)).where(mine)).scalar()
    which = {"realm": purchase.realm, "account": purchase.account}
    read_at = connection.execute(select(history.c.read_at).filter_by(**which)).scalar()
    known = [each for each in (newest, read_at) if each]
    if not known and read_at == NEVER:
        return Since(None, is_skipped=True)
    began_at: float = connection.execute(select(origin.c.began_at)).scalar_one()
    kept = now_in(connection) - timedelta(days=HISTORY_DAYS).total_seconds()
    return Since(max([*known, kept] if known else [began_at, kept]), read_at == NEVER)


def _enter(
    connection: Connection,
    purchase: Purchase,
    requests: Sequence[PastRequest],
    since: float | None = None,
) -> None:
    if since is None:
        since = since_of(connection, purchase).at
    if since is None:
        return
    first = moment(since) - MARGIN
    late = [each for each in requests if each.sent_at >= first and _may_have_cost(each)]
    owned = owned_requests(connection, purchase.realm, [each.request_id for each in late])
    rows = [_row(purchase, each) for each in late if each.request_id not in owned]
    if rows:
        connection.execute(insert_once(connection, stray), rows)
    forgotten = now_in(connection) - timedelta(days=HISTORY_DAYS).total_seconds()
    connection.execute(delete(stray).where(stray.c.sent_at < forgotten))


def _may_have_cost(request: PastRequest) -> bool:
    failed = (request.status_code or 0) >= 400
    return not failed or request.failure().billed is not Billed.NO


def _row(purchase: Purchase, request: PastRequest) -> dict[str, Any]:
    likeness = likeness_of(request)
    return {
        "realm": purchase.realm,
        "request_id": request.request_id,
        "account": purchase.account,
        "endpoint": purchase.endpoint,
        "body_digest": likeness.digest,
        "has_more": likeness.has_more,
        "sent_at": request.sent_at.timestamp(),
    }


@dataclass(frozen=True)
class Stray:
    """A request that no attempt has, and that asked for what a purchase asks for.

    Args:
        request_id: fal's id of it.
        sent_at: When it was sent, in seconds since 1970 by the database's clock.
        has_more: Whether fal's history shows more fields of it than this package sends.
    """

    request_id: str
    sent_at: float
    has_more: bool


def strays_like(connection: Connection, purchases: Sequence[Purchase]) -> list[list[Stray]]:
    """The strays that each purchase may have made, owned or not by now."""
    digests = {each.body_digest for each in purchases}
    columns = (stray.c.realm, stray.c.account, stray.c.endpoint, stray.c.body_digest)
    found = connection.execute(
        select(*columns, stray.c.request_id, stray.c.sent_at, stray.c.has_more).where(
            among(connection, stray.c.body_digest, digests)
        )
    ).all()
    return [
        [
            Stray(*row[4:])
            for row in found
            if tuple(row[:4]) == (each.realm, each.account, each.endpoint, each.body_digest)
        ]
        for each in purchases
    ]


def forget_strays(connection: Connection, realm: Realm, account: str) -> None:
    """Drop an account's strays for good, because a person said that they do not matter."""
    which = (stray.c.realm == realm) & (stray.c.account == account)
    connection.execute(delete(stray).where(which))


def _unread(why: str) -> GenerationTimeoutError:
    return GenerationTimeoutError(
        "Whether this ledger is an older copy of itself, fal's history since its newest row tells, "
        f"which could not be read: {why} Nothing was bought.",
        cure="Try again later; or import the history once, which may take longer: prefect-hailuo "
        "ledger import; or, if this ledger has lost nothing: prefect-hailuo ledger import --skip.",
        billed=Billed.NO,
        retryable=True,
    )
