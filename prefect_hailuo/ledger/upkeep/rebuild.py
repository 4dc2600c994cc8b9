"""Rebuilding a lost ledger from fal's request history.

Every request that the history shows becomes a row, so that none is bought again and all the money
is counted. fal does not know which take a request was: they all become requests of the ordinary
take. The first one that succeeded is its key's attempt, and the others are its duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import Connection, select

from prefect_hailuo.errors import (
    Billed,
    HailuoError,
    ParkedError,
    RequestCancelledError,
)
from prefect_hailuo.fal.platform import PastRequest, PlatformClient
from prefect_hailuo.ledger.attempt import Fate, Rerun, describe, digest_of, moment
from prefect_hailuo.ledger.beginning import ORDINARY_TAKE
from prefect_hailuo.ledger.database import Part
from prefect_hailuo.ledger.tables import (
    add_attempt,
    attempt,
    latest_attempt,
    lock_or_make_key,
    now_in,
    owned_requests,
)
from prefect_hailuo.ledger.tail import HISTORY_DAYS
from prefect_hailuo.models.catalogue import CATALOGUE, read_request
from prefect_hailuo.models.image import with_identities
from prefect_hailuo.models.key import generation_key
from prefect_hailuo.models.request import Request
from prefect_hailuo.ticket import Realm, Ticket

RESULT, SUCCESS, UNDER_WAY, FAILED = range(4)
"""What a request is worth, the best first: its result is there; it succeeded; it goes on; none."""


@dataclass(frozen=True)
class Past:
    """A request of the history, with what it asked for.

    Args:
        request: The request.
        asked: What it asked for, with the defaults filled in.
        more: The fields that it has besides, which this package does not send.
    """

    request: PastRequest
    asked: Request
    more: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """How much it is worth, 0 the most."""
        status = self.request.status_code or 0
        if self.more:
            return FAILED
        if status == 200:
            return RESULT if self.request.output else SUCCESS
        return FAILED if status >= 400 else UNDER_WAY


def became(past: Past) -> dict[str, Any]:
    """What a row says of how a request ended."""
    ended_at = past.request.ended_at
    ended = {"ended_at": ended_at.timestamp() if ended_at else None}
    output = past.request.output
    if output is not None and past.rank == RESULT:
        return {
            "fate": Fate.SUCCEEDED,
            "billed": Billed.YES,
            "output": output.model_dump(mode="json"),
            "cost_usd": past.asked.price_usd,
            "cost_basis": "estimate",
        }
    if past.rank < FAILED:
        return {"fate": Fate.SUBMITTED}
    ours = not past.more or _failed(past)
    error: HailuoError = past.request.failure() if ours else _may_be_ours(past)
    cancelled = isinstance(error, RequestCancelledError)
    unbilled = error.billed is Billed.NO
    return {
        **ended,
        "fate": Fate.CANCELLED if cancelled else Fate.FAILED,
        "billed": error.billed,
        "error": describe(error),
        "cost_usd": Decimal(0) if unbilled else None,
        "cost_basis": "unbilled" if unbilled else "unknown",
    }


def _failed(past: Past) -> bool:
    return (past.request.status_code or 0) >= 400


def _may_be_ours(past: Past) -> ParkedError:
    return ParkedError(
        f"fal's history shows it with more fields than this package sends ({', '.join(past.more)}),"
        " so it may be this input's request, or another's.",
        cure=f"If it is this one's: prefect-hailuo ledger resolve KEY --adopt "
        f"{past.request.request_id}.",
        billed=Billed.UNKNOWN,
    )


HISTORY_SECONDS = 600.0
"""How long one endpoint's history may take to read: it may have many pages."""

Outcome = Literal["attempt", "duplicate", "known", "searched", "unreadable", "foreign"]
"""Entered as its key's attempt; or as a duplicate; already in the ledger; left to reconciling, for
an attempt misses a request like it; without an input or an id that can be read; or with an input
that no task could send."""

UNENTERED = (Fate.INTENDED, Fate.SENDING, Fate.AMBIGUOUS)


@dataclass(frozen=True)
class Rebuilt:
    """What became of one request of the history.

    Args:
        endpoint: fal's endpoint id.
        request_id: fal's id of it.
        sent_at: When it was sent.
        outcome: What became of it here.
        key: The key that it is entered under; None if it is not.
        fate: How far it had come; None if it is not entered.
        cost_usd: What it is taken to have cost; None while that is open or not known.
    """

    endpoint: str
    request_id: str
    sent_at: datetime
    outcome: Outcome
    key: str | None = None
    fate: Fate | None = None
    cost_usd: Decimal | None = None


class Rebuilding(Part):
    """Enters what an account bought and this ledger does not know."""

    async def rebuild(
        self,
        platform: PlatformClient,
        *,
        days: float = HISTORY_DAYS,
        scope: str = "default",
        credentials: str | None = None,
    ) -> list[Rebuilt]:
        """Enter the requests of every endpoint in the catalogue; it may be repeated at will.

        Args:
            platform: fal's platform API, with the account's key.
            days: How far back to look.
            scope: Whose budget they are counted on.
            credentials: The saved credentials block's name, if it is one.

        Raises:
            FalError: fal's history could not be read.
            LedgerError: The ledger cannot be used.
        """
        start = moment(await self._database.read(now_in)) - timedelta(days=days)
        entering = _Entering(platform.access.realm, platform.access.account, scope, credentials)
        found: list[Rebuilt] = []
        for endpoint in list(CATALOGUE):
            history = await platform.history(endpoint, start, timeout_seconds=HISTORY_SECONDS)
            found += await self._database.write(entering.enter, history.requests)
        return found


