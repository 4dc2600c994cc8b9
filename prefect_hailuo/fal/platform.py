"""fal's platform API: an account's history, today's prices, and the models' documents.

A history and a price list come in pages. A model's OpenAPI document is public; its schemas are
right, but the addresses in it are not and must not be used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, TypeVar

import httpx
from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.errors import (
    Billed,
    FalError,
    FalFaultError,
    HailuoError,
    InputRefusedError,
    MalformedReplyError,
    RequestCancelledError,
)
from prefect_hailuo.fal.hosts import Access, Hosts, without_key
from prefect_hailuo.fal.messages import (
    LONGEST_REQUEST_ID,
    Lenient,
    Message,
    Output,
    RequestId,
    storable_json,
)
from prefect_hailuo.fal.outage import UNWITNESSED, Witness
from prefect_hailuo.fal.replies import (
    answered_at,
    check_realm,
    check_request_realm,
    error_of,
    in_utc,
    parse,
)
from prefect_hailuo.fal.retry import retry_read
from prefect_hailuo.ticket import Realm

DOCUMENT_TIMEOUT_SECONDS = 30.0
"""How long a question about a model may take, retries included."""

GONE = (404, 410)

CANCELLED_STATUS = 499
"""How the history says that a request was cancelled."""


MOST_PAGES = 1000
"""How many pages one answer may have; an answer with more is taken to have no end."""

DEFAULT_TIMEOUT_SECONDS = 60.0
"""How long a question may take, all pages and retries included."""

PAGE_SIZE = 100
"""Items to a page: the most that fal gives, by its documentation as gathered 2026-08."""

MOST_READINGS = 4
"""How often a history is read until two readings in a row agree."""

Moment = Annotated[datetime, AfterValidator(in_utc)]

MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)

Params = Mapping[str, str | Sequence[str]]


NAMELESS = "unreadable-id-"
"""How the id begins that stands for one that cannot be read."""


def _is_id(given: object) -> bool:
    return isinstance(given, str) and 0 < len(given) <= LONGEST_REQUEST_ID and given.isprintable()


class PastRequest(Message):
    """One request of an account's history.

    Args:
        request_id: fal's id of it; where that cannot be read, one that stands for it here.
        endpoint_id: The endpoint that it was sent to.
        sent_at: When fal received it, by fal's clock, UTC.
        started_at: When work on it began.
        ended_at: When it was over.
        status_code: The HTTP status with which it ended.
        duration: Seconds of work.
        json_input: Its input; None if fal has none, or it is no object.
        json_output: Its result or error, if fal has it.

    Example:
        >>> past = PastRequest(request_id="r1", endpoint_id="a/b", sent_at="2026-09-01T14:00+02:00")
        >>> past.sent_at.isoformat()
        '2026-09-01T12:00:00+00:00'
    """

    request_id: RequestId
    endpoint_id: str
    sent_at: Moment
    started_at: Lenient[Moment] = None
    ended_at: Lenient[Moment] = None
    status_code: Lenient[int] = None
    duration: Lenient[float] = None
    json_input: dict[str, Any] | None = None
    json_output: Any = None

    @property
    def is_named(self) -> bool:
        """Whether fal's id of it can be read: another can neither be adopted nor asked about."""
        return not self.request_id.startswith(NAMELESS)

    @model_validator(mode="before")
    @classmethod
    def _named_if_need_be(cls, given: Any) -> Any:
        # It must not hide all other requests, and may have been bought all the same.
        if not isinstance(given, dict) or _is_id(given.get("request_id")):
            return given
        known = [given.get(name) for name in ("endpoint_id", "sent_at", "json_input")]
        digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
        return {**given, "request_id": f"{NAMELESS}{digest.hexdigest()[:16]}"}

    @model_validator(mode="before")
    @classmethod
    def _began_unless_it_says_no(cls, given: Any) -> Any:
        # "Never began" is said by null, and costs nothing: what cannot be read does not say it.
        if not isinstance(given, dict) or given.get("started_at") is None:
            return given
        try:
            MOMENT.validate_python(given["started_at"])
        except ValidationError:
            return {name: value for name, value in given.items() if name != "started_at"}
        return given

    @field_validator("json_input", mode="before")
    @classmethod
    def _none_unless_an_object(cls, given: Any) -> Any:
        # One odd input of somebody who shares the account must not hide all other requests.
        return given if isinstance(given, dict) else None

    @property
    def output(self) -> Output | None:
        """Its result, if it succeeded and fal still shows it."""
        try:
            return Output.model_validate(storable_json(self.json_output))
        except ValidationError:
            return None

    def failure(self) -> FalError:
        """The error that a request ended with; for one whose status is 400 or above.

        By fal's documentation, neither a 5xx nor time in the queue is charged. So a cancelled
        request cost nothing if the history says that work on it never began. If the history leaves
        that out, the cost is unknown.
        """
        status = self.status_code or 0
        message = f"By fal's request history, it ended with HTTP {status}."
        if status == CANCELLED_STATUS:
            never_began = "started_at" in self.model_fields_set and self.started_at is None
            return RequestCancelledError(
                message, billed=Billed.NO if never_began else Billed.UNKNOWN
            )
        if status >= 500:
            return FalFaultError(message, billed=Billed.NO)
        return InputRefusedError(message)


