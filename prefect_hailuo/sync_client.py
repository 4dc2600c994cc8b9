"""The bare client for callers without an event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS, AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import (
    Cancellation,
    Output,
    Status,
    SynchronousReply,
    Ticket,
)
from prefect_hailuo.loop import process_loop

T = TypeVar("T")


class FalClient:
    """The synchronous face of `AsyncFalClient`: it sends once, and protects nothing else.

    Two submissions of the same input are two purchases. The tasks and jobs of this package guard
    against that; this client is for what they do not do.

    Args:
        access: The key, and where it is good.

    Example:
        >>> def buy(client: FalClient, prompt: str) -> Output:
        ...     endpoint = "fal-ai/minimax/hailuo-02/pro/text-to-video"
        ...     ticket = client.submit(endpoint, {"prompt": prompt})
        ...     client.stream(ticket, lambda status: print(status.status))
        ...     return client.result(ticket)
    """

    def __init__(self, access: Access) -> None:
        self.access = access

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.access.hosts.queue_url!r}, {self.access.realm!r})"

    def submit(
        self,
        endpoint: str,
        body: dict[str, Any],
        *,
        webhook_url: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Ticket:
        """As `AsyncFalClient.submit`. **This spends money; it is sent once.**"""
        return self._run(
            lambda client: client.submit(endpoint, body, webhook_url=webhook_url, headers=headers)
        )

    def run(
        self,
        endpoint: str,
        body: dict[str, Any],
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> SynchronousReply:
        """As `AsyncFalClient.run`. **This spends money; it is sent once.**"""
        return self._run(lambda client: client.run(endpoint, body, timeout_seconds=timeout_seconds))

    def status(
        self, ticket: Ticket, *, logs: bool = True, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> Status:
        """As `AsyncFalClient.status`."""
        return self._run(
            lambda client: client.status(ticket, logs=logs, timeout_seconds=timeout_seconds)
        )

    def stream(
        self,
        ticket: Ticket,
        seen: Callable[[Status], None],
        *,
        logs: bool = True,
    ) -> None:
        """As `AsyncFalClient.stream`; `seen` is called here with each status."""

        async def job(connections: Connections, emit: Emit) -> None:
            client = connections.client(self.access)
            async for status in client.stream(ticket, logs=logs):
                emit(status)

        process_loop().run(job, seen)

    def result(self, ticket: Ticket, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Output:
        """As `AsyncFalClient.result`."""
        return self._run(lambda client: client.result(ticket, timeout_seconds=timeout_seconds))

    def cancel(
        self, ticket: Ticket, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> Cancellation:
        """As `AsyncFalClient.cancel`."""
        return self._run(lambda client: client.cancel(ticket, timeout_seconds=timeout_seconds))

    def check_key(self, *, timeout_seconds: float = 60.0) -> None:
        """As `AsyncFalClient.check_key`."""
        self._run(lambda client: client.check_key(timeout_seconds=timeout_seconds))

    def _run(self, call: Callable[[AsyncFalClient], Awaitable[T]]) -> T:
        async def job(connections: Connections, emit: Emit) -> T:
            return await call(connections.client(self.access))

        return process_loop().run(job)
