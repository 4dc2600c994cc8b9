"""How webhooks are signed: with ED25519, over what is in them and when they were sent."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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

    def headers(self, request_id: str, body: bytes, now: float) -> dict[str, str]:
        """The headers that prove where a webhook comes from.

        Args:
            request_id: What it tells of.
            body: As it is sent.
            now: Unix seconds.
        """
        timestamp = str(int(now))
        signed = "\n".join([request_id, USER_ID, timestamp, hashlib.sha256(body).hexdigest()])
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": USER_ID,
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": self._key.sign(signed.encode()).hex(),
        }
