"""Telling of completions by webhook, signed as fal signs."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from prefect_hailuo.emulator.emulation import Emulation
from prefect_hailuo.emulator.generations import Generation
from prefect_hailuo.emulator.replies import as_json, error_text
from prefect_hailuo.emulator.results import video_output
from prefect_hailuo.emulator.signing import Delivery
from prefect_hailuo.emulator.streams import wait_until_completed

RETRY_SECONDS = (0.1, 0.3, 1.0, 3.0)
"""After how long an unacknowledged delivery is repeated; fal goes on for two hours."""

_PATIENCE_SECONDS = 10.0


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine: the emulator speaks to no other.

    Example:
        >>> is_loopback("http://127.0.0.1:8000/hook"), is_loopback("https://example.com/hook")
        (True, False)
    """
    try:
        parts = urlsplit(url)
        # Reading the port, too, raises ValueError if it cannot be one.
        host, _ = parts.hostname or "", parts.port
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def tell_of_completion(generation: Generation, emulation: Emulation, url: str) -> None:
    """Wait for a generation to be over, then tell its webhook, as often as the faults want."""
    if not await wait_until_completed(generation, emulation):
        return
    if not is_loopback(url):
        emulation.deliveries.append(Delivery(generation.request_id, url, None))
        return
    body = as_json(await _payload(generation, emulation))
    async with httpx.AsyncClient(trust_env=False, timeout=_PATIENCE_SECONDS) as client:
        for _ in range(generation.twists.webhook_deliveries):
            await _deliver(client, generation, emulation, url, body)


async def _deliver(
    client: httpx.AsyncClient, generation: Generation, emulation: Emulation, url: str, body: bytes
) -> None:
    for wait in (*RETRY_SECONDS, None):
        headers = emulation.signer.headers(generation.request_id, body, time.time())
        status = await _post(client, url, body, headers)
        emulation.deliveries.append(Delivery(generation.request_id, url, status))
        if wait is None or emulation.alarms.stopped or (status is not None and status < 300):
            return
        await emulation.alarms.pause(wait)


async def _post(
    client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]
) -> int | None:
    try:
        reply = await client.post(
            url, content=body, headers={"Content-Type": "application/json", **headers}
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return reply.status_code


async def _payload(generation: Generation, emulation: Emulation) -> dict[str, Any]:
    names = {"request_id": generation.request_id, "gateway_request_id": generation.request_id}
    if not generation.outcome.is_video:
        error = {"error": error_text(generation), "payload": generation.outcome.body}
        return {**names, "status": "ERROR", **error}
    return {**names, "status": "OK", "payload": await video_output(generation, emulation)}
