"""The sweep: what is to be done for attempts that nobody looks after any more. It never buys.

From a call of fal's to the ledger. Nothing here buys, and nothing asks fal but for its keys.

A person's decision about an attempt that nothing else can decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import anyio
import anyio.to_thread

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.engine.collect import Collecting, ForgottenError
from prefect_hailuo.engine.keep import Keeping
from prefect_hailuo.engine.loop import Connections, Emit, ignore
from prefect_hailuo.engine.order import FindPlace
from prefect_hailuo.engine.wait import describe_status
from prefect_hailuo.errors import (
    AbandonedError,
    Billed,
    ConfigurationError,
    DownloadError,
    GenerationTimeoutError,
    HailuoError,
    LedgerError,
    OtherAccountError,
    ParkedError,
    RequestCancelledError,
    RequestNotFoundError,
    StorageError,
    UnreachableError,
    VideoExpiredError,
)
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Cancellation, Completed
from prefect_hailuo.fal.platform import PastRequest, PlatformClient
from prefect_hailuo.fal.webhooks import (
    Call,
    RefusedCallError,
    Signed,
    WebhookKeys,
    call_in,
    check_realm_of,
)
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.attempt import Attempt, Fate, is_parked, moment, storable
from prefect_hailuo.ledger.beginning import HISTORY_DAYS, move_imported
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.ledger.search import Reconciling, body_digest_of
from prefect_hailuo.models.catalogue import model_name
from prefect_hailuo.models.image import with_identities
from prefect_hailuo.models.key import shown_key
from prefect_hailuo.storage.place import Place
from prefect_hailuo.storage.store import Storing
from prefect_hailuo.ticket import Realm, Ticket

EARLY_SECONDS = 2.0
"""How long a request is looked for whose ticket may be on its way into the ledger; after that, fal
is told to call again."""

EARLY_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Taken:
    """A call that was taken.

    Args:
        attempt: Whose request it is about.
        news: Whether the ledger did not know yet.
        runs: The flow runs that have waited for the video.
    """

    attempt: Attempt
    news: bool
    runs: tuple[str, ...]

    @property
    def request_id(self) -> str:
        """fal's id of the request."""
        return self.attempt.request_id or ""


class Receiving:
    """Takes calls.

    Args:
        realm: Whose requests they may be about.
        rest_url: Where that realm's public keys are.
        ledger: Where the requests are written down.
        clock: What waiting is measured with.
    """

    def __init__(
        self, realm: Realm, rest_url: str, ledger: LedgerAddress, clock: Clock | None = None
    ) -> None:
        self._realm = realm
        self._ledger = ledger
        self._clock: Clock = clock or SystemClock()
        self._keys = WebhookKeys(rest_url, realm, self._clock)

    async def take(
        self, headers: Mapping[str, str], body: bytes, connections: Connections
    ) -> Taken:
        """Check a call, and write down what it tells; a second time, it changes nothing.

        Args:
            headers: Their names in lower case.
            body: As it came.
            connections: What the process shares.

        Raises:
            RefusedCallError: It is not fal's, or about no request that is written down here.
            HailuoError: The keys or the ledger cannot be reached now.
        """
        signed = Signed.of(headers)
        signed.check_time()
        await self._keys.check(signed, body, connections.http)
        call = call_in(body)
        ids = call.request_ids(signed)
        check_realm_of(ids, self._realm)
        ledger = connections.ledgers.at(self._ledger)
        one = await self._find(ledger, ids)
        # A video is news also where an error was told before it: it is paid for.
        untold = one.completed is None or call.output is not None
        news = one.fate in (Fate.SUBMITTED, Fate.CANCELLED) and untold
        if news:
            await self._write(ledger, one, call)
        return Taken(one, news, tuple(await ledger.completions.runs_wanting(one.key)))

    async def _find(self, ledger: Ledger, ids: Sequence[str]) -> Attempt:
        deadline = Deadline(EARLY_SECONDS, self._clock)
        while True:
            for request_id in ids:
                if one := await ledger.records.of_request(self._realm, request_id):
                    return one
            if deadline.passed:
                raise RefusedCallError("The ledger knows no such request, or not yet.", 404)
            await deadline.sleep(EARLY_PAUSE_SECONDS)

    async def _write(self, ledger: Ledger, one: Attempt, call: Call) -> None:
        """Write a result down; of anything else, that it is there to be asked for.

        What a failure cost only the headers of its result tell: a call has none.
        """
        if call.output is not None:
            await ledger.records.succeeded(one, call.output, call.completed)
        else:
            await ledger.completions.note(one, call.completed)


