"""Asks the emulator over plain HTTP, as any client would."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from prefect_hailuo.emulator import FalEmulator

HAILUO_23 = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"
HAILUO_02 = "fal-ai/minimax/hailuo-02/pro/text-to-video"


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it comes true within a minute."""
    until = time.monotonic() + 60
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()


class Asking:
    """A client of one emulator, with a key."""

    def __init__(self, emulator: FalEmulator, key: str | None = None) -> None:
        headers = {"Authorization": f"Key {key or emulator.api_key}"}
        self.http = httpx.Client(base_url=emulator.url, headers=headers, timeout=60)

    def submit(
        self, prompt: Any = "A red fox.", endpoint: str = HAILUO_23, **settings: Any
    ) -> httpx.Response:
        """POST an input to the queue; settings are httpx's."""
        return self.http.post(f"/{endpoint}", json={"prompt": prompt}, **settings)

    def buy(self, prompt: Any = "A red fox.", **settings: Any) -> str:
        """Submit, and return the request id."""
        request_id: str = self.submit(prompt, **settings).json()["request_id"]
        return request_id

    def status(self, request_id: str, **query: Any) -> httpx.Response:
        """GET where a request is."""
        return self.http.get(f"/fal-ai/minimax/requests/{request_id}/status", params=query)

    def state(self, request_id: str) -> str:
        """fal's word for where a request is."""
        word: str = self.status(request_id).json()["status"]
        return word

    def result(self, request_id: str) -> httpx.Response:
        """GET what came out of a request."""
        return self.http.get(f"/fal-ai/minimax/requests/{request_id}")

    def cancel(self, request_id: str) -> httpx.Response:
        """PUT a cancellation."""
        return self.http.put(f"/fal-ai/minimax/requests/{request_id}/cancel")

    def video_url(self, request_id: str) -> str:
        """Where a completed request's video is."""
        url: str = self.result(request_id).json()["video"]["url"]
        return url

    def history(self, **query: Any) -> Any:
        """GET a page of the request history of Hailuo 2.3."""
        query = {"endpoint_id": HAILUO_23, **query}
        reply = self.http.get("/platform/v1/models/requests/by-endpoint", params=query)
        return reply.json()
