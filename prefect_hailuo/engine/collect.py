"""From a request at fal to its result, written down as it is learned."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial

from prefect_hailuo.clock import Deadline
from prefect_hailuo.engine.acquire import parked_error
from prefect_hailuo.engine.session import Session
from prefect_hailuo.engine.wait import check_mine, is_forgotten, wait
from prefect_hailuo.errors import (
    Billed,
    FalError,
    FalFaultError,
    GenerationTimeoutError,
    HailuoError,
    InputRefusedError,
    NotReadyError,
    ParkedError,
    RateLimitedError,
    RequestCancelledError,
    RequestNotFoundError,
    RequestRefusedError,
    about,
)
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS
from prefect_hailuo.fal.messages import Completed, File, Output
from prefect_hailuo.fal.platform import PastRequest
from prefect_hailuo.fal.retry import pause_until, retry
from prefect_hailuo.ledger.attempt import Attempt, Fate, moment
from prefect_hailuo.ticket import Ticket

LEAST_FETCH_SECONDS = 60.0
"""How long the result of a completed request is asked for at least: it is paid for by then."""

FAILURE_SECONDS = 20.0
"""How long the reason of a failure is asked for, when fal answers with a bare 5xx."""

SETTLING_SECONDS = 5.0
"""How long fal may have no result yet of what it just called completed."""

SETTLING_PAUSE_SECONDS = 0.5

EMULATOR_SECONDS = 10.0
"""How long an emulator is asked whether it knows a request."""

RENEW_SECONDS = 30.0
"""How long fal is asked for a fresh link, each time."""

FINAL = (InputRefusedError, RequestRefusedError, RequestCancelledError, FalFaultError)
"""Errors that are final, if it is fal that answers with them."""

OF_THE_MODEL = (InputRefusedError, RequestCancelledError)
"""Errors that only fal answers with: their shape is a model's, or the queue's."""


class ForgottenError(Exception):
    """The emulator was restarted and knows the request no longer."""


async def collect(
    session: Session, one: Attempt, timeout_seconds: float, completed: Completed | None = None
) -> tuple[Output, Completed]:
    """An attempt's result: the one that is written down, or fal's, once it is there.

    Args:
        session: The account that the request belongs to.
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
    ticket = one.open_ticket()
    check_mine(session, ticket)
    deadline = Deadline(timeout_seconds, session.clock)
    try:
        completed = completed or one.completed or await wait(session, ticket, deadline.remaining)
        if ticket.webhook_url and (told := await session.ledger.completions.output_of(ticket)):
            return told, completed
        left = max(deadline.remaining, LEAST_FETCH_SECONDS)
        output = await _result(session, one, completed, left)
    except RequestNotFoundError as error:
        completed, output = Completed(), await _look_elsewhere(session, one, error)
    await session.ledger.records.succeeded(one, output, completed)
    return output, completed


async def fresh_file(
    session: Session, one: Attempt, completed: Completed | None, bad: str
) -> File | None:
    """An attempt's file under another link than a bad one: by its result, or by the history.

    Args:
        session: The account that the request belongs to.
        one: The attempt; it has a ticket.
        completed: How it completed, if that is known.
        bad: The link that does not work.

    Returns:
        None if fal was asked, and names no other.

    Raises:
        HailuoError: fal cannot be asked, or not about this account's requests.
    """
    ticket = one.open_ticket()
    check_mine(session, ticket)

    async def of_queue() -> Output | None:
        with suppress(RequestNotFoundError):
            return await session.client.result(ticket, timeout_seconds=RENEW_SECONDS)
        return None

    async def of_history() -> Output | None:
        past = await _past(session, one, RENEW_SECONDS)
        return past.output if past else None

    unread: HailuoError | None = None
    for ask in (of_queue, of_history):
        try:
            output = await ask()
        except HailuoError as error:
            unread = error
            continue
        if output is not None and output.video.url != bad:
            await session.ledger.records.succeeded(one, output, completed or Completed())
            return output.video
    if unread is not None:
        raise unread
    return None


async def check_known(session: Session, one: Attempt) -> None:
    """Before a recorded result is downloaded: ask an emulator whether it is still the one.

    Raises:
        ForgottenError: It was restarted.
    """
    if one.realm != "emulator" or one.output is None:
        return
    ticket = one.open_ticket()
    try:
        await session.client.status(ticket, timeout_seconds=EMULATOR_SECONDS)
    except RequestNotFoundError as error:
        if is_forgotten(ticket, error):
            await session.ledger.records.forgotten(one)
            raise ForgottenError from error


