"""fal's HTTP answers, read as a message, a typed error or a time."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from httpx_sse import EventSource, SSEError
from pydantic import TypeAdapter, ValidationError

from prefect_hailuo.errors import (
    BadKeyError,
    Billed,
    ContentPolicyError,
    FalError,
    FalFaultError,
    InputRefusedError,
    MalformedReplyError,
    NoCreditError,
    NotReadyError,
    Problem,
    RateLimitedError,
    RealmMismatchError,
    RequestCancelledError,
    RequestNotFoundError,
    RequestRefusedError,
)
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import (
    EMULATOR_HEADER,
    EMULATOR_PREFIX,
    STATUS,
    Completed,
    Status,
    storable_json,
)
from prefect_hailuo.fal.transport import bounded_events
from prefect_hailuo.ticket import Realm

T = TypeVar("T")

EXCERPT_CHARACTERS = 300

BYTE_ORDER_MARK = "\ufeff"

LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""A server that asks for more, such as for a date in 2099, is asked again after that."""

# Error types by https://docs.fal.ai/model-apis/errors, as gathered 2026-08.
FAULT_TYPES = {
    "internal_server_error",
    "generation_timeout",
    "downstream_service_unavailable",
    "downstream_service_error",
}

NOT_READY_TYPE = "request_in_progress"

CANCELLED_TYPES = {"client_cancelled", "client_disconnected"}


def check_realm(response: httpx.Response, access: Access) -> None:
    """Refuse an answer of the emulator to credentials for fal, and the other way round.

    Raises:
        RealmMismatchError: The answer is of the other realm.
    """
    answered: Realm = "emulator" if EMULATOR_HEADER in response.headers else "fal"
    if answered != access.realm:
        raise RealmMismatchError(
            f"The credentials are of the realm {access.realm!r}, but {response.url.host} answered "
            f"as {answered!r}.",
            billed=_billed_by(answered),
        )


def check_request_realm(request_id: str, access: Access) -> None:
    """Refuse a request id of the other realm.

    Raises:
        RealmMismatchError: The id is of the other realm.
    """
    issued: Realm = "emulator" if request_id.startswith(EMULATOR_PREFIX) else "fal"
    if issued != access.realm:
        raise RealmMismatchError(
            f"Request {request_id!r} is of the realm {issued!r}, the credentials are of "
            f"{access.realm!r}.",
            billed=_billed_by(access.realm),
        )


def _billed_by(realm: Realm) -> Billed:
    """What an unusable answer may have cost: only the emulator certainly charges nothing."""
    return Billed.NO if realm == "emulator" else Billed.UNKNOWN


def parse(response: httpx.Response, adapter: TypeAdapter[T], access: Access) -> T:
    """The message in an answer.

    Raises:
        MalformedReplyError: It is not such a message; the error shows what came.
    """
    try:
        return adapter.validate_json(response.content)
    except ValidationError:
        pass  # try the text, which may be in another encoding, and can be shown
    text = response.text.removeprefix(BYTE_ORDER_MARK)
    return parse_text(text, adapter, access, f"HTTP {response.status_code}")


def parse_text(text: str, adapter: TypeAdapter[T], access: Access, what: str) -> T:
    """The message in a text, such as an event of a stream.

    A model's log may be cut within a character, and nobody's paid video may hang on that.

    Raises:
        MalformedReplyError: It is not such a message; the error shows what came.
    """
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
    with suppress(ValueError, RecursionError):
        return adapter.validate_python(storable_json(json.loads(text)))
    # Out here: inside, its context would be the error that holds the whole answer.
    place = ".".join(str(part) for part in wrong["loc"])
    why = excerpt(f"{place} {wrong['msg']}", access)
    came = excerpt(text, access) or "nothing"
    raise MalformedReplyError(
        f"fal's answer ({what}) could not be understood: {why}. What came: {came}"
    )


