"""The road of one generation, end to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.endpoints import VideoInput, find_input_class
from prefect_hailuo.errors import (
    Billed,
    DownloadError,
    FalFaultError,
    GenerationTimeoutError,
    HailuoError,
    about,
)
from prefect_hailuo.events import Logged, Progress, Reused, Submitted
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS, AsyncFalClient
from prefect_hailuo.fal.following import follow
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Completed, LogLine, Output, Status, Ticket
from prefect_hailuo.key import canonical_take, generation_key
from prefect_hailuo.loop import Connections, Emit, ignore
from prefect_hailuo.places import Place
from prefect_hailuo.storing import Storing, video_name
from prefect_hailuo.video import Video

EMULATOR_RESTORE_SECONDS = 1.0
"""How long an emulator that has gone is asked for a file: it makes it anew at no cost."""

PROGRESS_SECONDS = 5.0
"""How often a waiting generation tells that it still waits."""

LEAST_FETCH_SECONDS = 60.0
"""How long the result of a completed request is asked for at least: it is paid for by then."""

FAILURE_SECONDS = 20.0
"""How long the reason of a failure is asked for, when fal answers with a bare 5xx."""


@dataclass(frozen=True)
class Order:
    """What a caller wants.

    Args:
        input: What to generate.
        access: Whose account pays, and where.
        place: Where the video is to be kept.
        take: Which of several videos of the same input.
        timeout_seconds: How long to wait for fal.
        labels: The caller's own words for it, kept in the records.
    """

    input: VideoInput
    access: Access
    place: Place
    take: int | str = 0
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The generation's key."""
        return generation_key(self.input, realm=self.access.realm, take=self.take)


class Road:
    """One account's way from a prompt to a stored video, on the package's loop.

    Args:
        access: The account.
        connections: What the process shares.
        emit: Called with each event, as `prefect_hailuo.events` lists them.
        clock: What waiting is measured with.
    """

    def __init__(
        self,
        access: Access,
        connections: Connections,
        emit: Emit = ignore,
        clock: Clock | None = None,
    ) -> None:
        self._connections = connections
        self._emit = emit
        self._clock: Clock = clock or SystemClock()
        self._client = AsyncFalClient(access, connections.http, self._clock)

    async def generate(self, order: Order) -> Video:
        """The video of an order: the one that is in its place, or a new one.

        Raises:
            HailuoError: By kind, as `prefect_hailuo.errors` draws them.
        """
        await order.place.check()
        storing = Storing(self._connections.media, order.place, self._emit, self._clock)
        stored = await self._find(order, storing)
        if stored:
            self._emit(Reused(stored))
            return stored
        ticket = await self.submit(order)
        deadline = Deadline(order.timeout_seconds, self._clock)
        completed = await self.wait(ticket, deadline.remaining)
        output = await self.fetch(ticket, completed, max(deadline.remaining, LEAST_FETCH_SECONDS))
        return await storing.store(ticket, output, completed)

    async def submit(self, order: Order) -> Ticket:
        """Buy a video. From the POST until its ticket is told, nothing interrupts it; whoever
        has been cancelled before that buys nothing.

        Raises:
            HailuoError: As `AsyncFalClient.submit` does.
        """
        asked = {
            "input": order.input.body(),
            "take": canonical_take(order.take),
            "labels": dict(order.labels),
        }
        await anyio.lowlevel.checkpoint()
        with anyio.CancelScope(shield=True):
            bare = await self._client.submit(order.input.endpoint.id, order.input.body())
            ticket = bare.model_copy(update=asked)
            self._emit(Submitted(ticket))
        return ticket

    async def wait(
        self, ticket: Ticket, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> Completed:
        """Wait until a request has completed, one way or another.

        Raises:
            GenerationTimeoutError: It takes longer than `timeout_seconds`; it carries the ticket.
            FalError: fal refused to say how it stands.
        """
        deadline = Deadline(timeout_seconds, self._clock)
        watch = _Watch(ticket, deadline, self._emit)
        streams = self._connections.streams
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.tick)
            try:
                return await follow(self._client, ticket, deadline, watch.see, streams)
            except HailuoError as error:
                failure = about(ticket, error)
            finally:
                tasks.cancel_scope.cancel()
        raise failure  # here, for the group would wrap it

    async def fetch(
        self,
        ticket: Ticket,
        completed: Completed | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> Output:
        """The result of a completed request.

        Args:
            ticket: The request.
            completed: How it completed, if known: a failure is then reported at once.
            timeout_seconds: How long transient faults are waited out.

        Raises:
            HailuoError: As `AsyncFalClient.result` does.
        """
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

    async def _find(self, order: Order, storing: Storing) -> Video | None:
        """The video of an order, if it is in its place, or can be fetched there for nothing."""
        video = await storing.find(video_name(order.input, order.key), order.key)
        if video is None or await storing.holds(video):
            return video
        try:
            if order.access.realm == "emulator":
                return await storing.restore(video, EMULATOR_RESTORE_SECONDS)
            return await storing.restore(video)
        except DownloadError:
            if order.access.realm == "emulator":
                return None  # it was restarted, and makes it anew at no cost
            raise


class _Watch:
    """Turns the statuses of a request into events, and tells now and then that it still waits."""

    def __init__(self, ticket: Ticket, deadline: Deadline, emit: Emit) -> None:
        self._ticket = ticket
        self._deadline = deadline
        self._emit = emit
        self._expected = find_input_class(ticket.endpoint).endpoint.expected_seconds
        self._status: Status | None = None
        self._known: set[LogLine] = set()

    def see(self, status: Status) -> None:
        news = [line for line in status.logs or [] if line not in self._known]
        if news:
            self._known.update(news)
            self._emit(Logged(news))
        seen = status.model_copy(update={"logs": None})
        if seen != self._status:
            self._status = seen
            self._tell(seen)

    async def tick(self) -> None:
        while True:
            await self._deadline.clock.sleep(PROGRESS_SECONDS)
            if self._status:
                self._tell(self._status)

    def _tell(self, status: Status) -> None:
        elapsed = self._deadline.elapsed
        self._emit(Progress(self._ticket, status, elapsed, self._expected))
