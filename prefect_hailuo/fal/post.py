"""Where money is spent: one POST, sent once, and what its answer means."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import httpx
from pydantic import TypeAdapter

from prefect_hailuo.clock import RealTime
from prefect_hailuo.errors import (
    Billed,
    FalError,
    MalformedReplyError,
    RequestRefusedError,
    SubmitUnknownError,
    UnreachableError,
)
from prefect_hailuo.fal.hosts import Access, without_key
from prefect_hailuo.fal.messages import Accepted, Output
from prefect_hailuo.fal.replies import check_realm, check_request_realm, error_of, excerpt, parse
from prefect_hailuo.fal.transport import CONNECT_SECONDS, USER_AGENT, send

T = TypeVar("T")

# httpx's own transport raises these before a connection stands: nothing was sent.
NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

DEFINITE_REFUSALS = frozenset({401, 402, 403, 422, 429})
"""What fal says of a request that it does not take, in its own shape: a proxy that has sent the
request on may answer the same of itself."""

NOT_HERE = frozenset({404, 405})
"""The same of an endpoint that there is not; where the answer names a request, there is one."""

HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}

REQUEST_HEADER = "x-fal-request-id"

NO_SUCH_ENDPOINT = (
    "Check the endpoint's id, and that fal still has it: https://fal.ai/models. Nothing was bought."
)

BeforeSending = Callable[[], Awaitable[None]]

FIRST_BYTE = "send_request_headers.started"
"""httpcore's event right before the first byte of a request; the protocol's name precedes it."""

BODY_BEGINS = "send_request_body.started"
"""Its event before the body, without which a request is none."""

CONNECTING = ("connection.", "proxy.", "socks.")
"""How the names of httpcore's earlier events begin."""

ACCEPTED = TypeAdapter(Accepted)
OUTPUT = TypeAdapter(Output)


async def nothing() -> None:
    """Do nothing before sending."""


class _Gate:
    """httpcore's `trace` extension: it awaits a call before the first byte is sent.

    The timer that ends a POST stands still while the machine sleeps, and the lease in the ledger
    does not. So the clocks are asked once more before the head is sent, and before the body is.

    Through a proxy that happens twice: the proxy is sent a request of its own first.

    Attributes:
        reached: Whether httpcore raised the event of the first byte at all.
        passed: Whether the first byte may have left. An httpcore that names the event otherwise
            sends it without having reached the gate.
    """

    def __init__(self, before_sending: BeforeSending, seconds: float) -> None:
        self._before_sending = before_sending
        self._seconds = seconds
        self._time = RealTime()
        self.reached = False
        self.passed = False

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(FIRST_BYTE):
            self.reached = True
            await self._before_sending()
            # If that took longer than there was time for, nothing is sent, and that is known.
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._check_awake()
            self.passed = True
        elif event.endswith(BODY_BEGINS):
            self._check_awake()
        elif not self.reached and not event.startswith(CONNECTING):
            self.passed = True

    def _check_awake(self) -> None:
        """Send nothing once the time is over: while this machine slept, another may have bought."""
        if self._time.elapsed > self._seconds:
            raise TimeoutError("the machine slept")


async def post_once(
    transport: httpx.AsyncBaseTransport,
    access: Access,
    url: httpx.URL,
    body: dict[str, Any],
    headers: dict[str, str],
    seconds: float,
    before_sending: BeforeSending = nothing,
) -> httpx.Response:
    """The one function that spends money. It sends one POST, once, and never again.

    `accepted` and `synchronous_output` tell what the answer means.

    Args:
        transport: httpx's own, whose connection errors mean what they say.
        access: The key.
        url: Where to.
        body: The input.
        headers: Further request headers; they cannot replace the key.
        seconds: The hard limit for all of it, connection included.
        before_sending: Awaited when the connection stands and no byte of the request has left. If
            it raises, nothing is sent.

    Raises:
        UnreachableError: No connection stood; nothing was sent.
        SubmitUnknownError: It went out, and its answer was lost.
        RealmMismatchError: The answer is of the other realm.
    """
    all_headers = httpx.Headers({**HEADERS, **headers})
    all_headers.update(access.authorization)
    # A wait for a free connection ends well before that, so that its error is its own.
    timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS, pool=seconds / 2)
    gate = _Gate(before_sending, seconds)
    options = {"timeout": timeout.as_dict(), "trace": gate}
    request = httpx.Request("POST", url, json=body, headers=all_headers, extensions=options)
    try:
        with anyio.fail_after(seconds):
            response = await without_key(send(transport, request), access)
    except NOTHING_SENT as error:
        seen = excerpt(str(error), access)
        raise UnreachableError(f"No connection to {url.host} stood: {seen}.") from error
    except (httpx.HTTPError, TimeoutError) as error:
        # The error may show what came, and that may repeat the key.
        seen = excerpt(f"{type(error).__name__}: {error}", access)
        if not gate.passed:
            raise UnreachableError(f"Nothing was sent to {url.host} ({seen}).") from error
        raise SubmitUnknownError(f"The answer to the submission was lost ({seen}).") from error
    if not gate.reached:
        raise _ungated()
    check_realm(response, access)
    return response


