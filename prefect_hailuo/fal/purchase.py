"""Where money is spent: one POST, sent once, and what its answer means."""

from __future__ import annotations

from typing import Any, TypeVar

import anyio
import httpx
from pydantic import TypeAdapter

from prefect_hailuo.errors import (
    Billed,
    FalError,
    HailuoError,
    MalformedReplyError,
    SubmitUnknownError,
    UnreachableError,
)
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Accepted, Output
from prefect_hailuo.fal.replies import check_realm, check_request_realm, error_of, excerpt, parse
from prefect_hailuo.fal.transport import CONNECT_SECONDS

T = TypeVar("T")

# By httpx's own transport these are raised before a connection stood, so that nothing was sent.
NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

DEFINITE_REFUSALS = frozenset({401, 403, 422, 429})

ACCEPTED = TypeAdapter(Accepted)
OUTPUT = TypeAdapter(Output)


async def post_once(
    http: httpx.AsyncClient,
    access: Access,
    url: httpx.URL,
    body: dict[str, Any],
    headers: dict[str, str],
    seconds: float,
) -> httpx.Response:
    """The one function that spends money. It sends one POST, once, and never again.

    Args:
        http: A client on httpx's own transport, whose connection errors mean what they say.
        access: The key.
        url: Where to.
        body: The input.
        headers: Request headers beside the key.
        seconds: The hard total limit, connection included.

    Raises:
        UnreachableError: No connection stood; nothing was sent.
        FalError: fal refused it for certain; nothing was bought.
        SubmitUnknownError: It went out, and what became of it is not known.
    """
    try:
        with anyio.fail_after(seconds):
            response = await http.post(
                url,
                json=body,
                headers={**headers, **access.authorization},
                timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
            )
    except NOTHING_SENT as error:
        raise UnreachableError(f"No connection to {url.host} stood: {error}.") from error
    except (httpx.HTTPError, TimeoutError) as error:
        raise SubmitUnknownError(
            f"The answer to the submission was lost ({type(error).__name__}: {error})."
        ) from error
    check_realm(response, access)
    if response.status_code in DEFINITE_REFUSALS:
        raise _refusal(response, access)
    return response


def accepted(response: httpx.Response, access: Access) -> Accepted:
    """What fal's answer to a submission says.

    Raises:
        SubmitUnknownError: It says neither yes nor no.
        RealmMismatchError: It is of the other realm.
    """
    if not response.is_success:
        raise SubmitUnknownError(
            f"What became of the submission is not known: {error_of(response, access).message}"
        )
    reply = _parse_paid(response, ACCEPTED, access)
    check_request_realm(reply.request_id, access)
    return reply


def synchronous_output(response: httpx.Response, access: Access) -> Output:
    """What fal's answer to a synchronous call holds.

    Raises:
        FalError: fal or the model refused it, or failed.
        SubmitUnknownError: The answer is not fal's, so the outcome is not known.
    """
    if response.is_success:
        return _parse_paid(response, OUTPUT, access)
    raise _failure(response, access)


def _failure(response: httpx.Response, access: Access) -> HailuoError:
    error = error_of(response, access)
    if response.status_code < 500 or error.error_type is not None:
        return error
    came = excerpt(response.text, access)
    return SubmitUnknownError(f"The answer was lost (HTTP {response.status_code}: {came}).")


def _refusal(response: httpx.Response, access: Access) -> FalError:
    """A refusal of the POST itself: no request came to be, so there was nothing to charge."""
    error = error_of(response, access)
    if "x-fal-billable-units" not in response.headers:
        error.billed = Billed.NO
    return error


def _parse_paid(response: httpx.Response, adapter: TypeAdapter[T], access: Access) -> T:
    try:
        return parse(response, adapter, access)
    except MalformedReplyError as error:
        raise SubmitUnknownError(f"fal took the request. {error.message}") from error
