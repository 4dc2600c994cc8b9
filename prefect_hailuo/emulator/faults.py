"""What is to go wrong, and with which requests.

    emulator.faults.add(drop_after_accepting("submit"))
    emulator.faults.add(refuse("status", 502, nth=3))
    emulator.faults.add(refuse_content(prompt="forbidden", count=None))

A fault names what it is `on` (submit, status, stream, result, cancel, media, run, history,
models, pricing, or `generation`: what the model does), what happens, and which of the requests of
that kind it befalls: from the `nth` on, `count` of them (None for all), of one `endpoint`, of
prompts that contain a text. Requests are counted from when the fault is added; what the model does
with a generation is settled when its submission is accepted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from prefect_hailuo.emulator.calls import Call, Kind
from prefect_hailuo.emulator.mishaps import Happening

Place = Kind | Literal["generation"]
"""Where a fault strikes: a kind of request, or the model's work on a generation."""


@dataclass(frozen=True)
class Fault:
    """Something that is to go wrong.

    Args:
        on: The kind of request, or `generation`.
        what: What happens.
        nth: The first of the matching requests that it befalls, counted from 1.
        count: How many it befalls; None for all that follow.
        endpoint: Only requests about this endpoint's id.
        prompt: Only requests about a prompt that contains this text.

    Raises:
        ValueError: `nth` or `count` is below 1.
    """

    on: Place
    what: Happening
    nth: int = 1
    count: int | None = 1
    endpoint: str | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        if self.nth < 1 or (self.count is not None and self.count < 1):
            raise ValueError(f"nth and count begin at 1: nth={self.nth}, count={self.count}")

    def concerns(self, place: Place, call: Call) -> bool:
        """Whether a request is of those that it counts."""
        return (
            self.on == place
            and self.endpoint in (None, call.endpoint)
            and (self.prompt is None or self.prompt in (call.prompt or ""))
        )

    def strikes(self, number: int) -> bool:
        """Whether it befalls the request of this number among those that it counts."""
        return number >= self.nth and (self.count is None or number < self.nth + self.count)


@dataclass
class _Watched:
    fault: Fault
    seen: int = 0
    struck: int = 0


class FaultPlan:
    """The faults of one emulator; tests may add to it while it runs, from any thread.

    Args:
        faults: Those to begin with.

    Example:
        >>> from prefect_hailuo.emulator import refuse
        >>> plan = FaultPlan()
        >>> plan.add(refuse("submit", 503))
        >>> len(plan)
        1
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._watched = [_Watched(fault) for fault in faults]

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, *faults: Fault) -> None:
        """Add faults; they count requests from now on."""
        with self._lock:
            self._watched.extend(_Watched(fault) for fault in faults)

    def clear(self) -> None:
        """Nothing more goes wrong."""
        with self._lock:
            self._watched.clear()

    def struck(self, fault: Fault) -> int:
        """How often a fault has struck."""
        with self._lock:
            return sum(watched.struck for watched in self._watched if watched.fault is fault)

    def draw(self, place: Place, call: Call) -> list[Happening]:
        """What befalls a request, in the order in which the faults were added."""
        with self._lock:
            return [
                watched.fault.what for watched in self._watched if _befalls(watched, place, call)
            ]


def _befalls(watched: _Watched, place: Place, call: Call) -> bool:
    if not watched.fault.concerns(place, call):
        return False
    watched.seen += 1
    strikes = watched.fault.strikes(watched.seen)
    watched.struck += strikes
    return strikes
