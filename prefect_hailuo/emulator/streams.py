"""The status of a request as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio

from prefect_hailuo.emulator.alarms import Alarm
from prefect_hailuo.emulator.emulation import Emulation
from prefect_hailuo.emulator.generations import Generation, State
from prefect_hailuo.emulator.model_logs import next_line_at
from prefect_hailuo.emulator.replies import as_json, status_of

COMMENT_SECONDS = 15.0
"""By fal's documentation: after how much silence a stream says a comment. The machine's time."""

_POSITION_SECONDS = 1.0
_SHORTEST_NAP_SECONDS = 0.2


@contextmanager
def news_of(generation: Generation, emulation: Emulation) -> Iterator[Alarm]:
    """An alarm that rings whenever something happens to a generation."""
    with emulation.alarms.new() as alarm:
        generation.alarms.add(alarm)
        try:
            yield alarm
        finally:
            generation.alarms.discard(alarm)


async def wait_until_completed(generation: Generation, emulation: Emulation) -> bool:
    """Return once a generation is over, or, with False, when the emulator ends before that."""
    with news_of(generation, emulation) as alarm:
        while not emulation.alarms.stopped:
            emulation.queue.settle()
            if generation.state is State.COMPLETED:
                return True
            await alarm.sleep()
    return False


async def status_events(
    generation: Generation, emulation: Emulation, with_logs: bool
) -> AsyncIterator[bytes]:
    """The frames of a status stream: each change as it comes, the last when it is over."""
    told = b""
    with news_of(generation, emulation) as alarm:
        while not emulation.alarms.stopped:
            now = emulation.queue.settle()
            state = generation.state
            body = as_json(status_of(generation, emulation.queue, now, with_logs=with_logs))
            if body != told:
                yield b"data: " + body + b"\n\n"
                told = body
            if state is State.COMPLETED:
                return
            if not await _sleep(alarm, _next_look(generation, emulation, now, with_logs)):
                yield b": ping\n\n"


async def _sleep(alarm: Alarm, until: float | None) -> bool:
    with anyio.move_on_after(COMMENT_SECONDS) as silence:
        await alarm.sleep(until)
    return not silence.cancelled_caught


def _next_look(
    generation: Generation, emulation: Emulation, now: float, with_logs: bool
) -> float | None:
    if generation.state is State.IN_QUEUE:
        return now + max(_POSITION_SECONDS, _SHORTEST_NAP_SECONDS * emulation.clock.speed)
    return next_line_at(generation, now) if with_logs else None
