"""The outcomes of a batch as they come.

These are no generator tasks of Prefect's, though that would be the obvious form. As Prefect 3.8
runs those, whatever the caller does between two outcomes runs as part of the task: a task called
there is nested in it, and its result is committed only when the batch ends. Where an asynchronous
one is left early, its task run fails by a mistake of the engine's, the rest of the flow goes on
inside of it, and it cannot be submitted at all. So the batch is an ordinary task run, beside its
caller: in a thread, or as a task of the caller's loop.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Generator, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypedDict

from typing_extensions import Unpack

from prefect_hailuo.batch_tasks import agenerate_videos, generate_videos
from prefect_hailuo.batch_telling import Handover
from prefect_hailuo.blocks import Credentials
from prefect_hailuo.budget import Budget
from prefect_hailuo.catalogue import Wanted
from prefect_hailuo.order import OnAmbiguous, OnLost
from prefect_hailuo.outcomes import VideoOutcome
from prefect_hailuo.storage import Storage


class BatchOptions(TypedDict, total=False):
    """What can be said of a batch, as `generate_videos` takes it."""

    credentials: Credentials
    storage: Storage
    take: int | str
    timeout_seconds: float | None
    labels: dict[str, str] | None
    budget: Budget | str | None
    on_ambiguous: OnAmbiguous
    on_lost: OnLost


@dataclass(frozen=True)
class _End:
    """Nothing more is to come; `error` is why, if it is not that all has ended."""

    error: BaseException | None = None


def generate_videos_as_completed(
    inputs: Iterable[Wanted], **options: Unpack[BatchOptions]
) -> Generator[VideoOutcome, None, None]:
    """Generate videos as `generate_videos` does, and give each outcome when it is known.

    Whoever stops listening (`break`, an error) ends the batch: nothing more is bought, and
    nothing is cancelled. What was bought stays bought, and is found by a rerun.

    Args:
        inputs: As for `generate_videos`.
        options: `credentials`, `storage`, `take`, `timeout_seconds`, `labels`, `budget`,
            `on_ambiguous` and `on_lost`, as for `generate_videos`.

    Raises:
        HailuoError: As `generate_videos` does.

    Example:
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> shots = [Hailuo23ProTextToVideo(prompt=f"Shot {n}.") for n in range(3)]
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     outcomes = generate_videos_as_completed(shots, credentials=emulator.credentials())
        ...     sorted(outcome.index for outcome in outcomes)
        [0, 1, 2]
    """
    told: queue.SimpleQueue[object] = queue.SimpleQueue()
    handover = Handover(told.put)

    def carry() -> None:
        try:
            generate_videos(inputs, on_outcome=handover, **options)
        except BaseException as error:
            told.put(_End(error))
        else:
            told.put(_End())

    thread = threading.Thread(target=copy_context().run, args=[carry], daemon=True)
    thread.start()
    try:
        while isinstance(outcome := told.get(), VideoOutcome):
            yield outcome
        _end(outcome)
    finally:
        handover.enough.set()
        thread.join()


async def agenerate_videos_as_completed(
    inputs: Iterable[Wanted], **options: Unpack[BatchOptions]
) -> AsyncGenerator[VideoOutcome, None]:
    """The asynchronous twin of `generate_videos_as_completed`.

    Example:
        >>> import asyncio
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> async def indices(credentials):
        ...     shots = [Hailuo23ProTextToVideo(prompt=f"Shot {n}.") for n in range(3)]
        ...     outcomes = agenerate_videos_as_completed(shots, credentials=credentials)
        ...     return {outcome.index async for outcome in outcomes}
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     asyncio.run(indices(emulator.credentials()))
        {0, 1, 2}
    """
    told: asyncio.Queue[object] = asyncio.Queue()
    handover = Handover(told.put_nowait)

    async def carry() -> None:
        try:
            await agenerate_videos(inputs, on_outcome=handover, **options)
        except BaseException as error:
            told.put_nowait(_End(error))
        else:
            told.put_nowait(_End())

    carrying = asyncio.create_task(carry())
    try:
        while isinstance(outcome := await told.get(), VideoOutcome):
            yield outcome
        _end(outcome)
    finally:
        handover.enough.set()
        await asyncio.wait([carrying])


def _end(last: object) -> None:
    if isinstance(last, _End) and last.error is not None:
        raise last.error
