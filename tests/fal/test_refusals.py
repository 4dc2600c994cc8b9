"""What fal's refusals cost, by the emulator's own account; and when to come back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from raw_server import BODY, ENDPOINT, HurriedClock, RawServer, answer

from prefect_hailuo import errors
from prefect_hailuo.emulator import (
    FalEmulator,
    Fault,
    expire_result,
    fail_inside,
    refuse,
    refuse_content,
    refuse_without_credit,
    time_out,
)
from prefect_hailuo.errors import Billed, HailuoError, InputRefusedError
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.ticket import Ticket


def in_seconds(seconds: int) -> str:
    """An HTTP date so far from now."""
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("given", "least", "most"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        # Counted from when the tests were collected, which may be a while ago.
        (in_seconds(7200), 3600, 7200),
        (in_seconds(7200).replace("GMT", "-0000"), 3600, 7200),
        (in_seconds(-90), 0, 0),
        ("-3", 0, 0),
        ("1e9", 3600, 3600),
        ("inf", 3600, 3600),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 3600, 3600),
        ("soon", None, None),
        (None, None, None),
    ],
    # Dates of this moment differ from process to process; names do not.
    ids=[
        "7",
        "0.5",
        "a date",
        "a date of no zone",
        "a past date",
        "-3",
        "1e9",
        "inf",
        "2099",
        "soon",
        "None",
    ],
)
async def test_fal_says_when_to_come_back(
    given: str | None, least: float | None, most: float | None
) -> None:
    """`Retry-After` is a number of seconds or a date; what is neither says nothing."""
    headers = {"Retry-After": given} if given else {}
    with RawServer(answer(429, {"detail": "Too many requests"}, headers)) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(errors.RateLimitedError, match="or run fewer at once") as caught:
                await client.submit(ENDPOINT, BODY)
    after = caught.value.retry_after
    assert after == least or (after and least and most and least <= after <= most)
    assert (caught.value.billed, caught.value.retryable) == (Billed.NO, True)


MODELS = {
    "input": (None, InputRefusedError, Billed.NO, 0),
    "content": (refuse_content(), errors.ContentPolicyError, Billed.NO, 0),
    "content, charged": (refuse_content(charged=True), errors.ContentPolicyError, Billed.YES, 1),
    "inside": (fail_inside(), errors.FalFaultError, Billed.NO, 0),
    "too long": (time_out(), errors.FalFaultError, Billed.NO, 0),
    "expired": (expire_result(), errors.RequestNotFoundError, Billed.UNKNOWN, 1),
    "locked": (
        refuse_without_credit("result", count=None),
        errors.GenerationTimeoutError,
        Billed.UNKNOWN,
        1,
    ),
    "key": (
        refuse("result", 401, "invalid key", count=None),
        errors.GenerationTimeoutError,
        Billed.UNKNOWN,
        1,
    ),
}


@pytest.mark.parametrize(("fault", "kind", "billed", "charged"), MODELS.values(), ids=list(MODELS))
async def test_what_an_error_says_it_cost_is_what_fal_charged(
    fault: Fault | None, kind: type[HailuoError], billed: Billed, charged: int
) -> None:
    """A yes was charged, a no was not, and what refuses the reading alone claims neither."""
    body = BODY if fault else {"prompt": "x" * 2001}
    with FalEmulator(speed=100_000, clip=b"", faults=[fault] if fault else []) as emulator:
        access = emulator.credentials().access()
        async with AsyncFalClient(access, clock=HurriedClock()) as client:
            ticket = await client.submit(ENDPOINT, body)
            [*_, _] = [status async for status in client.stream(ticket)]
            with pytest.raises(kind) as caught:
                await client.result(ticket)
        assert emulator.charged == charged
    assert caught.value.billed is billed
    assert caught.value.ticket == ticket


async def test_a_result_asked_for_too_early_is_not_ready() -> None:
    """The result of a request that is being worked on is an error that says to wait."""
    with FalEmulator(clip=b"") as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            ticket = await client.submit(ENDPOINT, BODY)
            with pytest.raises(errors.NotReadyError, match="still in progress"):
                await client.result(ticket)


async def test_what_was_cancelled_says_so() -> None:
    """A request taken from the queue has a result: that it was cancelled, by whom it was."""
    with FalEmulator(clip=b"", concurrency=1) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            await client.submit(ENDPOINT, BODY)
            ticket: Ticket = await client.submit(ENDPOINT, BODY)
            assert await client.cancel(ticket) is Cancellation.REMOVED
            with pytest.raises(errors.RequestCancelledError, match="Request was cancelled"):
                await client.result(ticket)
        assert emulator.charged == 0
