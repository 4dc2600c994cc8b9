"""The bare client of fal's queue, and uploads to fal's storage.

A picture that is too large for a request's body is uploaded first, as fal_client 1.0.3 does it
(`_async_upload_via_storage`): fal's API says where the content goes, and it is put there. Only the
question carries the key. An upload costs nothing and may be repeated:
https://docs.fal.ai/documentation/model-apis/fal-cdn, seen 2026-11-20.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from pydantic import BaseModel, TypeAdapter
from typing_extensions import Self

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.errors import (
    Billed,
    FalFaultError,
    GenerationTimeoutError,
    HailuoError,
    ImageError,
    MalformedReplyError,
    RequestNotFoundError,
    StreamDroppedError,
)
from prefect_hailuo.fal.hosts import Access, concealed, is_confidential, without_key
from prefect_hailuo.fal.messages import (
    STATUS,
    Cancellation,
    CancelReply,
    Output,
    Status,
    SynchronousReply,
)
from prefect_hailuo.fal.outage import UNWITNESSED, Witness
from prefect_hailuo.fal.post import (
    OUTPUT,
    BeforeSending,
    accepted,
    nothing,
    post_once,
    synchronous_output,
)
from prefect_hailuo.fal.replies import (
    check_realm,
    check_request_realm,
    error_of,
    excerpt,
    parse,
    statuses_of,
)
from prefect_hailuo.fal.retry import of_reading, retry_read
from prefect_hailuo.fal.transport import (
    CONNECT_SECONDS,
    ClientTransport,
    open_reading,
    open_transport,
)
from prefect_hailuo.ticket import Ticket

T = TypeVar("T")

DEFAULT_TIMEOUT_SECONDS = 30 * 60.0
"""How long reads are repeated. Some requests take an hour at fal, and a timeout loses nothing."""

FRESH_SECONDS = 60.0
"""How young a request may be for fal not to know it yet, which then proves nothing."""

SUBMIT_SECONDS = 30.0
"""The hard limit of a submission, connection included."""

SILENCE_SECONDS = 45.0
"""How long a status stream may be silent; fal sends a comment every 15 s."""

PROBE_APP = "fal-ai/minimax"

CANCEL_REPLY = TypeAdapter(CancelReply)

JSON_OBJECT = TypeAdapter(dict[str, Any])

UPLOAD_SECONDS = 180.0
"""How long a failing upload is repeated; nothing is bought meanwhile."""

KEPT_SECONDS = 7 * 86400
"""How long fal is asked to keep a picture, whatever the account's own setting is: longer than any
request is queued, and not for ever, because anybody who has its URL can see it."""

PUT_TIMEOUT = httpx.Timeout(60.0, connect=10.0, pool=60.0)

INITIATE = "/storage/upload/initiate"


class AsyncFalClient:
    """fal's queue, as it is. It submits once, and prevents nothing else.

    Two submissions of the same input are two purchases. The tasks and jobs of this package prevent
    that; this client is for anything else. Reads and cancellations wait out transient faults
    (429 with its Retry-After, 5xx, network) until `timeout_seconds` have passed.

    Args:
        access: The key and the hosts that it is for.
        http: The HTTP client to use; without one, it opens its own as a context manager.
        clock: What waiting is measured with.
        purchases: The transport for submissions, which must be httpx's own; by default, they go
            through `http`.
        witness: Told while fal cannot be asked.

    Example:
        >>> async def buy(access: Access, prompt: str) -> Output:
        ...     async with AsyncFalClient(access) as client:
        ...         endpoint = "fal-ai/minimax/hailuo-02/pro/text-to-video"
        ...         ticket = await client.submit(endpoint, {"prompt": prompt})
        ...         async for status in client.stream(ticket):
        ...             print(status.status)
        ...         return await client.result(ticket)
    """

    def __init__(
        self,
        access: Access,
        http: httpx.AsyncClient | None = None,
        clock: Clock | None = None,
        purchases: httpx.AsyncBaseTransport | None = None,
        witness: Witness = UNWITNESSED,
    ) -> None:
        self.access = access
        self._witness = witness
        self.clock: Clock = clock or SystemClock()
        self._given = (http, purchases or (ClientTransport(http) if http else None))
        self._http, self._purchases = self._given
        self._stack: AsyncExitStack | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.access.hosts.queue_url!r}, {self.access.realm!r})"

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        if self._http is None:
            self._http = await self._stack.enter_async_context(open_reading())
        if self._purchases is None:
            self._purchases = await self._stack.enter_async_context(open_transport())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._http, self._purchases = self._given
        if self._stack is not None:
            await self._stack.aclose()

    async def submit(
        self,
        endpoint: str,
        body: dict[str, Any],
        *,
        webhook_url: str | None = None,
        headers: dict[str, str] | None = None,
        before_sending: BeforeSending = nothing,
    ) -> Ticket:
        """Submit a request to the queue. **This spends money; it is sent once.**

        Args:
            endpoint: fal's endpoint id.
            body: The input, as fal takes it.
            webhook_url: The URL that fal calls on completion.
            headers: Further request headers, such as `X-Fal-Queue-Priority`.
            before_sending: Awaited when the connection stands and no byte has left; if it raises,
                nothing is sent.

        Returns:
            The ticket, which everything else takes.

        Raises:
            UnreachableError: No connection stood; nothing was sent.
            BadKeyError, NoCreditError, InputRefusedError, RateLimitedError: fal refused it;
                nothing was bought.
            SubmitUnknownError: It was sent, and its outcome is not known.
        """
        url = _parsed(self.access.hosts.submit_url(endpoint))
        if webhook_url:
            url = url.copy_merge_params({"fal_webhook": webhook_url})
        transport = _opened(self._purchases)
        response = await post_once(
            transport, self.access, url, body, headers or {}, SUBMIT_SECONDS, before_sending
        )
        return Ticket(
            endpoint=endpoint,
            **accepted(response, self.access).model_dump(),
            realm=self.access.realm,
            account=self.access.account,
            submitted_at=datetime.now(timezone.utc),
        )

    async def run(
        self,
        endpoint: str,
        body: dict[str, Any],
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> SynchronousReply:
        """Call an endpoint synchronously. **This spends money; it is sent once.**

        There is no ticket: if the connection drops, so does the video. Prefer `submit`.

        Args:
            endpoint: fal's endpoint id.
            body: The input, as fal takes it.
            timeout_seconds: How long to wait for the answer.

        Raises:
            UnreachableError: No connection stood; nothing was sent.
            SubmitUnknownError: It was sent, and its outcome is not known.
            FalError: fal refused it, or it failed.
        """
        url = httpx.URL(self.access.hosts.synchronous_url(endpoint))
        transport = _opened(self._purchases)
        response = await post_once(transport, self.access, url, body, {}, timeout_seconds)
        return SynchronousReply(
            output=synchronous_output(response, self.access),
            request_id=response.headers.get("x-fal-request-id"),
            billable_units=response.headers.get("x-fal-billable-units"),
        )

    async def status(
        self, ticket: Ticket, *, logs: bool = True, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> Status:
        """Where a request stands.

        Args:
            ticket: The request.
            logs: Whether to ask for the model's latest log lines.
            timeout_seconds: How long transient faults are waited out.

        Raises:
            GenerationTimeoutError: The faults lasted longer; it carries the ticket.
            FalError: fal refused to say.
        """
        url = _with_logs(self.access.hosts.status_url(ticket), logs)
        return await self._read(lambda: self._get(url, STATUS, ticket), ticket, timeout_seconds)

    async def stream(self, ticket: Ticket, *, logs: bool = True) -> AsyncGenerator[Status, None]:
        """The statuses of a request as they come, ending with `Completed`.

        It is one connection, which may drop; `fal.follow.follow` goes on when it does.

        Raises:
            StreamDroppedError: The stream dropped, or was silent for 45 seconds.
            FalError: fal refused it, or sent something that is no status.
        """
        url = _with_logs(self.access.hosts.stream_url(ticket), logs)
        headers = {**self.access.authorization, "Accept": "text/event-stream"}
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        try:
            check_request_realm(ticket.request_id, self.access)
            async with self._open.stream("GET", url, headers=headers, timeout=timeout) as response:
                await self._check(response)
                async with aclosing(statuses_of(response, self.access)) as statuses:
                    async for status in statuses:
                        yield status
            return
        except HailuoError as error:
            of_reading(ticket, error)
            raise
        except httpx.RequestError as error:
            broken = concealed(error, self.access)
        seen = excerpt(f"{type(broken).__name__}: {broken}", self.access)
        raise StreamDroppedError(f"The stream broke off ({seen}).", ticket=ticket) from broken

    async def result(
        self, ticket: Ticket, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> Output:
        """The result of a completed request.

        fal keeps it for an hour (large ones for six minutes), so fetch it at once.

        Raises:
            InputRefusedError, ContentPolicyError: The model refused the input.
            RequestCancelledError: It was cancelled.
            NotReadyError: It has not completed.
            RequestNotFoundError: fal has dropped it, or never had it.
            FalFaultError: It failed at fal.
            GenerationTimeoutError: Transient faults lasted longer than `timeout_seconds`.
        """
        url = httpx.URL(self.access.hosts.response_url(ticket))
        return await self._read(
            lambda: self._get(url, OUTPUT, ticket), ticket, timeout_seconds, of_result=True
        )

    async def cancel(
        self, ticket: Ticket, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> Cancellation:
        """Ask fal to cancel a request, and return what fal said.

        A running model may still complete; whether that is charged is not known.

        Raises:
            FalError: fal refused to cancel it.
            GenerationTimeoutError: Transient faults lasted longer than `timeout_seconds`.
        """
        return await self._read(
            lambda: self._cancel(ticket), ticket, timeout_seconds, of_cancelling=True
        )

    async def check_key(self, *, timeout_seconds: float = 60.0) -> None:
        """Ask fal whether the key is good, at no cost.

        It asks for the status of a request that cannot exist; with a good key, fal says so.

        Raises:
            BadKeyError: The key is not good.
            NoCreditError: The account is locked.
            GenerationTimeoutError: fal could not be asked within `timeout_seconds`.
        """
        probe = Ticket(endpoint=PROBE_APP, request_id=str(uuid4()), realm=self.access.realm)
        url = httpx.URL(self.access.hosts.status_url(probe))

        async def ask() -> None:
            response = await self._send("GET", url)
            try:
                await self._check(response)
            except RequestNotFoundError:
                parse(response, JSON_OBJECT, self.access)  # fal's own 404, not another server's

        await self._read(ask, None, timeout_seconds)

    async def _cancel(self, ticket: Ticket) -> Cancellation:
        check_request_realm(ticket.request_id, self.access)
        response = await self._send("PUT", httpx.URL(self.access.hosts.cancel_url(ticket)))
        check_realm(response, self.access)
        if response.status_code in (200, 202, 400, 404):
            return parse(response, CANCEL_REPLY, self.access).status
        raise error_of(response, self.access)

    async def _get(self, url: httpx.URL, adapter: TypeAdapter[T], ticket: Ticket) -> T:
        check_request_realm(ticket.request_id, self.access)
        response = await self._send("GET", url)
        await self._check(response)
        return parse(response, adapter, self.access)

    async def _send(self, method: str, url: httpx.URL) -> httpx.Response:
        asking = self._open.request(method, url, headers=self.access.authorization)
        return await without_key(asking, self.access)

    async def _check(self, response: httpx.Response) -> None:
        check_realm(response, self.access)
        if not response.is_success:
            await response.aread()
            raise error_of(response, self.access)

    async def _read(
        self,
        read: Callable[[], Awaitable[T]],
        ticket: Ticket | None,
        timeout_seconds: float,
        *,
        of_result: bool = False,
        of_cancelling: bool = False,
    ) -> T:
        deadline = Deadline(timeout_seconds, self.clock)
        return await retry_read(
            read,
            deadline,
            ticket,
            of_result=of_result,
            of_cancelling=of_cancelling,
            witness=self._witness,
        )

    @property
    def _open(self) -> httpx.AsyncClient:
        return _opened(self._http)


def _opened(opened: T | None) -> T:
    if opened is None:
        raise RuntimeError("Use the client as a context manager: async with client: ...")
    return opened


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    """An endpoint's URL, parsed once, and not for each of thousands of submissions."""
    return httpx.URL(url)


