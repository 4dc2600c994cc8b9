"""Groups by themselves: who comes together is served together, and nobody suffers for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import pytest
from sqlalchemy.exc import IntegrityError

from prefect_hailuo.errors import LedgerError
from prefect_hailuo.ledger.database import Group


@dataclass
class Counter:
    """Serves groups when it may, and remembers them; it knows no negative numbers."""

    served: list[list[int]] = field(default_factory=list)
    may: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, numbers: Sequence[int]) -> list[int | Exception]:
        """Each number's double."""
        self.served.append(list(numbers))
        await self.may.wait()
        if 13 in numbers:
            raise LedgerError("The disk is full.")
        if 7 in numbers:
            raise IntegrityError("INSERT", {}, Exception("7 is there already"))
        return [ValueError(str(each)) if each < 0 else 2 * each for each in numbers]

    async def ask(self, group: Group[int, int], numbers: Sequence[int]) -> list[object]:
        """What callers who come one after another get, once the first group may be served."""
        calls = []
        for number in numbers:
            calls.append(asyncio.ensure_future(group(number)))
            await anyio.wait_all_tasks_blocked()
        self.may.set()
        return list(await asyncio.gather(*calls, return_exceptions=True))


async def test_the_next_group_gathers_while_one_is_served() -> None:
    """The first caller waits for nobody; those who come meanwhile go together."""
    counter = Counter()
    assert await counter.ask(Group(counter.serve), [1, 2, 3, 4]) == [2, 4, 6, 8]
    assert counter.served == [[1], [2, 3, 4]]


async def test_a_group_is_not_too_large() -> None:
    """So that a lock is not held for long."""
    counter = Counter()
    await counter.ask(Group(counter.serve, most=2), range(6))
    assert counter.served == [[0], [1, 2], [3, 4], [5]]


async def test_one_callers_error_is_its_own() -> None:
    """The others of its group get their answers."""
    counter = Counter()
    answers = await counter.ask(Group(counter.serve), [1, 2, -3, 4])
    assert [answers[0], answers[1], answers[3]] == [2, 4, 8]
    assert isinstance(answers[2], ValueError)


async def test_the_ledgers_error_is_everybodys() -> None:
    """Each has its own, to add to it what it knows; the next group is served again."""
    counter = Counter()
    group = Group(counter.serve)
    _, *errors = await counter.ask(group, [1, 12, 13])
    assert [str(each) for each in errors] == [str(LedgerError("The disk is full."))] * 2
    assert errors[0] is not errors[1]
    assert await group(5) == 10


async def test_a_row_that_just_came_in_stops_only_its_own() -> None:
    """The group is done one by one; whoever fails alone too, fails."""
    counter = Counter()
    _, *answers = await counter.ask(Group(counter.serve), [1, 6, 7, 8])
    assert (answers[0], answers[2]) == (12, 16)
    assert isinstance(answers[1], IntegrityError)
    assert counter.served == [[1], [6, 7, 8], [6], [7], [7], [7], [8]]


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_a_cancelled_caller_takes_nothing_from_the_others(cancelled: int) -> None:
    """Neither the one who began the group, nor one that is served, nor one that waits."""
    counter = Counter()
    group = Group(counter.serve, most=1)
    calls = [asyncio.ensure_future(group(number)) for number in range(3)]
    await anyio.wait_all_tasks_blocked()
    calls[cancelled].cancel()
    counter.may.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [each for number, each in enumerate(answers) if number != cancelled] == [
        2 * number for number in range(3) if number != cancelled
    ]
    assert isinstance(answers[cancelled], asyncio.CancelledError)


async def test_a_scope_that_is_cancelled_waits_for_its_answer() -> None:
    """What was asked for is done to the end, as the road's jobs need it."""
    counter = Counter()
    group = Group(counter.serve)
    answers: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_note, group, answers)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        asyncio.get_running_loop().call_later(0.01, counter.may.set)
    assert answers == [42]


async def _note(group: Group[int, int], answers: list[int]) -> None:
    answers.append(await group(21))


def test_a_loop_that_ends_leaves_nobody_waiting() -> None:
    """Its callers are cancelled with it, and the group may be used on another loop."""
    counters: list[Counter] = []

    async def give_up() -> Group[int, int]:
        counters.append(Counter())
        group = Group(counters[0].serve)
        waiting = asyncio.ensure_future(group(1))
        await anyio.wait_all_tasks_blocked()
        assert not waiting.done()
        return group

    group = asyncio.run(give_up())
    counters[0].may = asyncio.Event()
    counters[0].may.set()
    assert asyncio.run(_once(group)) == 4


async def _once(group: Group[int, int]) -> int:
    return await group(2)