class LivePrice(Message):
    """What an endpoint costs today.

    Args:
        endpoint_id: fal's endpoint id.
        unit_price: The price of one unit, to the digit that fal wrote.
        unit: What is counted, such as videos or seconds.
        currency: Such as USD.
    """

    endpoint_id: str = Field(min_length=1)
    # From JSON, pydantic makes the Decimal from the number's shortest text: 0.1 is exactly 0.1.
    unit_price: Decimal = Field(ge=0)
    unit: str
    currency: str


@dataclass(frozen=True)
class History:
    """What an account sent to an endpoint.

    Args:
        requests: All pages' requests, each once, as it was last seen.
        fal_now: fal's clock when it answered, to the second; this machine's if fal named none.
    """

    requests: tuple[PastRequest, ...]
    fal_now: datetime


class Page(Message):
    """A page of an answer.

    Args:
        has_more: Whether another follows.
        next_cursor: The cursor of the next.
    """

    has_more: bool
    next_cursor: str | None = None


P = TypeVar("P", bound=Page)


class _HistoryPage(Page):
    items: tuple[PastRequest, ...]


class _PricePage(Page):
    prices: tuple[LivePrice, ...]


HISTORY_PAGE = TypeAdapter(_HistoryPage)

PRICE_PAGE = TypeAdapter(_PricePage)