def _with_logs(url: str, logs: bool) -> httpx.URL:
    if not logs:
        return httpx.URL(url)
    return httpx.URL(f"{url}&logs=1" if "?" in url else f"{url}?logs=1")


class Initiated(BaseModel):
    """Where to put a file, and where it will be."""

    upload_url: str
    file_url: str


INITIATED = TypeAdapter(Initiated)


async def upload(
    http: httpx.AsyncClient,
    access: Access,
    content: bytes,
    media_type: str,
    file_name: str,
    clock: Clock | None = None,
) -> str:
    """Upload a file to fal's storage; it costs nothing.

    Args:
        http: A client on httpx's own transport; it follows no redirect and holds no key.
        access: The account's key; it goes to fal's API only, not to where the file is put.
        content: The file.
        media_type: Such as `image/png`.
        file_name: What it is called; fal may keep it in the URL.
        clock: What waiting is measured with.

    Returns:
        Its public URL.

    Raises:
        HailuoError: fal did not take it; nothing was bought.
    """

    async def send() -> str:
        place = await _initiate(http, access, media_type, file_name)
        await _put(http, place.upload_url, content, media_type)
        return place.file_url

    try:
        return await retry_read(send, Deadline(UPLOAD_SECONDS, clock or SystemClock()))
    except GenerationTimeoutError as error:
        raise ImageError(
            "A file that the request names could not be uploaded to fal's storage; nothing was "
            f"bought. {error.message}",
            cure="Try again later; https://status.fal.ai may know more.",
            retryable=True,
        ) from error
    except HailuoError as error:
        error.billed = Billed.NO
        raise


async def _initiate(
    http: httpx.AsyncClient, access: Access, media_type: str, file_name: str
) -> Initiated:
    kept = json.dumps({"expiration_duration_seconds": KEPT_SECONDS})
    asking = http.post(
        access.hosts.rest_url + INITIATE,
        params={"storage_type": "gcs"},
        json={"file_name": file_name, "content_type": media_type},
        headers={**access.authorization, "X-Fal-Object-Lifecycle-Preference": kept},
    )
    response = await without_key(asking, access)
    check_realm(response, access)
    if not response.is_success:
        raise error_of(response, access)
    place = parse(response, INITIATED, access)
    if not all(_is_usable(url) for url in (place.upload_url, place.file_url)):
        raise MalformedReplyError("fal's storage named an address that is not https.")
    return place


def _is_usable(url: str) -> bool:
    try:
        return is_confidential(httpx.URL(url))
    except httpx.InvalidURL:
        return False


async def _put(http: httpx.AsyncClient, url: str, content: bytes, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    response = await http.put(url, content=content, headers=headers, timeout=PUT_TIMEOUT)
    if not response.is_success:  # not the URL, which is signed
        raise FalFaultError(f"fal's storage answered HTTP {response.status_code} to the upload.")