async def statuses_of(response: httpx.Response, access: Access) -> AsyncGenerator[Status, None]:
    """The statuses in a stream of events, the last of which is `Completed`.

    Raises:
        MalformedReplyError: It is no stream of events.
        httpx.RequestError: It ended before the request had completed.
    """
    try:
        async with aclosing(bounded_events(response)) as pieces:
            bounded = httpx.Response(response.status_code, headers=response.headers, content=pieces)
            async for event in EventSource(bounded).aiter_sse():
                if not event.data:  # by the standard, this is no event
                    continue
                status = parse_text(event.data, STATUS, access, "an event of the stream")
                yield status
                if isinstance(status, Completed):
                    return
    except SSEError as error:
        said = excerpt(str(error), access)
        raise MalformedReplyError(f"fal sent no event stream: {said}.") from None
    raise httpx.RemoteProtocolError("The stream ended before the request had completed.")


def error_of(response: httpx.Response, access: Access) -> FalError:
    """The typed error that an answer of 300 or above stands for."""
    body = _json(access.conceal(response.text.removeprefix(BYTE_ORDER_MARK)))
    kind = _kind(response, body, access)
    message = f"fal answered HTTP {response.status_code}: {_explain(response, body, access)}."
    error = _class_of(response.status_code, body, kind)(message)
    if isinstance(error, InputRefusedError):
        error.problems = _problems(body)
    error.retry_after = retry_after(response)
    error.error_type = kind
    error.in_fals_shape = kind is not None or _in_fals_shape(body)
    error.billed = _billed(response, error)
    error.retryable = _retryable(response, error.retryable)
    if isinstance(error, RequestNotFoundError):
        error.answered_by = response.headers.get(EMULATOR_HEADER)
    return error


def _in_fals_shape(body: Any) -> bool:
    """Whether an error answer has fal's own shape."""
    if not isinstance(body, dict):
        return False
    detail = body.get("detail")
    worded = isinstance(detail, str) and detail != ""
    return worded or bool(_problems(body)) or bool(_platform_error(body)) or _is_not_found(body)


def _is_not_found(body: Any) -> bool:
    return isinstance(body, dict) and body.get("status") == "NOT_FOUND"


def _class_of(status: int, body: Any, kind: str | None) -> type[FalError]:
    if kind in CANCELLED_TYPES or status == 499:
        return RequestCancelledError
    if kind in FAULT_TYPES or status >= 500:
        return FalFaultError
    if status == 403 or status == 402:
        return NoCreditError if status == 402 or _is_locked(body) else BadKeyError
    if status == 400 and kind == NOT_READY_TYPE:
        return NotReadyError
    if _platform_error(body) and status in (404, 422):
        return RequestRefusedError  # the question: no model refused, and no request is missing
    if _problems(body) or status == 422:
        return ContentPolicyError if kind == "content_policy_violation" else InputRefusedError
    if status == 400 and "still in progress" in _detail_text(body):
        return NotReadyError
    by_status: dict[int, type[FalError]] = {
        401: BadKeyError,
        404: RequestNotFoundError,
        429: RateLimitedError,
    }
    return by_status.get(status, RequestRefusedError)


def _platform_error(body: Any) -> dict[str, Any] | None:
    """An error in the platform API's shape, which is never about a generation."""
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else None


def _is_locked(body: Any) -> bool:
    text = _detail_text(body).lower()
    return any(word in text for word in ("locked", "balance", "credit", "billing"))


def _explain(response: httpx.Response, body: Any, access: Access) -> str:
    if response.is_redirect:
        target = response.headers.get("Location", "nowhere")
        return f"a redirect to {excerpt(target, access)}, which is not followed with the key"
    problems = _problems(body)
    if problems:
        text = "; ".join(f"{p.place}: {p.msg} ({p.type})" for p in problems)
    else:
        text = _detail_text(body) or response.text or response.reason_phrase
    return excerpt(text, access).rstrip(".")


