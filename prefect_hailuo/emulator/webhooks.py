"""Telling a webhook that a generation has ended, signed as fal signs: with ED25519.

A signature covers the content and the time of sending. The emulator calls nobody but addresses on
its own machine.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from prefect_hailuo.emulator.queue import Generation
from prefect_hailuo.emulator.replies import as_json, error_text, video_output, wait_until_completed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from prefect_hailuo.emulator.emulation import Emulation


USER_ID = "emulator"


@dataclass(frozen=True)
class Delivery:
    """One attempt to deliver a webhook.

    Args:
        request_id: What it told of.
        url: Where it went.
        status: The answer's HTTP status; None if there was no answer, or nothing was sent because
            the address is not on this machine.
    """

    request_id: str
    url: str
    status: int | None


RETRY_SECONDS = (0.1, 0.3, 1.0, 3.0)
"""The pauses before an unacknowledged delivery is repeated; fal goes on for two hours."""

_PATIENCE_SECONDS = 10.0


async def tell_of_completion(generation: Generation, emulation: Emulation, url: str) -> None:
    """Wait for a generation to be over, then tell its webhook, as often as the faults want."""
    if not await wait_until_completed(generation, emulation):
        return
    if not is_loopback(url):
        emulation.deliveries.append(Delivery(generation.request_id, url, None))
        return
    body = as_json(await _payload(generation, emulation))
    async with httpx.AsyncClient(trust_env=False, timeout=_PATIENCE_SECONDS) as client:
        for _ in range(generation.disruptions.webhook_deliveries):
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


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine: the emulator calls no other.

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


class WebhookSigner:
    """Signs with a key pair of its own, made on first need."""

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.generate()

    def key_set(self) -> dict[str, Any]:
        """The public key, as a JSON Web Key Set."""
        public = base64.urlsafe_b64encode(self._key.public_key().public_bytes_raw())
        x = public.rstrip(b"=").decode("ascii")
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}

    def headers(
        self, request_id: str, body: bytes, now: float, user_id: str = USER_ID
    ) -> dict[str, str]:
        """The headers that prove where a webhook comes from.

        Args:
            request_id: What it tells of.
            body: As it is sent.
            now: Unix seconds.
            user_id: Whose request it is.
        """
        timestamp = str(int(now))
        signed = "\n".join([request_id, user_id, timestamp, hashlib.sha256(body).hexdigest()])
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": user_id,
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": self._key.sign(signed.encode()).hex(),
        }