FAL_SECONDS = 30.0
"""How long fal is asked about a request."""

NOTHING_DONE = "Nothing was changed."


class RefusedError(ConfigurationError):
    """The decision cannot be carried out; nothing was changed."""


@dataclass(frozen=True)
class Resolving:
    """Carries out decisions about the latest attempt of a key.

    Args:
        ledger: The ledger.
        key: The generation's key.
        number: The attempt that the person looked at; None: whichever is the latest.
    """

    ledger: Ledger
    key: str
    number: int | None = None

    async def latest(self) -> Attempt:
        """The attempt that is decided about.

        Raises:
            RefusedError: It is not the one that the person looked at, or needs no decision.
        """
        one = await self.ledger.claims.latest(self.key)
        if one is None:
            raise RefusedError(f"There is no attempt of {shown_key(self.key)}.", cure=NOTHING_DONE)
        if self.number not in (None, one.number):
            raise self._changed(f"attempt {one.number} ({one.fate}) is the latest")
        await self._check_undecided(one)
        return one

    async def allow(self) -> Attempt:
        """Allow one more purchase in place of the latest attempt."""
        one = await self.latest()
        missing = one.request_id is None
        if not await self.ledger.claims.consent(one.key, one.number, unfound=missing):
            raise self._changed("another attempt was made, or its request was found")
        return one

    async def abandon(self) -> Attempt:
        """Give the latest attempt up; it counts as spent."""
        one = await self.latest()
        if one.fate in (Fate.FAILED, Fate.FORGOTTEN):
            raise RefusedError(
                f"Attempt {one.number} of {shown_key(one.key)} has {one.fate} already.",
                cure=NOTHING_DONE,
            )
        error = AbandonedError(f"Attempt {one.number} was given up by a person's decision.")
        if not await self.ledger.records.abandoned(one, error):
            raise self._changed("it went on")
        return one

    async def adopt(
        self, request_id: str, access: Access, connections: Connections, *, force: bool = False
    ) -> Attempt:
        """Give the latest attempt a request that the person found at fal.

        Args:
            request_id: fal's id of it.
            access: The key of the attempt's account.
            connections: What the process shares.
            force: Whether to take the person's word where fal's history does not show the
                request's input.

        Raises:
            RefusedError: fal knows no such request of this account, it is of another input, or
                it belongs to another attempt.
        """
        one = await self.latest()
        if moved := await move_imported(self.ledger.database, one, request_id):
            return moved
        await self._check_free(one, request_id)
        if access.account != one.account:
            raise OtherAccountError(
                f"Attempt {one.number} was made with the account {one.account!r}; these "
                f"credentials are of the account {access.account!r}.",
                cure=f"Name that account's with --credentials. {NOTHING_DONE}",
            )
        ticket = _ticket(one, request_id)
        past = await _past_of(one, request_id, PlatformClient(access, connections.http))
        if past is not None and past.json_input is not None:
            _check_input(one, past)
            ticket = ticket.model_copy(update={"submitted_at": past.sent_at})
        else:
            await _check_known(ticket, connections.client(access))
            if not force:
                raise _unseen(request_id)
        adopted = await self.ledger.records.adopted(one, ticket)
        if adopted is None:
            raise self._changed("the request was given to another attempt")
        return adopted

    async def _check_undecided(self, one: Attempt) -> None:
        what = f"Attempt {one.number} of {shown_key(one.key)}"
        if one.fate is Fate.STORED:
            raise RefusedError(
                f"{what} is stored: there is nothing to decide.",
                cure="For another video, pass another take; where its file is lost, call with "
                "on_lost='resubmit'.",
            )
        if await self.ledger.claims.still_open(one):
            raise RefusedError(
                f"{what} is being submitted in this moment.", cure="Look again in a minute."
            )
        if one.fate in (Fate.INTENDED, Fate.SENDING):
            raise RefusedError(
                f"{what} was left by a process that ended, and nobody looked for it yet.",
                cure="First let that be done: run it again, or prefect-hailuo ledger reconcile.",
            )
        if one.fate in (Fate.SUBMITTED, Fate.SUCCEEDED) and not is_parked(one):
            raise RefusedError(
                f"{what} is at fal as {one.request_id}, and needs no decision.",
                cure="Run it again: that collects the video, and buys nothing.",
            )

    async def _check_free(self, one: Attempt, request_id: str) -> None:
        owner = await self.ledger.records.of_request(one.realm, request_id)
        mistaken = owner is not None and owner.fate in (Fate.FAILED, Fate.CANCELLED)
        if owner is None or (owner.key == one.key and mistaken):
            return
        whose = "this key" if owner.key == one.key else f"the key {shown_key(owner.key)}"
        raise RefusedError(
            f"The request {request_id} belongs to attempt {owner.number} of {whose} already.",
            cure=f"One request is never given to two attempts. {NOTHING_DONE}",
        )

    def _changed(self, how: str) -> RefusedError:
        return RefusedError(
            f"The key {shown_key(self.key)} is no longer as you saw it: {how}.",
            cure=f"Look again: prefect-hailuo ledger show {shown_key(self.key)}. {NOTHING_DONE}",
        )


