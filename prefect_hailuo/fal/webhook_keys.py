"""fal's public keys, fetched when they are needed, and kept for a while."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
import httpx
from pydantic import ValidationError

from prefect_hailuo.clock import Clock, SystemClock
from prefect_hailuo.errors import FalError, MalformedReplyError, UnreachableError
from prefect_hailuo.fal.messages import EMULATOR_HEADER, Realm
from prefect_hailuo.fal.webhooks import JWKS_PATH, KeySet, RefusedCallError, Signed

KEPT_SECONDS = 24 * 3600.0
"""How long keys are good, by fal's documentation."""

AGAIN_SECONDS = 60.0
"""How soon they are fetched again for a signature that none of them made: fal may have changed
them, and whoever sends wrong ones must not have fal asked for each."""

FAILED_SECONDS = 5.0
"""How long it is believed that they cannot be had: while fal is down, its calls, which it repeats,
do not wait for one attempt each."""

FETCH_SECONDS = 10.0


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
