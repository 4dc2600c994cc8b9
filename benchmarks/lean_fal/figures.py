"""What the server counts and measures, of its clients and of itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

SAMPLE_SECONDS = 1.0


class Figures:
    """Of one run.

    Args:
        open_sockets: How many connections are open when it begins.
    """

    def __init__(self, open_sockets: int = 0) -> None:
        self.requests: Counter[str] = Counter()
        self.bodies: set[int] = set()
        self.told_late: list[float] = []
        self.collected_late: list[float] = []
        self.completed = 0
        self.sockets = self.most_sockets = open_sockets
        self._began_at: float | None = None
        self._last_at = self._sampled_at = time.monotonic()
        self._began_cpu = self._sampled_cpu = time.process_time()
        self._busiest = 0.0

    def opened(self) -> None:
        """A connection was made."""
        self.sockets += 1
        self.most_sockets = max(self.most_sockets, self.sockets)

    def closed(self) -> None:
        """A connection is gone, or turned out to be the benchmark's own."""
        self.sockets -= 1

    def count(self, kind: str) -> None:
        """A client's request came in."""
        self.requests[kind] += 1
        self._last_at = time.monotonic()
        if self._began_at is None:
            self._began_at = self._sampled_at = self._last_at
            self._began_cpu = self._sampled_cpu = time.process_time()

    def sample(self) -> None:
        """Note what share of a core was used since the last sample; called every second."""
        now, cpu = time.monotonic(), time.process_time()
        if self._began_at is not None and now - self._sampled_at >= SAMPLE_SECONDS / 2:
            share = (cpu - self._sampled_cpu) / (now - self._sampled_at)
            self._busiest = max(self._busiest, share)
        self._sampled_at, self._sampled_cpu = now, cpu

    def told(self) -> dict[str, Any]:
        """All of it, as JSON."""
        self.sample()
        seconds = self._last_at - (self._began_at or self._last_at)
        share = (self._sampled_cpu - self._began_cpu) / seconds if seconds else 0.0
        return {
            "requests": dict(self.requests),
            "submitted": self.requests["submit"],
            "distinct": len(self.bodies),
            "completed": self.completed,
            "told_late": summary(self.told_late),
            "seen_late": summary(self.collected_late),
            "most_sockets": self.most_sockets,
            "server_share": share,
            "server_busiest_second": self._busiest,
        }


def summary(seconds: Sequence[float]) -> dict[str, float | int]:
    """Median, 95th of a hundred, and worst.

    Example:
        >>> summary([1.0, 3.0, 2.0])
        {'count': 3, 'median': 2.0, 'p95': 3.0, 'worst': 3.0}
    """
    ranked = sorted(seconds)
    count = len(ranked)
    if not ranked:
        return {"count": 0}
    nearest = (ranked[min(count - 1, int(share * count))] for share in (0.5, 0.95, 1.0))
    return {"count": count, **dict(zip(("median", "p95", "worst"), nearest, strict=True))}
