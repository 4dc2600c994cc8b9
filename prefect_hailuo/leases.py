"""Slots of a global concurrency limit, as Prefect lends them: by leases, several at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_logger

LEASE_SECONDS = 300.0
"""How long the slots of a process that died stay taken; about as long as fal makes its videos."""

RENEW_SECONDS = 100.0

FULL, TOO_MANY, GONE = 423, 422, 410


class UnknownLimitError(Exception):
    """Prefect knows no limit of that name."""


@dataclass(eq=False)
class Lease:
    """Slots that Prefect has lent.

    Args:
        id: Prefect's.
        slots: How many.
        since: When they were lent, on the machine's monotonic clock.
        renewed: When the lease was last renewed, by the same clock.
    """

    id: UUID
    slots: int
    since: float
    renewed: float


class Leases:
    """What one thread has leased of a limit.

    Args:
        name: The limit's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.held: list[Lease] = []
        self.limit = 1
        """How many slots the limit has, as Prefect said last."""

    @property
    def slots(self) -> int:
        """How many are leased."""
        return sum(each.slots for each in self.held)

    def borrow(self, client: SyncPrefectClient, number: int) -> Lease | None:
        """Lease so many slots, or fewer; none where the limit is full.

        Raises:
            UnknownLimitError: There is no such limit.
        """
        while number:
            try:
                answer = client.increment_concurrency_slots_with_lease(
                    [self._name], number, "concurrency", LEASE_SECONDS
                )
                return self._lent(answer.json(), number)
            except PrefectHTTPStatusError as error:
                if error.response.status_code not in (FULL, TOO_MANY):
                    raise
            number //= 2
        return None

    def renew(self, client: SyncPrefectClient) -> None:
        """Keep those alive that are due."""
        for lease in [each for each in self.held if _age(each.renewed) >= RENEW_SECONDS]:
            began = time.monotonic()
            try:
                client.renew_concurrency_lease(lease.id, LEASE_SECONDS)
                lease.renewed = began
            except PrefectHTTPStatusError as error:
                if error.response.status_code != GONE:
                    raise
                self._lose(lease)

    def drop_overdue(self) -> None:
        """Count no more on those that could not be renewed for so long that they have run out."""
        for lease in [each for each in self.held if _age(each.renewed) > LEASE_SECONDS]:
            self._lose(lease)

    def older_than(self, seconds: float) -> Lease | None:
        """One that was lent as long ago."""
        return next((each for each in self.held if _age(each.since) >= seconds), None)

    def _lent(self, answer: dict[str, Any], number: int) -> Lease:
        if not answer["limits"]:  # of a limit that it does not know, Prefect lends as many as asked
            raise UnknownLimitError
        self.limit = answer["limits"][0]["limit"]
        now = time.monotonic()
        return Lease(UUID(answer["lease_id"]), number, now, now)

    def _lose(self, lease: Lease) -> None:
        self.held.remove(lease)
        get_logger("hailuo").warning(
            "Prefect took back %s slots of the concurrency limit %r.", lease.slots, self._name
        )


def _age(moment: float) -> float:
    return time.monotonic() - moment
