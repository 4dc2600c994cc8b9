"""Many calls at once, served together: one transaction for all who came while another one ran."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
from sqlalchemy.exc import IntegrityError

from prefect_hailuo.errors import LedgerError
from prefect_hailuo.ledger.database import was_deadlocked

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Serve = Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]]
"""Does something for all of some items, in one transaction: an answer or an error for each. What it
raises is for all of them, and means that nothing was done."""

MOST = 250
"""How many are served at once: who waits for a lock makes so many others wait."""

TRIES = 3
"""How often a group is tried that others locked out, or that a row which just came in stopped."""


@dataclass
class _Call(Generic[Item, Answer]):
    item: Item
    answer: asyncio.Future[Answer]

    def end(self, answer: Answer | Exception) -> None:
        """Give the caller its answer, if it still waits."""
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Group(Generic[Item, Answer]):
    """Serves calls together that come at once.

    While one group is served, the next one gathers: nobody waits for a timer, and who comes alone
    is served at once. A caller that is cancelled meanwhile takes nothing from the others.

    Args:
        serve: Serves a group; items that are alike may be in one.
        most: How many are served at once.

    Example:
        >>> async def double(numbers):
        ...     return [2 * number for number in numbers]
        >>> async def main():
        ...     doubled = Group(double)
        ...     return await asyncio.gather(doubled(1), doubled(2))
        >>> asyncio.run(main())
        [2, 4]
    """

    def __init__(self, serve: Serve[Item, Answer], most: int = MOST) -> None:
        self._serve = serve
        self._most = most
        self._waiting: deque[_Call[Item, Answer]] = deque()
        self._serving: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Answer:
        """Have an item served, to the end: also where the caller is cancelled."""
        call: _Call[Item, Answer] = _Call(item, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._serving is None:
            # A task of its own: whoever is cancelled does not interrupt the others' transaction.
            self._serving = asyncio.create_task(self._serve_all())
        with anyio.CancelScope(shield=True):
            await call.answer
        return call.answer.result()

    async def _serve_all(self) -> None:
        calls: list[_Call[Item, Answer]] = []
        try:
            while self._waiting:
                count = min(self._most, len(self._waiting))
                calls = [self._waiting.popleft() for _ in range(count)]
                await self._serve_group([call for call in calls if not call.answer.done()])
        finally:
            self._serving = None
            # None are left, but where the loop ends in the middle of it.
            for call in (*calls, *self._waiting):
                call.answer.cancel()
            self._waiting.clear()

    async def _serve_group(self, calls: Sequence[_Call[Item, Answer]]) -> None:
        try:
            answers = await self._try([call.item for call in calls])
        except IntegrityError as error:
            if len(calls) == 1:
                return calls[0].end(error)
            for call in calls:
                await self._serve_group([call])
        except Exception as error:
            for call in calls:
                call.end(_own(error) if len(calls) > 1 else error)
        else:
            for call, answer in zip(calls, answers, strict=True):
                call.end(answer)

    async def _try(self, items: Sequence[Item]) -> Sequence[Answer | Exception]:
        for _ in range(TRIES - 1):
            try:
                return await self._serve(items)
            except IntegrityError:
                if len(items) > 1:
                    raise
            except LedgerError as error:
                if not was_deadlocked(error):
                    raise
        return await self._serve(items)


def _own(error: Exception) -> Exception:
    """A caller's own copy of an error: callers add to it what they know."""
    own = copy(error)
    own.__cause__ = error
    return own
