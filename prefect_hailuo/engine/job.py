"""A job: one order being carried out, with its purchase, its slot, its store and its consents."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any
from uuid import uuid4

from typing_extensions import Self

from prefect_hailuo.clock import Deadline
from prefect_hailuo.engine.events import Hindered
from prefect_hailuo.engine.order import Gate, Order
from prefect_hailuo.engine.session import Session
from prefect_hailuo.errors import HailuoError, UnreachableError
from prefect_hailuo.fal.retry import Note, SubmissionRetry
from prefect_hailuo.ledger.attempt import Purchase
from prefect_hailuo.storage.names import video_name
from prefect_hailuo.storage.store import VideoStore


class Job:
    """An order on its way.

    Args:
        order: What is wanted, its images looked at.
        session: The account that pays.
        retry: Waits while fal takes no more requests; by default as long as the order may take.
        note: Called with each error that is waited out; by default, the caller is told.

    Attributes:
        waiter: This call's name in the ledger.
        purchase: The order as the ledger takes it.
        slot: Its place among the requests at fal, if their number is capped.
        store: The way into the order's place.
        name: The video's file name.
        may_resubmit: Whether one more purchase may take the place of one that was not found.
        may_replace: Whether one more purchase may take the place of a video that is nowhere.
        may_be_at_fal: Whether a POST of this job may have been accepted, its answer lost.
        cautioned: Whether the caller was told what in the request may not do what it was meant to.
    """

    __slots__ = (
        *("cautioned", "may_be_at_fal", "may_replace", "may_resubmit", "name", "order"),
        *("_note", "purchase", "retry", "session", "slot", "store", "waiter"),
    )

    def __init__(
        self,
        order: Order,
        session: Session,
        retry: SubmissionRetry | None = None,
        note: Note | None = None,
    ) -> None:
        self.order = order
        self.session = session
        self.retry = retry or SubmissionRetry(
            session.clock, Deadline(order.timeout_seconds, session.clock)
        )
        self._note = note or (lambda error: session.emit(Hindered(error)))
        self.waiter = uuid4().hex
        self.purchase: Purchase = order.purchase(self.waiter)
        self.slot = Slot(order.gate)
        self.name = video_name(order.request.prompt, order.key)
        self.may_resubmit = order.on_ambiguous == "resubmit"
        self.may_replace = order.on_lost == "resubmit"
        self.may_be_at_fal = False
        self.cautioned = False
        connections = session.connections
        connections.downloads.allow(order.download_connections)
        connections.downloads.trust(order.file_hosts)
        # Nobody is shown the poster of one of many, and it takes longer than all the rest.
        poster = order.poster and not connections.supervisor.crowded
        hosts = session.access.hosts
        self.store = VideoStore(connections.downloads, order.place, session.clock, poster, hosts)

    def note(self, error: HailuoError) -> None:
        """Take note of what keeps it from being bought for now."""
        if isinstance(error, UnreachableError):
            self.session.witness.reach.failed(error)
        self._note(error)

    def begin_again(self) -> None:
        """Prepare another claim, because what was found is no video. A consent is used up."""
        self.may_replace = False
        self.may_be_at_fal = False
        self.purchase = self.order.purchase(self.waiter)


class Slot:
    """One purchase's place among the requests at fal, if their number is capped.

    Args:
        gate: Hands out the places; None if nothing is capped.
    """

    __slots__ = ("_gate", "_taken")

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate
        self._taken = False

    @property
    def taken(self) -> bool:
        """Whether it holds one."""
        return self._taken

    async def take(self, seconds: float) -> None:
        """Take a place, unless it has one, or none is needed.

        Args:
            seconds: How long to wait for one.

        Raises:
            HailuoError: None could be had; nothing was bought.
        """
        if self._gate is not None and not self._taken:
            await self._gate.enter(seconds)
            self._taken = True

    def free(self) -> None:
        """Give it back, if it has one."""
        if self._gate is not None and self._taken:
            self._taken = False
            self._gate.leave()

    def leave_to(self, watch: Coroutine[Any, Any, None]) -> None:
        """Keep it for a request that was submitted, and that no caller waits for yet.

        Args:
            watch: Ends when the request has ended at fal, or is to be watched no longer.
        """
        other, self._taken = Slot(self._gate), False
        other._taken = True
        task = asyncio.create_task(watch)
        _watches.add(task)
        task.add_done_callback(_watches.discard)
        task.add_done_callback(lambda _: other.free())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.free()


_watches: set[asyncio.Task[None]] = set()
"""The loop itself would forget them."""