async def fetch_result(
    session: Session, ticket: Ticket, completed: Completed | None, timeout_seconds: float
) -> Output:
    """The result of a completed request.

    Args:
        session: The account that the request belongs to.
        ticket: The request.
        completed: How it completed, if known: a failure is then reported at once.
        timeout_seconds: How long transient faults are waited out.

    Raises:
        HailuoError: As `AsyncFalClient.result` does.
    """
    settling = Deadline(SETTLING_SECONDS if completed else 0.0, session.clock)

    def pause(attempt: int, error: Exception) -> float | None:
        missing = isinstance(error, RequestNotFoundError) and not is_forgotten(ticket, error)
        early = missing or isinstance(error, NotReadyError)
        return pause_until(settling, SETTLING_PAUSE_SECONDS) if early else None

    fetch = partial(_fetch, session, ticket, completed, timeout_seconds)
    return await retry(fetch, settling.clock, pause)


async def _fetch(
    session: Session, ticket: Ticket, completed: Completed | None, timeout_seconds: float
) -> Output:
    failed = completed is not None and (completed.error or completed.error_type)
    seconds = min(FAILURE_SECONDS, timeout_seconds) if failed else timeout_seconds
    try:
        return await session.client.result(ticket, timeout_seconds=seconds)
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


async def _result(
    session: Session, one: Attempt, completed: Completed, timeout_seconds: float
) -> Output:
    """The result; a failure is written down, if it is one for certain."""
    try:
        return await fetch_result(session, one.open_ticket(), completed, timeout_seconds)
    except GenerationTimeoutError as error:
        passing = FalFaultError | RateLimitedError
        if not isinstance(error.__cause__, FalError) or isinstance(error.__cause__, passing):
            raise
        return await _doubt(session, one, error)
    except FINAL as error:
        failed = completed.error or completed.error_type
        if not (failed or isinstance(error, OF_THE_MODEL)):
            return await _doubt(session, one, error)
        failure = await _failure(session, one, error)
        if failure is error:
            raise  # not from itself: Dask follows causes, and would never end
        raise failure from error


async def _doubt(session: Session, one: Attempt, error: HailuoError) -> Output:
    """Decide about odd answers, after fal has called the request completed and not failed.

    They may come from a proxy: the request history tells. Otherwise nothing is written down, and a
    later call asks again.

    Raises:
        FalError: The request failed, or that is not known.
    """
    error.billed = Billed.UNKNOWN
    try:
        past = await _past(session, one)
    except HailuoError:
        raise error from None
    if output := past and past.output:
        return output
    if past is None or (past.status_code or 0) < 400:
        raise error
    raise await _failure(session, one, about(one.open_ticket(), past.failure())) from error


async def _failure(session: Session, one: Attempt, error: FalError) -> FalError | ParkedError:
    """Write a failure down; the error to raise for it."""
    if isinstance(error, RequestCancelledError) and one.fate is Fate.CANCELLED:
        if one.billed is Billed.NO:  # it never left the queue, and that is written down
            error.billed = Billed.NO
            return error
        if error.billed is not Billed.NO:
            because = "it was cancelled, and whether fal charged for it is not known."
            return await _parked(session, one, because)
    await session.ledger.records.failed(one, error)
    return error


async def _look_elsewhere(session: Session, one: Attempt, error: RequestNotFoundError) -> Output:
    """The result of a request that the queue does not know: from the request history.

    Raises:
        ForgottenError: It was an emulator's that was restarted.
        FalError: By the history, it failed.
        ParkedError: It is not there either.
    """
    ticket = one.open_ticket()
    if is_forgotten(ticket, error):
        await session.ledger.records.forgotten(one)
        raise ForgottenError from error
    try:
        past = await _past(session, one)
    except HailuoError as unread:
        because = f"fal has its result no longer, and its history could not be read: {unread}"
        raise await _parked(session, one, because) from error
    if output := past and past.output:
        return output
    if past is not None and (past.status_code or 0) >= 400:
        raise await _failure(session, one, about(ticket, past.failure())) from error
    if past is not None and past.ended_at is None:
        early = NotReadyError("By fal's history, it is still under way.", ticket=ticket)
        raise early from error
    raise await _parked(session, one, "fal has its result no longer.") from error


async def _past(
    session: Session, one: Attempt, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> PastRequest | None:
    """The request in the account's history, if it is listed there."""
    start = moment(one.sent_at or one.intended_at) - timedelta(days=1)
    history = await session.platform.history(
        one.endpoint, start, request_id=one.request_id, timeout_seconds=timeout_seconds
    )
    found = [each for each in history.requests if each.request_id == one.request_id]
    return found[0] if found else None


async def _parked(session: Session, one: Attempt, because: str) -> ParkedError:
    await session.ledger.records.parked(one, because)
    return parked_error(one, because)
