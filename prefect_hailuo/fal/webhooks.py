"""fal's calls that tell of a request's end: whether one is fal's own, and what it says.

Source: https://docs.fal.ai/model-endpoints/webhooks, as gathered 2026-08.

fal's public keys, fetched when they are needed, and kept for a while.
"""

from __future__ import annotations

import base64
import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
from pydantic import Field, TypeAdapter, ValidationError

from prefect_hailuo.clock import Clock, SystemClock
from prefect_hailuo.errors import (
    ConfigurationError,
    FalError,
    MalformedReplyError,
    UnreachableError,
)
from prefect_hailuo.fal.messages import EMULATOR_HEADER, EMULATOR_PREFIX, Completed, Message, Output
from prefect_hailuo.ticket import Realm

LEEWAY_SECONDS = 300.0
"""How far a call's time may be from ours, either way, by fal's documentation."""

MOST_BYTES = 256 * 1024
"""How long a call may be; that of a video takes some hundred bytes."""

SIGNATURE_BYTES = 64

JWKS_PATH = "/.well-known/jwks.json"
"""Where the public keys are, below the REST host."""

KEPT_SECONDS = 24 * 3600.0
"""How long keys are good, by fal's documentation."""

AGAIN_SECONDS = 60.0
"""How soon they are fetched again for a signature that none of them made: fal may have changed
them, and whoever sends wrong ones must not have fal asked for each."""

FAILED_SECONDS = 5.0
"""How long it is believed that they cannot be had: while fal is down, its calls, which it repeats,
do not wait for one attempt each."""

FETCH_SECONDS = 10.0


class RefusedCallError(Exception):
    """A call that is not taken.

    Args:
        why: What is wrong with it, for whoever sent it.
        status: The HTTP status to answer with.
    """

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.why = why
        self.status = status


def checked_webhook_url(url: str) -> str:
    """An address that fal can be told to call.

    Raises:
        ConfigurationError: It is none, or holds a user name, which would be shown with it.

    Example:
        >>> checked_webhook_url("https://hooks.example.com/hailuo")
        'https://hooks.example.com/hailuo'
    """
    try:
        parts = urlsplit(url)
        # Reading the port, too, raises ValueError if it cannot be one.
        good, _ = parts.scheme in ("http", "https") and bool(parts.hostname), parts.port
    except ValueError:
        good = False
    plain = url.isascii() and url.isprintable() and " " not in url
    if not good or not plain or "@" in parts.netloc or parts.fragment:
        # What is pasted into the wrong place may be a secret: it is not shown.
        raise ConfigurationError(
            "The webhook URL is no address that fal could call.",
            cure="Write it as https://host/path, without user name and fragment.",
        )
    return url


class Call(Message):
    """What a call says.

    Args:
        request_id: fal's id of the request.
        gateway_request_id: The id that the submission was answered with, where fal had to start
            it anew under another.
        status: `OK` or `ERROR`.
        payload: What the result would be.
        error: What went wrong.
        payload_error: Why there is no payload, though there is a result.
    """

    request_id: str | None = None
    gateway_request_id: str | None = None
    status: str
    payload: Any = None
    error: str | None = None
    payload_error: str | None = None

    @property
    def output(self) -> Output | None:
        """The result, where the call holds one."""
        if self.status != "OK":
            return None
        try:
            return Output.model_validate(self.payload)
        except ValidationError:
            return None

    @property
    def completed(self) -> Completed:
        """How the request ended."""
        if self.status == "OK":
            return Completed()
        return Completed(error=self.error or "fal called it an error.")

    def request_ids(self, signed: Signed) -> list[str]:
        """The ids that it may be known by, each once."""
        named = (signed.request_id, self.request_id, self.gateway_request_id)
        return list(dict.fromkeys(each for each in named if each))


_CALL = TypeAdapter(Call)


def call_in(body: bytes) -> Call:
    """The call in a body.

    Raises:
        RefusedCallError: There is none in it.

    Example:
        >>> call_in(b'{"request_id": "r1", "status": "ERROR", "error": "Out of order."}').error
        'Out of order.'
    """
    try:
        return _CALL.validate_json(body)
    except ValidationError:
        raise RefusedCallError("The body is no call of fal's.", 400) from None


def check_realm_of(request_ids: Sequence[str], realm: Realm) -> None:
    """Refuse what is about a request of the other realm.

    Raises:
        RefusedCallError: It is.
    """
    issued = ["emulator" if each.startswith(EMULATOR_PREFIX) else "fal" for each in request_ids]
    if set(issued) != {realm}:
        raise RefusedCallError(f"The request is none of the realm {realm!r}.", 400)