def _id_in(response: httpx.Response) -> str:
    """The request's id in an answer that is otherwise unusable."""
    try:
        body = json.loads(response.text)
    except (ValueError, RecursionError):
        return ""
    named = body.get("request_id") if isinstance(body, dict) else None
    return named if isinstance(named, str) else ""


def _ungated() -> SubmitUnknownError:
    """`before_sending` was not called, so the ledger does not know that it was sent."""
    return SubmitUnknownError(
        f"It was sent, and httpcore {version('httpcore')} did not say when it began to "
        f"(no event {FIRST_BYTE!r}); install a release of httpcore that does."
    )


def accepted(response: httpx.Response, access: Access) -> Accepted:
    """fal's answer to a submission, if it accepted it.

    Raises:
        FalError: fal certainly refused it; nothing was bought.
        SubmitUnknownError: The answer says neither yes nor no.
        RealmMismatchError: It is of the other realm.
    """
    if not response.is_success:
        error = error_of(response, access)
        if is_refusal(response, error):
            raise _refusal(response, error)
        raise _unknown(response, access, error)
    reply = _parse_paid(response, ACCEPTED, access)
    check_request_realm(reply.request_id, access)
    return reply


def synchronous_output(response: httpx.Response, access: Access) -> Output:
    """The output in fal's answer to a synchronous call.

    Raises:
        FalError: fal refused it. Or the model refused it or failed, and it may be charged.
        SubmitUnknownError: A proxy may have answered, so the outcome is not known.
    """
    if response.is_success:
        return _parse_paid(response, OUTPUT, access)
    error = error_of(response, access)
    if error.error_type is not None:
        raise error
    if is_refusal(response, error):
        # A model answers 422 for itself, and may charge for it.
        raise error if response.status_code == 422 else _refusal(response, error)
    raise _unknown(response, access, error)


def is_refusal(response: httpx.Response, error: FalError) -> bool:
    """Whether fal certainly took no request.

    Args:
        response: The answer to the POST.
        error: What it stands for.
    """
    if not error.in_fals_shape:
        return False
    if response.status_code in NOT_HERE:
        named = REQUEST_HEADER in response.headers or "request_id" in response.text
        missing = response.status_code == 405 or "application" in error.message.lower()
        return missing and not named
    if response.status_code == 402:
        return REQUEST_HEADER not in response.headers
    return response.status_code in DEFINITE_REFUSALS


def _refusal(response: httpx.Response, error: FalError) -> FalError:
    """A refusal of the POST itself: there was no request, so there was nothing to charge."""
    if response.status_code in NOT_HERE:
        error = RequestRefusedError(error.message, cure=NO_SUCH_ENDPOINT)
    if "x-fal-billable-units" not in response.headers:
        error.billed = Billed.NO
    return error


def _parse_paid(response: httpx.Response, adapter: TypeAdapter[T], access: Access) -> T:
    try:
        return parse(response, adapter, access)
    except MalformedReplyError as error:
        raise _unknown(response, access, error) from error


def _unknown(response: httpx.Response, access: Access, error: FalError) -> SubmitUnknownError:
    """The answer is not clear, but it may still name the request."""
    named = excerpt(response.headers.get(REQUEST_HEADER, "") or _id_in(response), access)
    request = f" It is said to be request {named}." if named else ""
    return SubmitUnknownError(f"What became of the request is not known: {error.message}{request}")
