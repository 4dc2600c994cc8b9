"""The random walk's model of fal: what it accepted, what it shows, and what it charges for."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ledger_ground import FOX

from prefect_hailuo.errors import (
    ContentPolicyError,
    HailuoError,
    RateLimitedError,
    SubmitUnknownError,
)
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.fal.platform import History, PastRequest, PlatformClient
from prefect_hailuo.ledger.attempt import Attempt, moment
from prefect_hailuo.ticket import Ticket

QUEUED, RUNNING, DONE, FAILED, REMOVED = "queued", "running", "done", "failed", "removed"


@dataclass
class Request:
    """What fal knows of one POST, and whose it truly is."""

    request_id: str
    key: str
    number: int
    account: str
    body: dict[str, Any]
    sent_at: float
    hidden: int
    """How many readings of the history leave it out."""
    state: str = QUEUED
    charged: bool = False

    @property
    def counts(self) -> bool:
        """Whether it was charged, or may still be."""
        return self.charged or self.state in (QUEUED, RUNNING)


class Fal:
    """A queue, a history and a bill.

    Args:
        chance: What everything that is left to chance goes by.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.requests: dict[str, Request] = {}
        self.skew = chance.choice([0.0, 0.0, 3600.0, -3600.0])
        self.calm = False

    def post(self, mine: Attempt) -> Ticket:
        """Take a POST, or not; answer, or not."""
        luck = 1.0 if self.calm else self.chance.random()
        if luck < 0.12:
            raise RateLimitedError("Slowly.")
        if luck < 0.24:
            raise SubmitUnknownError("It never arrived, and nobody knows.")
        request = self._accept(mine)
        if luck < 0.5:
            raise SubmitUnknownError("It arrived, and nobody knows.")
        return Ticket(
            endpoint=mine.endpoint, request_id=request.request_id, account=mine.account, realm="fal"
        )

    def work(self) -> None:
        """Go on with one request, whichever."""
        waiting = [each for each in self.requests.values() if each.state in (QUEUED, RUNNING)]
        if waiting:
            self._go_on(self.chance.choice(waiting))

    def finish(self) -> None:
        """Go on until there is nothing to do."""
        while any(each.state in (QUEUED, RUNNING) for each in self.requests.values()):
            self.work()

    def failure(self, request: Request) -> HailuoError | None:
        """The error that the result of a failed request is."""
        if request.state != FAILED:
            return None
        if request.charged or int(request.request_id[1:]) % 2:
            return ContentPolicyError("Flagged.")  # may be charged
        return RateLimitedError("Failed, and surely not charged.")

    def cancel(self, request_id: str) -> Cancellation:
        """Take a request from the queue, if it is there."""
        request = self.requests[request_id]
        if request.state == QUEUED:
            request.state = REMOVED
        by_state = {REMOVED: Cancellation.REMOVED, RUNNING: Cancellation.REQUESTED}
        return by_state.get(request.state, Cancellation.TOO_LATE)

    def bill(self, key: str | None = None) -> int:
        """How many requests were charged, or may still be, of one key or of all."""
        return sum(each.counts for each in self.requests.values() if key in (None, each.key))

    def let_pass(self, seconds: float) -> None:
        """Move everything into the past."""
        for each in self.requests.values():
            each.sent_at -= seconds

    def show(self, account: str, start: datetime) -> History:
        """The history of an account, by fal's own clock, with what it is said to list by now."""
        shown = [each for each in self.requests.values() if each.account == account]
        listed = [self._item(each) for each in shown if self._lists(each)]
        since = tuple(each for each in listed if each.sent_at >= start)
        return History(since, moment(time.time() + self.skew))

    def _accept(self, mine: Attempt) -> Request:
        hidden = self.chance.choice([0, 0, 0, 1, 3, 10**9])
        request_id = f"r{len(self.requests) + 1}"
        body = dict(mine.body or {})
        self.requests[request_id] = Request(
            request_id, mine.key, mine.number, mine.account, body, time.time(), hidden
        )
        return self.requests[request_id]

    def _go_on(self, request: Request) -> None:
        if request.state == QUEUED:
            request.state = RUNNING
            return
        request.state = DONE if self.calm or self.chance.random() < 0.75 else FAILED
        unbilled = request.state == FAILED and not self._charges_failure(request)
        request.charged = not unbilled

    def _charges_failure(self, request: Request) -> bool:
        return int(request.request_id[1:]) % 2 == 1 and self.chance.random() < 0.5

    def _lists(self, request: Request) -> bool:
        request.hidden = 0 if self.calm else request.hidden - 1
        return request.hidden < 0 or self.calm

    def _item(self, request: Request) -> PastRequest:
        return PastRequest(
            request_id=request.request_id,
            endpoint_id=FOX.endpoint.id,
            sent_at=moment(request.sent_at) + timedelta(seconds=self.skew),
            json_input=request.body,
        )


class Platform(PlatformClient):
    """One account's view of the model's history."""

    def __init__(self, fal: Fal, account: str) -> None:
        self._fal = fal
        self._account = account

    async def history(
        self, endpoint: str, start: datetime, end: datetime | None = None, **options: Any
    ) -> History:
        """What the model lists by now."""
        assert endpoint == FOX.endpoint.id
        return self._fal.show(self._account, start)
