"""From a request at fal to its result, written down as it is learned."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from prefect_hailuo.clock import Clock, Deadline
from prefect_hailuo.engine.acquire import parked_error
from prefect_hailuo.engine.loop import Connections, Emit
from prefect_hailuo.engine.wait import is_forgotten, wait_for
from prefect_hailuo.errors import (
    Billed,
    FalError,
    FalFaultError,
    GenerationTimeoutError,
    HailuoError,
    InputRefusedError,
    LedgerError,
    NotReadyError,
    OtherAccountError,
    ParkedError,
    RequestCancelledError,
    RequestNotFoundError,
    RequestRefusedError,
    about,
)
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Completed, Output
from prefect_hailuo.fal.platform import PastRequest, PlatformClient
from prefect_hailuo.ledger.attempt import Attempt, Fate, moment
from prefect_hailuo.ledger.records import latest_durations
from prefect_hailuo.ticket import Ticket

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledger

LEAST_FETCH_SECONDS = 60.0
"""How long the result of a completed request is asked for at least: it is paid for by then."""

FAILURE_SECONDS = 20.0
"""How long the reason of a failure is asked for, when fal answers with a bare 5xx."""

SETTLING_SECONDS = 5.0
"""How long fal may have no result yet of what it just called completed."""

SETTLING_PAUSE_SECONDS = 0.5

EMULATOR_SECONDS = 10.0
"""How long an emulator is asked whether it knows a request."""

FINAL = (InputRefusedError, RequestRefusedError, RequestCancelledError, FalFaultError)
"""What a result may say that no later question will change, if it is fal that says it."""

OF_THE_MODEL = (InputRefusedError, RequestCancelledError)
"""What only fal says: its shape is a model's, or the queue's."""


class ForgottenError(Exception):
    """The emulator was restarted and knows the request no longer."""


class Collecting:
    """One account's way from a ticket to a result.

    Args:
        access: The account.
        ledger: Where it is written down.
        connections: What the process shares.
        emit: Called with events.
        clock: What waiting is measured with.
        watched: Whether somebody looks at each request by itself.
    """

    def __init__(
        self,
        access: Access,
        ledger: Ledger,
        connections: Connections,
        emit: Emit,
        clock: Clock,
        *,
        watched: bool = True,
    ) -> None:
        self._ledger = ledger
        self._watched = watched
        self._supervisor = connections.supervisor
        self._emit = emit
        self._clock = clock
        self._client = connections.client(access, clock)
        self._platform = PlatformClient(access, connections.http, clock)

    async def collect(
        self, one: Attempt, timeout_seconds: float, completed: Completed | None = None
    ) -> tuple[Output, Completed]:
        """An attempt's result: the one that is written down, or fal's, once it is there.

        Args:
            one: The attempt; it has a ticket.
            timeout_seconds: How long to wait for fal.
            completed: How it completed, if that is known already.

        Raises:
            ForgottenError: Its emulator was restarted.
            ParkedError: fal has lost the result.
            HailuoError: By kind, as `prefect_hailuo.errors` draws them.
        """
        if one.output is not None:
            return one.output, one.completed or Completed()
        ticket = self._mine(one.open_ticket())
        deadline = Deadline(timeout_seconds, self._clock)
        try:
            completed = completed or one.completed or await self.wait(ticket, deadline.remaining)
            if ticket.webhook_url and (told := await self._ledger.completions.output_of(ticket)):
                return told, completed
            left = max(deadline.remaining, LEAST_FETCH_SECONDS)
            output = await self._result(one, completed, left)
        except RequestNotFoundError as error:
            completed, output = Completed(), await self._look_elsewhere(one, error)
        await self._ledger.records.succeeded(one, output, completed)
        return output, completed

    async def check_known(self, one: Attempt) -> None:
        """Before a recorded result is downloaded: ask an emulator whether it is still the one.

        Raises:
            ForgottenError: It was restarted.
        """
        if one.realm != "emulator" or one.output is None:
            return
        try:
            await self._client.status(one.open_ticket(), timeout_seconds=EMULATOR_SECONDS)
        except RequestNotFoundError as error:
            if is_forgotten(one.open_ticket(), error):
                await self._ledger.records.forgotten(one)
                raise ForgottenError from error

    async def wait(self, ticket: Ticket, timeout_seconds: float) -> Completed:
        """Wait until a request has completed, one way or another.

        Raises:
            GenerationTimeoutError: It takes longer than `timeout_seconds`; it carries the ticket.
            FalError: fal refused to say how it stands.
        """
        deadline = Deadline(timeout_seconds, self._clock)
        mine = self._mine(ticket)
        if mine.webhook_url is None:
            await self._learn(mine.endpoint)
        return await wait_for(
            self._client,
            mine,
            deadline,
            self._supervisor,
            self._emit,
            watched=self._watched,
            told=self._ledger.completions if mine.webhook_url else None,
        )

    async def fetch(
        self, ticket: Ticket, completed: Completed | None, timeout_seconds: float
    ) -> Output:
        """The result of a completed request.

        Args:
            ticket: The request.
            completed: How it completed, if known: a failure is then reported at once.
            timeout_seconds: How long transient faults are waited out.

        Raises:
            HailuoError: As `AsyncFalClient.result` does.
        """
        settling = Deadline(SETTLING_SECONDS if completed else 0.0, self._clock)
        while True:
            try:
                return await self._fetch(ticket, completed, timeout_seconds)
            except (NotReadyError, RequestNotFoundError) as error:
                gone = isinstance(error, RequestNotFoundError) and is_forgotten(ticket, error)
                if gone or settling.passed:
                    raise
            await settling.sleep(SETTLING_PAUSE_SECONDS)

    async def _learn(self, endpoint: str) -> None:
        """The first who waits for an endpoint looks up how long it took; others do not wait."""
        access = self._client.access
        news = self._supervisor.is_news(access, endpoint, self._clock)
        if not news or access.realm != "fal":  # an emulator's time may go faster
            return
        with suppress(LedgerError):
            observed = await latest_durations(self._ledger.database, endpoint)
            self._supervisor.learn(access, endpoint, self._clock, observed)

    def _mine(self, ticket: Ticket) -> Ticket:
        """The ticket, if it is this account's: of another's, fal would say that it is not there.

        Raises:
            OtherAccountError: It is another's.
        """
        mine = self._client.access.account
        if ticket.account not in (None, mine):
            raise OtherAccountError(
                f"The request {ticket.request_id} is the account {ticket.account!r}'s; these "
                f"credentials are of the account {mine!r}.",
                billed=Billed.UNKNOWN,
                ticket=ticket,
            )
        return ticket

    async def _fetch(
        self, ticket: Ticket, completed: Completed | None, timeout_seconds: float
    ) -> Output:
        failed = completed is not None and (completed.error or completed.error_type)
        patience = min(FAILURE_SECONDS, timeout_seconds) if failed else timeout_seconds
        try:
            return await self._client.result(ticket, timeout_seconds=patience)
        except GenerationTimeoutError as error:
            if failed and isinstance(error.__cause__, FalFaultError):
                # It may be the failure, or something between us and fal: the cost stays open.
                error.__cause__.billed = Billed.UNKNOWN
                raise error.__cause__ from None
            raise
        except FalFaultError as error:
            if completed is not None and not failed:
                # It had completed without an error, so that there may well be a paid video.
                error.billed = Billed.UNKNOWN
            raise

    async def _result(self, one: Attempt, completed: Completed, timeout_seconds: float) -> Output:
        """The result; a failure is written down, if it is one for certain."""
        try:
            return await self.fetch(one.open_ticket(), completed, timeout_seconds)
        except FINAL as error:
            failed = completed.error or completed.error_type
            if not (failed or isinstance(error, OF_THE_MODEL)):
                return await self._doubt(one, error)
            failure = await self._failure(one, error)
            if failure is error:
                raise  # not from itself: whoever follows its causes, as Dask does, would never end
            raise failure from error

    async def _doubt(self, one: Attempt, error: FalError) -> Output:
        """What to make of one odd answer, when fal has called the request completed and not failed.

        It may come from something between fal and here: the request history tells. Otherwise
        nothing is written down, and a later call asks again.

        Raises:
            FalError: The request failed, or that is not known.
        """
        error.billed = Billed.UNKNOWN
        try:
            past = await self._past(one)
        except HailuoError:
            raise error from None
        if output := past and past.output:
            return output
        if past is None or (past.status_code or 0) < 400:
            raise error
        raise await self._failure(one, _failure_of(past, one.open_ticket())) from error

    async def _failure(self, one: Attempt, error: FalError) -> FalError | ParkedError:
        """Write a failure down; the error to raise for it."""
        if isinstance(error, RequestCancelledError) and one.fate is Fate.CANCELLED:
            if one.billed is Billed.NO:  # it never left the queue, and that is written down
                error.billed = Billed.NO
                return error
            because = "it was cancelled, and whether fal charged for it is not known."
            return await self._parked(one, because)
        await self._ledger.records.failed(one, error)
        return error

    async def _look_elsewhere(self, one: Attempt, error: RequestNotFoundError) -> Output:
        """The result of a request that the queue does not know: from the request history.

        Raises:
            ForgottenError: It was an emulator's that was restarted.
            FalError: By the history, it failed.
            ParkedError: It is not there either.
        """
        ticket = one.open_ticket()
        if is_forgotten(ticket, error):
            await self._ledger.records.forgotten(one)
            raise ForgottenError from error
        try:
            past = await self._past(one)
        except HailuoError as unread:
            because = f"fal has its result no longer, and its history could not be read: {unread}"
            raise await self._parked(one, because) from error
        if output := past and past.output:
            return output
        if past is not None and (past.status_code or 0) >= 400:
            raise await self._failure(one, _failure_of(past, ticket)) from error
        if past is not None and past.ended_at is None:
            early = NotReadyError("By fal's history, it is still under way.", ticket=ticket)
            raise early from error
        raise await self._parked(one, "fal has its result no longer.") from error

    async def _past(self, one: Attempt) -> PastRequest | None:
        """The request in the account's history, if it is listed there."""
        start = moment(one.sent_at or one.intended_at) - timedelta(days=1)
        history = await self._platform.history(one.endpoint, start, request_id=one.request_id)
        found = [each for each in history.requests if each.request_id == one.request_id]
        return found[0] if found else None

    async def _parked(self, one: Attempt, because: str) -> ParkedError:
        await self._ledger.records.parked(one, because)
        return parked_error(one, because)


def _failure_of(past: PastRequest, ticket: Ticket) -> FalError:
    """A failure of which only the history still knows."""
    message = f"By fal's request history, it ended with HTTP {past.status_code}."
    if (past.status_code or 0) == 499:
        return about(ticket, RequestCancelledError(message))
    if (past.status_code or 0) >= 500:
        return about(ticket, FalFaultError(message, billed=Billed.NO))
    return about(ticket, InputRefusedError(message))
