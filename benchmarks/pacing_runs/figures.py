"""What is counted while a simulation runs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prefect_hailuo.fal.follow import Plan

BESIDES = 3
"""The requests of each generation that are none of the waiting's: POST, result, download."""

MOST_STEPS_AT_ONCE = 20

UNSEEN_SECONDS = 30.0
UNSEEN_SHARE = 0.1
"""How long no video may wait unseen: a tenth of the time that it ran or, if that is longer, 30
seconds."""


class Tally:
    """Of one run.

    Args:
        streams: How many there are.
    """

    def __init__(self, streams: int) -> None:
        self.asks = self.streams = self.plans = self.wakings = 0
        self.most_streams = 0
        self._all_streams = streams
        self._late: list[float] = []
        self._worst_share = 0.0
        self._asks: Counter[int] = Counter()
        self._last: tuple[int, float] = (-1, -1.0)
        self._repeated = 0

    def ask(self, now: float) -> None:
        """A question is sent."""
        self.asks += 1
        self._asks[int(now)] += 1

    def stream(self, free: int) -> None:
        """A stream is opened."""
        self.streams += 1
        self.most_streams = max(self.most_streams, self._all_streams - free)

    def seen(self, late: float, ran: float) -> None:
        """An end was seen, so late, of a request that ran so long."""
        self._late.append(late)
        self._worst_share = max(self._worst_share, late / max(UNSEEN_SECONDS, UNSEEN_SHARE * ran))

    def check(self, number: int, plan: Plan, now: float) -> None:
        """Notice who goes round and round without getting anywhere.

        Raises:
            AssertionError: Somebody does.
        """
        same = self._last == (number, now)
        self._repeated = self._repeated + 1 if same else 0
        self._last = (number, now)
        if self._repeated > MOST_STEPS_AT_ONCE:
            raise AssertionError(f"request {number} plans again and again at {now}: {plan}")

    def told(self, frames: int) -> dict[str, Any]:
        """All of it, a generation each."""
        late = sorted(self._late)
        count = len(late) or 1
        return {
            "seen": len(late),
            "questions": self.asks / count,
            "streams": self.streams / count,
            "requests": (self.asks + self.streams) / count + BESIDES,
            "late_median_s": late[count // 2],
            "late_95th_s": late[int(0.95 * count)],
            "late_worst_s": late[-1],
            "late_worst_share": self._worst_share,
            "most_streams": self.most_streams,
            "frames": frames / count,
            "plans": self.plans / count,
            "wakings": self.wakings / count,
            "busiest_second": max(self._asks.values(), default=0),
        }
