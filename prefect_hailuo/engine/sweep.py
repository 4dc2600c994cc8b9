"""The sweep: it looks after attempts that no process waits for any more. It never buys.

It adopts lost requests, collects finished videos, and cancels requests that nobody wants.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from prefect_hailuo.clock import Clock, SystemClock
from prefect_hailuo.engine.collect import ForgottenError, check_known, collect, fresh_file
from prefect_hailuo.engine.keep import keep
from prefect_hailuo.engine.loop import Connections, Emit, ignore
from prefect_hailuo.engine.order import FindPlace
from prefect_hailuo.engine.session import Session
from prefect_hailuo.engine.wait import describe_status
from prefect_hailuo.errors import (
    DownloadError,
    GenerationTimeoutError,
    HailuoError,
    LedgerError,
    ParkedError,
    RequestCancelledError,
    RequestNotFoundError,
    StorageError,
    UnreachableError,
    VideoExpiredError,
)
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Cancellation, Completed
from prefect_hailuo.ledger.attempt import Attempt, Fate, storable
from prefect_hailuo.models.catalogue import model_name
from prefect_hailuo.storage.place import Place
from prefect_hailuo.storage.store import VideoStore
from prefect_hailuo.ticket import Realm

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledger

AT_ONCE = 10
"""How many attempts are looked after at the same time."""

ASK_SECONDS = 20.0
"""How long fal is asked how a request stands, or to cancel it."""

COLLECT_SECONDS = 120.0
"""How long the result of a completed request is asked for."""


@dataclass(frozen=True)
class SweepRow:
    """What a sweep did for one attempt.

    Args:
        key: The generation's key.
        attempt: Which attempt of it.
        model: The endpoint's short name.
        endpoint: fal's endpoint id.
        request_id: fal's id of the request, where it is known.
        outcome: Such as `collected`, `cancelled`, `parked`, `still running`.
        cost_usd: What it costs, by the ledger.
        detail: More, for people.
    """

    key: str
    attempt: int
    model: str
    endpoint: str
    request_id: str | None
    outcome: str
    cost_usd: Decimal
    detail: str


class Sweep:
    """Goes through a ledger's open attempts.

    Args:
        ledger: The ledger.
        realm: Whose purchases.
        accesses: The accounts whose keys are at hand, by label.
        connections: What the process shares.
        find_place: Finds the places that the ledger names.
        default_place: Where a video goes whose place cannot be found.
        reconcile_seconds: How long a lost request is looked for, counted from its POST.
        emit: Called with events.
        clock: What waiting is measured with.
    """

    def __init__(
        self,
        ledger: Ledger,
        realm: Realm,
        accesses: Mapping[str, Access],
        connections: Connections,
        *,
        find_place: FindPlace,
        default_place: Place,
        reconcile_seconds: float,
        emit: Emit = ignore,
        clock: Clock | None = None,
    ) -> None:
        self._ledger = ledger
        self._realm = realm
        self._accesses = accesses
        self._connections = connections
        self._find_place = find_place
        self._default_place = default_place
        self._reconcile_seconds = reconcile_seconds
        self._emit = emit
        self._clock: Clock = clock or SystemClock()

    async def run(self, cancelled: Collection[str] = ()) -> list[SweepRow]:
        """Adopt lost requests, collect finished videos, cancel what nobody wants.

        Args:
            cancelled: The flow runs that Prefect says were cancelled.
        """
        voided = await self._ledger.unfinished.lapse(self._realm)
        rows = [_row(one, "void", "nothing was sent") for one in voided]
        rows += await self.cancel(cancelled)
        left = await self._ledger.unfinished.attempts(self._realm)
        return rows + await self._each(left, self._look_after)

    async def cancel(self, cancelled: Collection[str]) -> list[SweepRow]:
        """Cancel at fal what only cancelled flow runs wanted; collect what is done all the same.

        Args:
            cancelled: Flow runs that were cancelled, besides those in the ledger.
        """
        if cancelled:
            await self._ledger.waiters.withdraw(cancelled)
        unwanted = await self._ledger.waiters.unwanted(self._realm)
        return await self._each(unwanted, self._cancel)

    async def _each(
        self, attempts: Sequence[Attempt], do: Callable[[Attempt, Access], Awaitable[SweepRow]]
    ) -> list[SweepRow]:
        """Do something for each attempt whose account's key is at hand, several at once."""
        rows: dict[int, SweepRow] = {}
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def one_of_them(place: int, one: Attempt) -> None:
            async with limiter:
                rows[place] = await self._with_key(one, do)

        async with anyio.create_task_group() as tasks:
            for place, one in enumerate(attempts):
                tasks.start_soon(one_of_them, place, one)
        return [rows[place] for place in sorted(rows)]

    async def _with_key(
        self, one: Attempt, do: Callable[[Attempt, Access], Awaitable[SweepRow]]
    ) -> SweepRow:
        access = self._accesses.get(one.account)
        if access is None:
            return _row(one, "no key", f"the credentials of the account {one.account} are needed")
        try:
            return await do(one, access)
        except LedgerError:
            raise  # nothing else will go better
        except HailuoError as error:
            now = await self._ledger.claims.attempt(one.key, one.number)
            return _row(now or one, _OUTCOMES.get(type(error), "failed"), error.message)
        except Exception as error:  # whatever is wrong with one, the others are looked after
            return _row(one, "failed", storable(f"{type(error).__name__}: {error}"))

    async def _cancel(self, one: Attempt, access: Access) -> SweepRow:
        if not await self._ledger.waiters.is_unwanted(one.key):
            return _row(one, "waited for", "somebody wants it again")
        client = self._session(access).client
        answer = await client.cancel(one.open_ticket(), timeout_seconds=ASK_SECONDS)
        await self._ledger.waiters.record_cancellation(one, answer)
        if answer is Cancellation.REMOVED:
            return _row(one, "cancelled", "taken from the queue; nothing was charged", Decimal(0))
        if answer is Cancellation.TOO_LATE:
            return await self._collect(one, access)
        return _row(one, "cancelling", f"fal said {answer.value}")

    async def _look_after(self, one: Attempt, access: Access) -> SweepRow:
        if await self._ledger.waiters.is_awaited(one.key):
            return _row(one, "waited for", "a process that is alive waits for it")
        if one.fate is Fate.AMBIGUOUS:
            return await self._find(one, access)
        if one.fate is Fate.SUBMITTED:
            client = self._session(access).client
            with suppress(RequestNotFoundError):  # of which collecting knows more
                status = await client.status(one.open_ticket(), timeout_seconds=ASK_SECONDS)
                if not isinstance(status, Completed):
                    return _row(one, "still running", describe_status(status))
        return await self._collect(one, access)

    async def _find(self, one: Attempt, access: Access) -> SweepRow:
        search = self._ledger.reconciling(self._session(access).platform, self._clock)
        finding = await search.search(one, self._reconcile_seconds)
        if not finding.adopted:
            await self._ledger.records.parked(one, finding.because)
            return _row(one, "parked", finding.because)
        found = await self._ledger.claims.attempt(one.key, one.number)
        if found is None or found.fate is not Fate.SUBMITTED:
            return _row(found or one, "found", "by another process")
        after = await self._look_after(found, access)
        return replace(after, outcome=f"adopted, {after.outcome}")

    async def _collect(self, one: Attempt, access: Access) -> SweepRow:
        session = self._session(access)
        try:
            await check_known(session, one)
            output, completed = await collect(session, _to_ask_for(one), COLLECT_SECONDS)
        except ForgottenError:
            return _row(one, "forgotten", "the emulator was restarted", Decimal(0))
        # It may ask Prefect's API, which no other generation must wait for.
        found = await anyio.to_thread.run_sync(self._find_place, one.place or "")
        place = found or self._default_place
        store = VideoStore(self._connections.downloads, place, self._clock, hosts=access.hosts)
        ticket = one.open_ticket()
        video = await keep(
            self._ledger,
            store,
            self._find_place,
            self._emit,
            ticket,
            output,
            completed,
            renew=partial(fresh_file, session, one, completed),
        )
        return _row(one, "collected", video.place)

    def _session(self, access: Access) -> Session:
        return Session(access, self._ledger.address, self._connections, self._emit, self._clock)


def _to_ask_for(one: Attempt) -> Attempt:
    """An attempt without a webhook: a sweep is there for calls that were lost, so it asks fal."""
    return replace(one, ticket=one.open_ticket().model_copy(update={"webhook_url": None}))


_OUTCOMES: dict[type[HailuoError], str] = {
    ParkedError: "parked",
    RequestCancelledError: "cancelled",
    GenerationTimeoutError: "no answer",
    UnreachableError: "no answer",
    DownloadError: "download failed",
    VideoExpiredError: "expired",
    StorageError: "storage failed",
}
"""What errors are called in a sweep's table; any other is a failure at fal."""


def _row(one: Attempt, outcome: str, detail: str, cost_usd: Decimal | None = None) -> SweepRow:
    return SweepRow(
        key=one.key,
        attempt=one.number,
        model=model_name(one.endpoint),
        endpoint=one.endpoint,
        request_id=one.request_id,
        outcome=outcome,
        cost_usd=one.counted_usd if cost_usd is None else cost_usd,
        detail=detail,
    )