class PlatformClient:
    """fal's platform API. Asking is free, and transient faults are waited out.

    Every error says that no money was spent, and means the question. It says nothing about the cost
    of the requests that were asked about.

    Args:
        access: The key and the hosts that it is for.
        http: The HTTP client to use.
        clock: What waiting is measured with.
        witness: Told while fal cannot be asked.

    Example:
        >>> async def spent(access: Access, http: httpx.AsyncClient, since: datetime) -> int:
        ...     platform = PlatformClient(access, http)
        ...     endpoint = "fal-ai/minimax/hailuo-02/pro/text-to-video"
        ...     history = await platform.history(endpoint, since)
        ...     return sum(past.status_code == 200 for past in history.requests)
    """

    def __init__(
        self,
        access: Access,
        http: httpx.AsyncClient,
        clock: Clock | None = None,
        witness: Witness = UNWITNESSED,
    ) -> None:
        self.access = access
        self._witness = witness
        self.http = http
        self.clock: Clock = clock or SystemClock()

    async def history(
        self,
        endpoint: str,
        start: datetime,
        end: datetime | None = None,
        *,
        request_id: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> History:
        """What the account sent to an endpoint, with the inputs.

        A request that is not listed may still exist: fal may list it later.

        Args:
            endpoint: fal's endpoint id.
            start: Sent at this time or later, by fal's clock.
            end: Sent before this time; None for no limit.
            request_id: Only this one.
            timeout_seconds: How long all of it may take.

        Raises:
            ValueError: `start` or `end` names no time zone.
            MalformedReplyError: An item is malformed, or the pages do not end.
            RealmMismatchError: The answer, or a request in it, is of the other realm.
            GenerationTimeoutError: Transient faults lasted longer than `timeout_seconds`.
            FalError: fal refused to say.
        """
        window = {"start": start, "end": end}
        params: dict[str, str | Sequence[str]] = {
            "endpoint_id": endpoint,
            **{name: _written(moment) for name, moment in window.items() if moment},
            **({"request_id": request_id} if request_id else {}),
            "expand": "payloads",
            "limit": str(PAGE_SIZE),
        }
        with _only_a_question():
            if request_id:
                check_request_realm(request_id, self.access)
            return await self._settled_history(params, Deadline(timeout_seconds, self.clock))

    async def prices(
        self, endpoints: Sequence[str], *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> list[LivePrice]:
        """What endpoints cost today.

        Args:
            endpoints: fal's endpoint ids; if there are none, fal is not asked.
            timeout_seconds: How long all of it may take.

        Raises:
            MalformedReplyError: A price is malformed, or the pages do not end.
            RealmMismatchError: The answer is of the other realm.
            GenerationTimeoutError: Transient faults lasted longer than `timeout_seconds`.
            FalError: fal refused to say, for example because it has no such endpoint.
        """
        if not endpoints:
            return []
        deadline = Deadline(timeout_seconds, self.clock)
        params = {"endpoint_id": list(endpoints)}
        with _only_a_question():
            pages, _ = await self._pages("models/pricing", params, PRICE_PAGE, deadline)
        return [price for page in pages for price in page.prices]

    async def _settled_history(self, params: Params, deadline: Deadline) -> History:
        """Every listed request; the list is read until it is the same twice.

        fal sorts by the end, so a request that ends between two pages moves others across their
        border. A request that was listed once exists: it stays even if a later reading misses it.
        """
        found: dict[str, PastRequest] = {}
        before: set[str] | None = None
        for _ in range(MOST_READINGS):
            reading, fal_now, on_one_page = await self._read_history(params, deadline)
            found.update(reading)
            if set(reading) == before or (before is None and on_one_page):
                break
            before = set(reading)
        return History(tuple(found.values()), fal_now)

    async def _read_history(
        self, params: Params, deadline: Deadline
    ) -> tuple[dict[str, PastRequest], datetime, bool]:
        path = "models/requests/by-endpoint"
        pages, fal_now = await self._pages(path, params, HISTORY_PAGE, deadline)
        reading = {past.request_id: past for page in pages for past in page.items}
        for past in reading.values():
            if past.is_named:
                check_request_realm(past.request_id, self.access)
        return reading, fal_now, len(pages) == 1

    async def _pages(
        self, path: str, params: Params, adapter: TypeAdapter[P], deadline: Deadline
    ) -> tuple[list[P], datetime]:
        """All pages of one answer, and fal's clock at the last one."""
        pages: list[P] = []
        cursors: list[str] = []
        while True:
            asked = {**params, "cursor": cursors[-1]} if cursors else params
            page, fal_now = await retry_read(
                partial(self._page, path, asked, adapter), deadline, witness=self._witness
            )
            pages.append(page)
            if not page.has_more:
                return pages, fal_now
            cursors.append(next_cursor(page, cursors))

    async def _page(self, path: str, params: Params, adapter: TypeAdapter[P]) -> tuple[P, datetime]:
        url = f"{self.access.hosts.platform_url}/{path}"
        asking = self.http.get(url, params=params, headers=self.access.authorization)
        response = await without_key(asking, self.access)
        check_realm(response, self.access)
        if not response.is_success:
            raise error_of(response, self.access)
        return parse_page(response, adapter, self.access), answered_at(response)


def _written(moment: datetime) -> str:
    """A moment as fal takes it.

    Raises:
        ValueError: It names no time zone; a guess could miss a request by hours.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} names no time zone.")
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


@contextmanager
def _only_a_question() -> Iterator[None]:
    """Mark every error as one that cost nothing."""
    try:
        yield
    except HailuoError as error:
        error.billed = Billed.NO
        raise


def parse_page(response: httpx.Response, adapter: TypeAdapter[P], access: Access) -> P:
    """The page in an answer.

    JSON can hold halves of characters, which are no text. An input that has them is not one of
    ours, and must not hide all other requests, nor look like one of ours.

    Raises:
        MalformedReplyError: It is no page.
    """
    with suppress(ValidationError):
        return adapter.validate_json(response.content)
    with suppress(ValueError, RecursionError):
        return adapter.validate_python(json.loads(response.text))
    return parse(response, adapter, access)


def next_cursor(page: Page, followed: Sequence[str]) -> str:
    """The cursor of the page after this one.

    Raises:
        MalformedReplyError: There is none, or the pages do not end.
    """
    if not page.next_cursor:
        raise MalformedReplyError("fal says that there are more pages, and names no next one.")
    if page.next_cursor in followed or len(followed) + 1 >= MOST_PAGES:
        raise MalformedReplyError(f"fal's pages do not end: {len(followed) + 1} were read.")
    return page.next_cursor


class Metadata(Message):
    """fal's description of a model.

    Args:
        display_name: Its title.
        status: Such as `active` or `deprecated`.
    """

    display_name: str | None = None
    status: str | None = None


class ModelDocument(Message):
    """A model as fal describes it.

    Args:
        endpoint_id: fal's endpoint id.
        metadata: Its description.
        openapi: Its OpenAPI document; None if fal gives none.
    """

    endpoint_id: str = Field(min_length=1)
    metadata: Metadata = Metadata()
    openapi: dict[str, Any] | None = None


class _Models(Message):
    models: tuple[ModelDocument, ...]


MODELS = TypeAdapter(_Models)


async def read_document(
    endpoint: str,
    hosts: Hosts,
    realm: Realm,
    http: httpx.AsyncClient,
    *,
    timeout_seconds: float = DOCUMENT_TIMEOUT_SECONDS,
    clock: Clock | None = None,
) -> ModelDocument | None:
    """A model as fal describes it today; None if fal no longer has it. No key is sent.

    Args:
        endpoint: fal's endpoint id.
        hosts: Where fal is.
        realm: Whether that is fal or the emulator.
        http: The HTTP client to use.
        timeout_seconds: How long it may take.
        clock: What waiting is measured with.

    Raises:
        MalformedReplyError: The answer does not follow fal's protocol.
        RealmMismatchError: The answer is of the other realm.
        GenerationTimeoutError: Transient faults lasted longer than `timeout_seconds`.
        FalError: fal refused to say.
    """
    access = Access(SecretStr("nobody:none"), hosts, realm)  # it is not sent, and hides no text
    deadline = Deadline(timeout_seconds, clock or SystemClock())
    found = await retry_read(partial(_read, endpoint, access, http), deadline)
    models = found.models if found else ()
    return next((each for each in models if each.endpoint_id == endpoint), None)


async def _read(endpoint: str, access: Access, http: httpx.AsyncClient) -> _Models | None:
    params = {"endpoint_id": endpoint, "expand": "openapi-3.0"}
    response = await http.get(f"{access.hosts.platform_url}/models", params=params)
    check_realm(response, access)
    if response.status_code in GONE:
        return None
    if not response.is_success:
        raise error_of(response, access)
    return parse(response, MODELS, access)