def _ticket(one: Attempt, request_id: str) -> Ticket:
    return Ticket(
        endpoint=one.endpoint,
        request_id=request_id,
        realm=one.realm,
        account=one.account,
        input=one.body and with_identities(one.body),
        take=one.take,
        labels=one.labels,
    )


async def _past_of(one: Attempt, request_id: str, platform: PlatformClient) -> PastRequest | None:
    """The request as fal's history shows it, if it does."""
    start = moment(one.sent_at or one.intended_at) - timedelta(days=HISTORY_DAYS)
    try:
        history = await platform.history(
            one.endpoint, start, request_id=request_id, timeout_seconds=FAL_SECONDS
        )
    except HailuoError as error:
        if error.billed is not Billed.NO or isinstance(error, ConfigurationError):
            raise
        return None  # its status may still tell that it is there
    found = [past for past in history.requests if past.request_id == request_id]
    return found[0] if found else None


def _check_input(one: Attempt, past: PastRequest) -> None:
    if body_digest_of(past) == one.body_digest:
        return
    prompt = (past.json_input or {}).get("prompt")
    raise RefusedError(
        f"The request {past.request_id} is of another input; its prompt is {prompt!r}.",
        cure=f"Adopt the one that was sent with this key's input. {NOTHING_DONE}",
    )


async def _check_known(ticket: Ticket, client: AsyncFalClient) -> None:
    try:
        await client.status(ticket, logs=False, timeout_seconds=FAL_SECONDS)
    except RequestNotFoundError as error:
        raise RefusedError(
            f"fal knows no request {ticket.request_id} of this account.",
            cure="Check the id at https://fal.ai/dashboard/requests, and that the key is of the "
            f"account that sent it. {NOTHING_DONE}",
        ) from error


def _unseen(request_id: str) -> RefusedError:
    return RefusedError(
        f"fal knows the request {request_id}, and its history does not show what it was asked "
        "for, so that nobody can check that it is this key's.",
        cure=f"If you are sure, adopt it with --force. {NOTHING_DONE}",
    )


AT_ONCE = 10
"""Attempts that are looked after at the same time."""

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
    """Goes through a ledger's loose ends.

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
        """Adopt what is lost, collect what is done, cancel what nobody wants.

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
            cancelled: Flow runs that were cancelled, beside those that the ledger knows of.
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
        client = self._connections.client(access, self._clock)
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
            client = self._connections.client(access, self._clock)
            with suppress(RequestNotFoundError):  # of which collecting knows more
                status = await client.status(one.open_ticket(), timeout_seconds=ASK_SECONDS)
                if not isinstance(status, Completed):
                    return _row(one, "still running", describe_status(status))
        return await self._collect(one, access)

    async def _find(self, one: Attempt, access: Access) -> SweepRow:
        platform = PlatformClient(access, self._connections.http, self._clock)
        search = Reconciling(self._ledger.database, platform, self._clock)
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
        collecting = Collecting(access, self._ledger, self._connections, self._emit, self._clock)
        try:
            await collecting.check_known(one)
            output, completed = await collecting.collect(_to_ask_for(one), COLLECT_SECONDS)
        except ForgottenError:
            return _row(one, "forgotten", "the emulator was restarted", Decimal(0))
        # It may ask Prefect's API, which no other generation must wait for.
        found = await anyio.to_thread.run_sync(self._find_place, one.place or "")
        place = found or self._default_place
        storing = Storing(self._connections.downloads, place, self._clock)
        keeping = Keeping(self._ledger, storing, self._find_place, self._emit)
        video = await keeping.keep(one.open_ticket(), output, completed)
        return _row(one, "collected", video.place)


def _to_ask_for(one: Attempt) -> Attempt:
    """An attempt as one that fal tells nobody of: a sweep is there for calls that were lost."""
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