@dataclass(frozen=True)
class _Entering:
    realm: Realm
    account: str
    scope: str
    credentials: str | None

    def enter(self, connection: Connection, requests: Sequence[PastRequest]) -> list[Rebuilt]:
        readable, others = _sorted_out(requests)
        for _, group in groupby(readable, key=lambda past: digest_of(past.asked.body)):
            others += self._enter_equal(connection, list(group))
        return sorted(others, key=lambda each: each.sent_at)

    def _enter_equal(self, connection: Connection, equal: list[Past]) -> list[Rebuilt]:
        """Enter the requests of one input."""
        key = generation_key(equal[0].asked, realm=self.realm, take=ORDINARY_TAKE)
        lock_or_make_key(connection, key)
        # Before the next question: meanwhile an attempt of another take may get its ticket, and
        # then it misses none any more, and owns what is asked for.
        missed = self._is_missed(connection, equal[0])
        ids = [past.request.request_id for past in equal]
        known = owned_requests(connection, self.realm, ids)
        free = [past for past in equal if past.request.request_id not in known]
        done = [_rebuilt(past, "known") for past in equal if past.request.request_id in known]
        if missed:
            return done + [_rebuilt(past, "searched") for past in free]
        chosen = self._chosen(connection, key, free)
        for past in sorted(free, key=lambda each: each is not chosen):
            done.append(self._add(connection, key, past, duplicate=past is not chosen))
        return done

    def _is_missed(self, connection: Connection, past: Past) -> bool:
        """Whether an attempt of any take misses a request with this input."""
        found = connection.execute(
            select(attempt.c.key).where(
                attempt.c.realm == self.realm,
                attempt.c.body_digest == digest_of(past.asked.body),
                attempt.c.request_id.is_(None),
                attempt.c.fate.in_(UNENTERED),
            )
        )
        return found.first() is not None

    def _chosen(self, connection: Connection, key: str, free: list[Past]) -> Past | None:
        """The request that decides what a rerun does; None where an attempt already does."""
        if not free:
            return None
        best = min(free, key=lambda past: past.rank)
        if best.rank == FAILED:
            best = free[-1]  # how it failed last
        latest = latest_attempt(connection, key)
        if latest is None:
            return best
        closed = latest.rerun in (Rerun.BUY, Rerun.RAISE)
        return best if closed and best.rank < FAILED else None

    def _add(self, connection: Connection, key: str, past: Past, *, duplicate: bool) -> Rebuilt:
        row = {
            **self._asked(key, past),
            **became(past),
            "duplicate": duplicate,
            "adopted": True,
        }
        add_attempt(connection, row)
        return _rebuilt(past, "duplicate" if duplicate else "attempt", row)

    def _asked(self, key: str, past: Past) -> dict[str, Any]:
        body, sent_at = dict(past.asked.body), past.request.sent_at
        ticket = Ticket(
            endpoint=past.request.endpoint_id,
            request_id=past.request.request_id,
            realm=self.realm,
            account=self.account,
            submitted_at=sent_at,
            input=with_identities(body),
            take=ORDINARY_TAKE,
            key=key,
            price_usd=past.asked.price_usd,
            expected_seconds=past.asked.expected_seconds,
        )
        return {
            "key": key,
            "realm": self.realm,
            "endpoint": ticket.endpoint,
            "account": self.account,
            "credentials": self.credentials,
            "scope": self.scope,
            "take": ORDINARY_TAKE,
            "body": body,
            "body_digest": digest_of(body),
            "labels": {},
            "lease_until": 0.0,
            **dict.fromkeys(("intended_at", "sent_at", "submitted_at"), sent_at.timestamp()),
            "request_id": ticket.request_id,
            "ticket": ticket.model_dump(mode="json"),
            "estimated_usd": past.asked.price_usd,
        }


def _sorted_out(requests: Sequence[PastRequest]) -> tuple[list[Past], list[Rebuilt]]:
    """Those whose input can be read, by input and time; and the others."""
    readable: list[Past] = []
    others: list[Rebuilt] = []
    for request in requests:
        if request.json_input is None or not request.is_named:
            others.append(_rebuilt(request, "unreadable"))
            continue
        read = read_request(request.endpoint_id, request.json_input)
        if read is None:
            others.append(_rebuilt(request, "foreign"))
        else:
            readable.append(Past(request, *read))
    readable.sort(key=lambda past: (digest_of(past.asked.body), past.request.sent_at))
    return readable, others


def _rebuilt(
    one: Past | PastRequest, outcome: Outcome, row: dict[str, Any] | None = None
) -> Rebuilt:
    request = one.request if isinstance(one, Past) else one
    row = row or {}
    return Rebuilt(
        endpoint=request.endpoint_id,
        request_id=request.request_id,
        sent_at=request.sent_at,
        outcome=outcome,
        key=row.get("key"),
        fate=row.get("fate"),
        cost_usd=row.get("cost_usd"),
    )