def _problems(body: Any) -> tuple[Problem, ...]:
    detail = body.get("detail") if isinstance(body, dict) else None
    if not isinstance(detail, list):
        return ()
    return tuple(_problem(entry) for entry in detail if isinstance(entry, dict))


def _problem(entry: dict[str, Any]) -> Problem:
    loc = entry.get("loc")
    place = tuple(loc) if isinstance(loc, list) else ()
    return Problem(place, str(entry.get("msg", "")), str(entry.get("type", "")))


def _detail_text(body: Any) -> str:
    """fal's own words, in any of the shapes that it uses."""
    if not isinstance(body, dict):
        return ""
    platform = _platform_error(body)
    if platform is not None:
        return str(platform.get("message") or "")
    return str(body.get("detail") or body.get("error") or body.get("status") or "")


def _kind(response: httpx.Response, body: Any, access: Access) -> str | None:
    """fal's name for the error: the request's, or that of the model's first complaint."""
    header = response.headers.get("X-Fal-Error-Type")
    if header:
        return access.conceal(str(header))
    if isinstance(body, dict) and isinstance(body.get("error_type"), str):
        return str(body["error_type"])
    problems = _problems(body)
    return problems[0].type or None if problems else None


def _billed(response: httpx.Response, error: FalError) -> Billed:
    units = response.headers.get("x-fal-billable-units", "")
    if units.replace(".", "", 1).isdecimal():
        return Billed.YES if float(units) > 0 else Billed.NO
    if isinstance(error, FalFaultError) and response.status_code < 500:
        return Billed.UNKNOWN  # fal says only of a 5xx that it is never charged
    return error.billed


def _retryable(response: httpx.Response, by_class: bool) -> bool:
    said = response.headers.get("X-Fal-Retryable", "").lower()
    if said in ("true", "false"):
        return bool(said == "true")
    return by_class or response.headers.get("X-Fal-Needs-Retry") == "1"


def _json(text: str) -> Any:
    try:
        return storable_json(json.loads(text))
    except (ValueError, RecursionError):
        return None


def excerpt(text: str, access: Access) -> str:
    """A text from outside, without secrets and cut to a readable length."""
    seen = access.conceal(" ".join(text.split()))
    return seen if len(seen) <= EXCERPT_CHARACTERS else seen[:EXCERPT_CHARACTERS] + "…"


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that fal asks to wait, from `Retry-After`: a number or an HTTP date."""
    given = response.headers.get("Retry-After")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        until = _seconds_until(given)
        if until is None:
            return None
        seconds = until
    return max(0.0, min(LONGEST_RETRY_AFTER_SECONDS, seconds))


def compression(response: httpx.Response) -> str:
    """How an answer's body is compressed; empty where it comes as it is.

    Example:
        >>> compression(httpx.Response(200, headers={"Content-Encoding": "gzip, gzip"}))
        'gzip, gzip'
        >>> compression(httpx.Response(200, headers={"Content-Encoding": "aws-chunked"}))
        ''
    """
    given = response.headers.get("Content-Encoding", "")
    known = any(each.strip().lower() in COMPRESSIONS for each in given.split(","))
    return given[:MOST_SHOWN_CHARACTERS] if known else ""


COMPRESSIONS = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"})

MOST_SHOWN_CHARACTERS = 60


def answered_at(response: httpx.Response) -> datetime:
    """When fal answered, by its own clock; by this machine's, if it does not say."""
    return _moment(response.headers.get("Date", "")) or datetime.now(timezone.utc)


def in_utc(moment: datetime) -> datetime:
    """A moment that fal wrote, in UTC; without a zone, fal means UTC too."""
    try:
        aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return aware.astimezone(timezone.utc)
    except OverflowError as error:  # beyond the year 9999
        raise ValueError(str(error)) from error


def _seconds_until(date: str) -> float | None:
    moment = _moment(date)
    if moment is None:
        return None
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def _moment(date: str) -> datetime | None:
    try:
        return in_utc(parsedate_to_datetime(date))
    except ValueError:
        return None
