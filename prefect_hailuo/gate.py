"""A cap on how many generations of an account are at fal at once, across all who share it.

What counts them is outside of this package's core: a `Gate` comes with the order. A purchase takes
a slot before its intent is written, and gives it back when its generation has ended at fal. What is
stored already, or under way, needs none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Protocol

from typing_extensions import Self


class Gate(Protocol):
    """Counts slots, on the package's loop."""

    async def enter(self, seconds: float) -> None:
        """Take a slot, once one is free.

        Args:
            seconds: How long to wait for one.

        Raises:
            GenerationTimeoutError: None was free for so long; nothing was bought.
            ConcurrencyLimitError: Nobody can say whether one is free; nothing was bought.
        """

    def leave(self) -> None:
        """Give a slot back."""


class Slot:
    """One purchase's slot: none at first, and none in the end.

    Args:
        gate: Where it comes from; None where nothing is capped.
    """

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate
        self._taken = False

    @property
    def taken(self) -> bool:
        """Whether it holds one."""
        return self._taken

    async def take(self, seconds: float) -> None:
        """Take one, unless it has one, or none is needed.

        Raises:
            HailuoError: None could be had; nothing was bought.
        """
        if self._gate is not None and not self._taken:
            await self._gate.enter(seconds)
            self._taken = True

    def free(self) -> None:
        """Give it back, if it has one."""
        if self._gate is not None and self._taken:
            self._taken = False
            self._gate.leave()

    def leave_to(self, watch: Coroutine[Any, Any, None]) -> None:
        """Keep it for a request that was submitted, and that nobody waits for yet.

        Args:
            watch: Ends when the request has ended at fal, or is to be watched no longer.
        """
        other, self._taken = Slot(self._gate), False
        other._taken = True
        task = asyncio.create_task(watch)
        _watches.add(task)
        task.add_done_callback(_watches.discard)
        task.add_done_callback(lambda _: other.free())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.free()


_watches: set[asyncio.Task[None]] = set()
"""The loop itself would forget them."""
