"""What an account sent before the ledger began, as fal's history shows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import anyio

from prefect_hailuo.clock import Deadline
from prefect_hailuo.errors import Billed, GenerationTimeoutError
from prefect_hailuo.fal.platform import PastRequest, PlatformClient
from prefect_hailuo.ledger.attempts import moment
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.reconciling import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    body_digest_of,
)
from prefect_hailuo.ledger.statements import now_in
from prefect_hailuo.ledger.wishes import Wish

HISTORY_DAYS = 30
"""How long fal keeps requests with their payloads, by its documentation as gathered 2026-08."""

WHOLE_SECONDS = timedelta(seconds=1)
"""How far fal's clock is ahead is known no better, for its `Date` header has no fractions."""

LATELY = timedelta(days=1)
"""Who sent a request so shortly before the ledger began may have sent another right before."""


@dataclass(frozen=True)
class Reading:
    """What one look at an endpoint's history gave.

    Args:
        number: Readings are numbered as they begin.
        age: How old the ledger was then, in seconds.
        requests: Those from before the ledger began, by the database's clock, and perhaps some
            from its first second; by the digests of their bodies.
        lately: Whether one of them is from the last day before.
        late: Why it could not be read in time; None if it was.
    """

    number: int
    age: float
    requests: Mapping[str | None, Sequence[PastRequest]] = field(default_factory=dict)
    lately: bool = False
    late: str | None = None

    def serves(self, asked: int, seconds: float) -> bool:
        """Whether whoever asked before reading `asked` need not read again.

        What was sent before the ledger began is all there once the history cannot lag any more.
        """
        return self.number >= asked or (self.late is None and self.age >= seconds)


class Earlier:
    """Finds requests from before the ledger began, for many calls at once.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next = 0
        self._readings: dict[tuple[str, str], Reading] = {}
        self._locks: defaultdict[tuple[str, str], anyio.Lock] = defaultdict(anyio.Lock)

    async def equal_to(
        self, wish: Wish, began_at: float, platform: PlatformClient, seconds: float
    ) -> list[PastRequest]:
        """The requests with a wish's body.

        The history may lag: where the account was at work shortly before, it is looked at again
        until the ledger is old enough for all of it to be listed.

        Args:
            wish: What is about to be bought.
            began_at: When the ledger began.
            platform: fal's platform API, with the key of the account that would pay.
            seconds: How far the history may lag.

        Raises:
            FalError: fal's history could not be read.
            GenerationTimeoutError: Not in time.
        """
        reading = await self._read(wish, began_at, platform, seconds)
        deadline = Deadline(min(seconds, seconds - reading.age), platform.clock)
        pause = FIRST_PAUSE_SECONDS
        while not (equal := _equal(wish, reading)) and reading.lately and not deadline.passed:
            await deadline.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
            reading = await self._read(wish, began_at, platform, seconds)
        return equal

    async def _read(
        self, wish: Wish, began_at: float, platform: PlatformClient, seconds: float
    ) -> Reading:
        """A reading of the endpoint's history, shared by all who wait for one."""
        which, asked = (wish.account, wish.endpoint), self._next
        async with self._locks[which]:
            reading = self._readings.get(which)
            if reading is None or not reading.serves(asked, seconds):
                reading = await self._ask(wish.endpoint, began_at, platform)
                self._readings[which] = reading
        if reading.late is not None:
            raise _unread(reading.late)
        return reading

    async def _ask(self, endpoint: str, began_at: float, platform: PlatformClient) -> Reading:
        number, self._next = self._next, self._next + 1
        began = moment(began_at)
        async with self._database.reading() as connection:
            age = await now_in(connection) - began_at
        try:
            past = await platform.history(endpoint, began - timedelta(days=HISTORY_DAYS))
        except GenerationTimeoutError as error:
            return Reading(number, age, late=error.message)
        async with self._database.reading() as connection:
            ahead = past.fal_now - moment(await now_in(connection))
        sent = [_on_our_clock(each, ahead) for each in past.requests]
        requests: defaultdict[str | None, list[PastRequest]] = defaultdict(list)
        for each in sent:
            if each.sent_at <= began + WHOLE_SECONDS:
                requests[body_digest_of(each)].append(each)
        lately = any(began - LATELY <= each.sent_at <= began for each in sent)
        return Reading(number, age, dict(requests), lately)


def _on_our_clock(request: PastRequest, ahead: timedelta) -> PastRequest:
    return request.model_copy(update={"sent_at": request.sent_at - ahead})


def _equal(wish: Wish, reading: Reading) -> list[PastRequest]:
    return list(reading.requests.get(wish.body_digest, ()))


def _unread(why: str) -> GenerationTimeoutError:
    return GenerationTimeoutError(
        "This ledger is new, so what the account bought before is looked for in fal's history, "
        f"which could not be read: {why} Nothing was bought.",
        cure="Try again later; or take the history in once, with more patience: prefect-hailuo "
        "ledger import; or, if nothing was bought before: prefect-hailuo ledger import --skip.",
        billed=Billed.NO,
        retryable=True,
    )
