"""Generations as Prefect jobs: triggered now, collected later, by this process or another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from prefect.blocks.abstract import JobBlock, JobRun
from pydantic import Field, HttpUrl, field_validator, model_validator
from typing_extensions import Self

from prefect_hailuo.engine.order import OnAmbiguous, Order
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Cancellation, Completed
from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo, VideoInput, find_input_class
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.blocks import LOGO_URL, Credentials, FalCredentials, resolve_credentials
from prefect_hailuo.runs.execution import (
    aperform,
    cancelling,
    fetching,
    perform,
    storing,
    triggering,
    waiting,
)
from prefect_hailuo.runs.orders import make_order, timeout_or_default
from prefect_hailuo.runs.storage import Storage, resolve_storage
from prefect_hailuo.ticket import Ticket


class HailuoVideoRun(JobRun[Video]):
    """A request at fal: wait for it, fetch it, or cancel it.

    Every method has an asynchronous twin, named with an `a` in front.

    Args:
        ticket: The request; with it, `HailuoVideoRun(ticket, credentials)` goes on in any process.
        credentials: Of the account that submitted it.
        storage: Where the video is to be kept; as for `generate_video`.
        timeout_seconds: How long to wait, in seconds; None: as the settings say.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     run = HailuoVideoJob(input={"prompt": "A red fox."}, credentials=mine).trigger()
        ...     later = HailuoVideoRun(run.ticket, mine, storage="videos")  # elsewhere
        ...     later.fetch_result().prompt
        'A red fox.'
    """

    def __init__(
        self,
        ticket: Ticket,
        credentials: Credentials = None,
        storage: Storage = None,
        timeout_seconds: float | None = None,
    ) -> None:
        self.ticket = ticket
        self._credentials = credentials
        self._storage = storage
        self._timeout_seconds = timeout_or_default(timeout_seconds)
        self._completed: Completed | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.ticket.endpoint!r}, {self.ticket.request_id!r})"

    @classmethod
    def from_request_id(
        cls,
        endpoint: str,
        request_id: str,
        credentials: Credentials = None,
        *,
        storage: Storage = None,
        timeout_seconds: float | None = None,
    ) -> Self:
        """Go on from a request that is known by its id alone, such as one in fal's dashboard.

        Args:
            endpoint: fal's endpoint id, or the short name, such as `hailuo-2.3-pro`.
            request_id: fal's id of the request.
            credentials: Those of the account that submitted it.
            storage: Where the video is to be kept.
            timeout_seconds: How long to wait.

        Raises:
            UnknownEndpointError: There is no such endpoint.
            ConfigurationError: There are no such credentials, or no key.

        Example:
            >>> mine = FalCredentials(api_key="id:secret")
            >>> HailuoVideoRun.from_request_id("hailuo-02-pro", "019df76d", mine)
            HailuoVideoRun('fal-ai/minimax/hailuo-02/pro/text-to-video', '019df76d')
        """
        block = resolve_credentials(credentials)
        ticket = _adopted(endpoint, request_id, block.access())
        return cls(ticket, block, storage, timeout_seconds)

    @classmethod
    async def afrom_request_id(
        cls,
        endpoint: str,
        request_id: str,
        credentials: Credentials = None,
        *,
        storage: Storage = None,
        timeout_seconds: float | None = None,
    ) -> Self:
        """The asynchronous twin of `from_request_id`."""
        block = await run_sync(resolve_credentials, credentials)
        ticket = _adopted(endpoint, request_id, block.access())
        return cls(ticket, block, storage, timeout_seconds)

    def wait_for_completion(self) -> None:  # type: ignore[override]
        """Wait until the request has completed, one way or another.

        Raises:
            GenerationTimeoutError: It takes longer; call it again, for nothing is lost.
            FalError: fal refused to say how it stands.
        """
        job = waiting(self.ticket, self._access(), self._timeout_seconds)
        self._completed = perform(job)

    async def await_for_completion(self) -> None:
        """The asynchronous twin of `wait_for_completion`."""
        job = waiting(self.ticket, await run_sync(self._access), self._timeout_seconds)
        self._completed = await aperform(job)

    def fetch_result(self) -> Video:  # type: ignore[override]
        """Fetch, download, verify and keep the video; wait for it first, if need be.

        Raises:
            HailuoError: By kind, as `prefect_hailuo.errors` draws them.
        """
        if self._completed is None:
            self.wait_for_completion()
        access = self._access()
        output = perform(fetching(self.ticket, access, self._completed))
        place = resolve_storage(self._storage, self.ticket.realm)
        return perform(storing(self.ticket, output, place, self._completed, access.hosts))

    async def afetch_result(self) -> Video:
        """The asynchronous twin of `fetch_result`."""
        if self._completed is None:
            await self.await_for_completion()
        access = await run_sync(self._access)
        output = await aperform(fetching(self.ticket, access, self._completed))
        place = await run_sync(resolve_storage, self._storage, self.ticket.realm)
        job = storing(self.ticket, output, place, self._completed, access.hosts)
        return await aperform(job)

    def cancel(self) -> Cancellation:
        """Ask fal to cancel the request, and return fal's answer.

        A running model may complete all the same, and whether that is charged is not known.

        Raises:
            FalError: fal refused to.
        """
        return perform(cancelling(self.ticket, self._access()))

    async def acancel(self) -> Cancellation:
        """The asynchronous twin of `cancel`."""
        return await aperform(cancelling(self.ticket, await run_sync(self._access)))

    def _access(self) -> Access:
        return resolve_credentials(self._credentials).access()


class HailuoVideoJob(JobBlock[Video]):
    """A generation that can be saved as a block, and triggered.

    Attributes:
        endpoint: Which model, such as `hailuo-2.3-pro`.
        input: Its input, such as `{"prompt": "A red fox."}`; or an input object, such as
            `Hailuo23ProTextToVideo(prompt="A red fox.")`, which names the model itself.
        credentials: fal's credentials.
        storage: Where the video is to be kept.
        take: Which of several videos of the same input.
        timeout_seconds: How long to wait, in seconds.
        labels: Your own words for it, kept in the records.
        budget: The budget scope that pays.
        on_ambiguous: As for `generate_video`.

    Raises:
        pydantic.ValidationError: There is no such model, or it does not take such input.

    Example:
        Load a stored job and run it:
        ```python
        from prefect_hailuo import HailuoVideoJob

        job = HailuoVideoJob.load("BLOCK_NAME")
        run = job.trigger()
        run.wait_for_completion()
        video = run.fetch_result()
        ```
    """

    _block_type_name = "Hailuo Video Job"
    _block_type_slug = "hailuo-video-job"
    _logo_url = LOGO_URL
    _documentation_url = HttpUrl(f"{Hailuo23ProTextToVideo.endpoint.page}/api")

    endpoint: str = Field(
        default="hailuo-2.3-pro", description="Which model, by its short name or fal's id."
    )
    input: dict[str, Any] = Field(
        description="The model's input, such as a prompt and whether to optimize it."
    )
    credentials: FalCredentials | None = Field(
        default=None,
        description="The credentials of the account that pays. By default, the environment's key.",
    )
    storage: str | None = Field(
        default=None,
        description="Where the video is kept. A directory, or a storage block as "
        "block:type/name. By default, a directory in Prefect's home.",
    )
    take: str = Field(default="0", description="Which of several videos of the same input.")
    timeout_seconds: float | None = Field(
        default=None, gt=0, description="How long to wait for the video, in seconds."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Your own words for it, kept in the records."
    )
    budget: str | None = Field(
        default=None,
        description="The budget scope that pays. By default, the one that the settings name.",
    )
    on_ambiguous: OnAmbiguous = Field(
        default="park",
        description="What to do where fal's answer to a purchase was lost for good. Park it with "
        "an error, or resubmit it once, which may pay twice.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_input_object(cls, data: Any) -> Any:
        given = data.get("input") if isinstance(data, dict) else None
        if not isinstance(given, VideoInput):
            return data
        return {**data, "endpoint": given.endpoint.name, "input": given.body()}

    @field_validator("take", "storage", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int | Path) else value

    @model_validator(mode="after")
    def _check_input(self) -> Self:
        self.video_input()
        return self

    def video_input(self) -> VideoInput:
        """The typed input that `endpoint` and `input` make.

        Example:
            >>> HailuoVideoJob(input={"prompt": "A red fox."}).video_input().prompt_optimizer
            True
        """
        return find_input_class(self.endpoint).model_validate(self.input)

    def trigger(self) -> HailuoVideoRun:  # type: ignore[override]
        """Submit the generation, or go on with it. **This may spend money, once.**

        If the video was bought before, the run is about that request, and nothing is spent.

        Raises:
            StorageError: The place cannot be written to; nothing was bought.
            HailuoError: By kind, as `prefect_hailuo.errors` draws them.
        """
        return self._run(perform(triggering(self._order())))

    async def atrigger(self) -> HailuoVideoRun:
        """The asynchronous twin of `trigger`. **This may spend money, once.**"""
        return self._run(await aperform(triggering(await run_sync(self._order))))

    def _order(self) -> Order:
        return make_order(
            self.video_input(),
            credentials=self.credentials,
            storage=self.storage,
            take=self.take,
            labels=self.labels,
            budget=self.budget,
            on_ambiguous=self.on_ambiguous,
        )

    def _run(self, ticket: Ticket) -> HailuoVideoRun:
        return HailuoVideoRun(ticket, self.credentials, self.storage, self.timeout_seconds)


def _adopted(endpoint: str, request_id: str, access: Access) -> Ticket:
    return Ticket(
        endpoint=find_input_class(endpoint).endpoint.id,
        request_id=request_id,
        realm=access.realm,
        account=access.account,
    )
