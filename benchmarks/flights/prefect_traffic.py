"""What a process sends to Prefect, counted where it leaves: two lines around Prefect's clients.

Not at the server, whose log of requests would cost what is to be measured, and which drops events
when many come at once.
"""

from __future__ import annotations

import time
from typing import Any

import httpx
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.events.clients import EventsClient
from prefect.logging.handlers import APILogHandler

QUIET_SECONDS = 0.3
"""Prefect sends events from a thread of its own: after so long without any, all are out."""


class Traffic:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._calls = 0
        self._events = 0
        self._count_async_calls()
        self._count_sync_calls()
        self._count_events()

    def counted(self) -> tuple[int, int]:
        """Calls and events so far."""
        return self._calls, self._events

    def settle(self) -> None:
        """Wait until Prefect's own threads have sent what they hold."""
        APILogHandler().flush()
        before = None
        while before != (before := self.counted()):
            time.sleep(QUIET_SECONDS)

    def _count_async_calls(self) -> None:
        send = PrefectHttpxAsyncClient.send

        async def counting(
            client: PrefectHttpxAsyncClient, request: httpx.Request, *args: Any, **options: Any
        ) -> httpx.Response:
            self._calls += 1
            return await send(client, request, *args, **options)

        PrefectHttpxAsyncClient.send = counting  # type: ignore[method-assign, assignment]

    def _count_sync_calls(self) -> None:
        send = PrefectHttpxSyncClient.send

        def counting(
            client: PrefectHttpxSyncClient, request: httpx.Request, *args: Any, **options: Any
        ) -> httpx.Response:
            self._calls += 1
            return send(client, request, *args, **options)

        PrefectHttpxSyncClient.send = counting  # type: ignore[method-assign, assignment]

    def _count_events(self) -> None:
        emit = EventsClient.emit

        async def counting(client: EventsClient, event: Any) -> None:
            self._events += 1
            await emit(client, event)

        EventsClient.emit = counting  # type: ignore[method-assign, assignment]