@dataclass(frozen=True)
class Signed:
    """What the headers of a call say.

    Args:
        request_id: The request that it is about.
        user_id: fal's id of the account.
        timestamp: When it was signed, in Unix seconds, as it was written.
        signature: Of all this and of the body.
    """

    request_id: str
    user_id: str
    timestamp: str
    signature: bytes

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Signed:
        """Read the headers, whose names are in lower case.

        Raises:
            RefusedCallError: One is missing or malformed.

        Example:
            >>> Signed.of({})
            Traceback (most recent call last):
            ...
            prefect_hailuo.fal.webhooks.RefusedCallError: The header X-Fal-Webhook-Request-Id ...
        """
        request_id, user_id, timestamp, signature = (
            _header(headers, name) for name in ("Request-Id", "User-Id", "Timestamp", "Signature")
        )
        if not (timestamp.isascii() and timestamp.isdecimal()):
            raise RefusedCallError("The header X-Fal-Webhook-Timestamp is no number.", 400)
        try:
            signed = bytes.fromhex(signature)
        except ValueError:
            signed = b""
        if len(signed) != SIGNATURE_BYTES:
            raise RefusedCallError("The header X-Fal-Webhook-Signature is no signature.", 400)
        return cls(request_id, user_id, timestamp, signed)

    def check_time(self, now: float | None = None) -> None:
        """Refuse what was signed long ago, or is yet to be: it may be an old call, sent again.

        Args:
            now: Unix seconds; None: now.

        Raises:
            RefusedCallError: It is further away than `LEEWAY_SECONDS`.
        """
        now = time.time() if now is None else now
        # A float, for an integer of any length would be taken and take long.
        if not abs(now - float(self.timestamp)) <= LEEWAY_SECONDS:
            raise RefusedCallError("The call's time is more than five minutes from now.", 401)

    def is_by(self, keys: Iterable[bytes], body: bytes) -> bool:
        """Whether one of some ED25519 keys signed it.

        Args:
            keys: Raw public keys.
            body: As it came, to the byte.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        digest = hashlib.sha256(body).hexdigest()
        signed = "\n".join([self.request_id, self.user_id, self.timestamp, digest]).encode()
        for key in keys:
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(self.signature, signed)
            except InvalidSignature:
                continue
            return True
        return False


def _header(headers: Mapping[str, str], name: str) -> str:
    full = f"X-Fal-Webhook-{name}"
    value = headers.get(full.lower(), "")
    if not value:
        raise RefusedCallError(f"The header {full} is missing: this is no call of fal's.", 400)
    return value


class WebhookKeys:
    """The keys of one realm.

    Args:
        rest_url: fal's REST host.
        realm: Who must answer there.
        clock: What their age is measured with.
    """

    def __init__(self, rest_url: str, realm: Realm, clock: Clock | None = None) -> None:
        self._url = rest_url + JWKS_PATH
        self._realm = realm
        self._clock: Clock = clock or SystemClock()
        self._keys: Sequence[bytes] = ()
        self._fetched_at = -math.inf
        self._failure: FalError | None = None
        self._failed_at = -math.inf
        self._fetching = anyio.Lock()

    async def check(self, signed: Signed, body: bytes, http: httpx.AsyncClient) -> None:
        """Refuse a call that fal has not signed.

        Args:
            signed: What its headers say.
            body: As it came.
            http: What the keys are fetched with.

        Raises:
            RefusedCallError: It has not.
            UnreachableError, MalformedReplyError: The keys could not be had.
        """
        # Before the lock: whoever sends wrong ones, while the keys are fetched, holds up no call.
        if self._age <= KEPT_SECONDS and signed.is_by(self._keys, body):
            return
        async with self._fetching:
            if self._age > AGAIN_SECONDS:
                await self._fetch_unless_failed(http)
        if not signed.is_by(self._keys, body):
            raise RefusedCallError("The signature is not fal's.", 401)

    @property
    def _age(self) -> float:
        return self._clock.now() - self._fetched_at

    async def _fetch_unless_failed(self, http: httpx.AsyncClient) -> None:
        if self._failure and self._clock.now() - self._failed_at < FAILED_SECONDS:
            raise type(self._failure)(self._failure.message)
        self._failure = None
        try:
            await self._fetch(http)
        except FalError as error:
            self._failure, self._failed_at = error.with_traceback(None), self._clock.now()
            raise

    async def _fetch(self, http: httpx.AsyncClient) -> None:
        try:
            with anyio.fail_after(FETCH_SECONDS):
                answer = await http.get(self._url)
        except (httpx.HTTPError, TimeoutError) as error:
            raise UnreachableError(f"fal's webhook keys at {self._url} cannot be had.") from error
        if not answer.is_success:
            raise UnreachableError(f"{self._url} answered HTTP {answer.status_code}.")
        if (EMULATOR_HEADER in answer.headers) != (self._realm == "emulator"):
            raise MalformedReplyError(f"{self._url} is not of the realm {self._realm!r}.")
        try:
            self._keys = KeySet.model_validate_json(answer.content).raw()
        except ValidationError:
            raise MalformedReplyError(f"{self._url} serves no keys.") from None
        self._fetched_at = self._clock.now()


class KeySet(Message):
    """fal's public keys, as a JSON Web Key Set."""

    keys: list[dict[str, Any]] = Field(default_factory=list)

    def raw(self) -> list[bytes]:
        """The ED25519 keys among them; others are passed over.

        Example:
            >>> KeySet(keys=[{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]).raw()
            []
        """
        return [key for each in self.keys if (key := _raw(each)) is not None]


def _raw(key: Mapping[str, Any]) -> bytes | None:
    if (key.get("kty"), key.get("crv")) != ("OKP", "Ed25519") or not isinstance(key.get("x"), str):
        return None
    text: str = key["x"]
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return raw if len(raw) == 32 else None
