"""fal's webhook calls, which tell of a request's end: whether a call is fal's, and what it says.

fal signs its calls; `WebhookKeys` fetches fal's public keys when they are needed and keeps them for
a while. Source: https://docs.fal.ai/model-endpoints/webhooks, as gathered 2026-08.
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
"""How far a call's time may be from now, either way, by fal's documentation."""

MOST_BYTES = 256 * 1024
"""How long a call's body may be; a video's has some hundred bytes."""

SIGNATURE_BYTES = 64

JWKS_PATH = "/.well-known/jwks.json"
"""Where the public keys are, below the REST host."""

KEPT_SECONDS = 24 * 3600.0
"""How long keys are good, by fal's documentation."""

AGAIN_SECONDS = 60.0
"""How soon the keys are fetched again after a signature that fits none: fal may have changed them,
but a sender of wrong signatures must not make us ask fal for each."""

FAILED_SECONDS = 5.0
"""How long after a failure the keys are not fetched again: while fal is down, its calls, which it
repeats, do not each wait for an attempt."""

FETCH_SECONDS = 10.0


class RefusedCallError(Exception):
    """A call that is refused.

    Args:
        why: What is wrong with it, for its sender.
        status: The HTTP status to answer with.
    """

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.why = why
        self.status = status


def checked_webhook_url(url: str) -> str:
    """A webhook URL, checked.

    Raises:
        ConfigurationError: fal could not call it, or it holds a user name, which would be shown.

    Example:
        >>> checked_webhook_url("https://hooks.example.com/hailuo")
        'https://hooks.example.com/hailuo'
    """
    try:
        parts = urlsplit(url)
        # Reading the port raises ValueError if it is no number.
        good, _ = parts.scheme in ("http", "https") and bool(parts.hostname), parts.port
    except ValueError:
        good = False
    plain = url.isascii() and url.isprintable() and " " not in url
    if not good or not plain or "@" in parts.netloc or parts.fragment:
        # It may be a secret that was pasted into the wrong place: it is not shown.
        raise ConfigurationError(
            "The webhook URL is no address that fal could call.",
            cure="Write it as https://host/path, without user name and fragment.",
        )
    return url


class Call(Message):
    """The body of a call.

    Args:
        request_id: fal's id of the request.
        gateway_request_id: The id from the answer to the submission, if fal had to start the
            request anew under another id.
        status: `OK` or `ERROR`.
        payload: The result.
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
        """The result, if the call holds one."""
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
        """The ids that the request may have in the ledger, each once."""
        named = (signed.request_id, self.request_id, self.gateway_request_id)
        return list(dict.fromkeys(each for each in named if each))


_CALL = TypeAdapter(Call)


def call_in(body: bytes) -> Call:
    """The call in a body.

    Raises:
        RefusedCallError: The body is no call.

    Example:
        >>> call_in(b'{"request_id": "r1", "status": "ERROR", "error": "Out of order."}').error
        'Out of order.'
    """
    try:
        return _CALL.validate_json(body)
    except ValidationError:
        raise RefusedCallError("The body is not a call from fal.", 400) from None


def check_realm_of(request_ids: Sequence[str], realm: Realm) -> None:
    """Refuse a call about a request of the other realm.

    Raises:
        RefusedCallError: It is about one.
    """
    issued = ["emulator" if each.startswith(EMULATOR_PREFIX) else "fal" for each in request_ids]
    if set(issued) != {realm}:
        raise RefusedCallError(f"The request is not of the realm {realm!r}.", 400)


@dataclass(frozen=True)
class Signed:
    """The headers of a call.

    Args:
        request_id: The request that it is about.
        user_id: fal's id of the account.
        timestamp: When it was signed, in Unix seconds, as a text.
        signature: The signature of these and of the body.
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
        """Refuse a call that was signed too long ago or in the future: it may be a replay.

        Args:
            now: Unix seconds; None: now.

        Raises:
            RefusedCallError: It is further away than `LEEWAY_SECONDS`.
        """
        now = time.time() if now is None else now
        # A float: a very long integer would be accepted and take long.
        if not abs(now - float(self.timestamp)) <= LEEWAY_SECONDS:
            raise RefusedCallError("The call's time is more than five minutes from now.", 401)

    def is_by(self, keys: Iterable[bytes], body: bytes) -> bool:
        """Whether one of the ED25519 keys signed it.

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
        raise RefusedCallError(f"The header {full} is missing: this is not a call from fal.", 400)
    return value


class WebhookKeys:
    """fal's public keys, or an emulator's.

    Args:
        rest_url: fal's REST host.
        realm: Who must answer there.
        clock: What the keys' age is measured with.
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
            signed: Its headers.
            body: Its body, as it came.
            http: The client that fetches the keys.

        Raises:
            RefusedCallError: The signature is not fal's.
            UnreachableError, MalformedReplyError: The keys could not be fetched.
        """
        # Before the lock, so that a good call does not wait for keys that a wrong one wants.
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
        """The ED25519 keys among them; others are ignored.

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
