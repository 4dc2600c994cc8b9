"""Batches: any number of videos in one task run, all at the end or each as soon as it is known.

A task run for each of ten thousand videos is more than Prefect's server records: above some
thousands in a burst, it drops their states without a message. So a batch is one task run.

`generate_videos_as_completed` is no generator task of Prefect's, though that would be the obvious
form. In Prefect 3.8, everything that the caller does between two outcomes would run as part of such
a task: a task called there is nested in it, and its result is committed only when the batch ends.
If an asynchronous generator task is left early, a bug in Prefect's engine fails its task run, and
the rest of the flow goes on inside of it; and it cannot be submitted at all. So the batch is an
ordinary task run beside its caller: in a thread, or as a task of the caller's loop.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

from anyio.to_thread import run_sync
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from typing_extensions import Unpack

from prefect_hailuo.engine.loop import Connections, Emit
from prefect_hailuo.engine.order import Order
from prefect_hailuo.engine.outcome import VideoOutcome, VideoOutcomes
from prefect_hailuo.errors import ConfigurationError, RequestCancelledError
from prefect_hailuo.runs.cards import BatchTeller, EnoughError, Handover, OnOutcome
from prefect_hailuo.runs.execution import Step, aperform, batching, perform
from prefect_hailuo.runs.options import PurchaseOptions, show_options
from prefect_hailuo.runs.orders import Wanted, make_orders, repeat_if_free

OnFailed = Literal["return", "raise"]

# A result of Prefect's would be final, and a batch hardly ever is: what failed may be had another
# time, and a stored file may be moved. The ledger knows each video, and makes a rerun cheap; so
# nothing is persisted either, which with NO_CACHE Prefect would not do anyway, though it is asked.
CARRIES: dict[str, Any] = {"cache_policy": NO_CACHE, "retry_condition_fn": repeat_if_free}


@task(name="Generate videos", **CARRIES)
@show_options
def generate_videos(
    inputs: Iterable[Wanted],
    *,
    on_failed: OnFailed = "return",
    on_outcome: OnOutcome | None = None,
    **options: Unpack[PurchaseOptions],
) -> VideoOutcomes:
    """Generate any number of videos in one task run. **This may spend money, once for each.**

    Each is bought once, as by `generate_video`, however often it is asked for: a batch that was
    killed is run again as it is, and goes on. Equal inputs of the same take are one video. One
    that fails does not stop the others. Only an error that would meet all of them (a bad key, no
    credit, no ledger, no place to store) ends the batch: the rest fail as not tried.
    While fal wants fewer submissions (429), or cannot be reached for a while, the batch waits.

    Args:
        inputs: What to generate, of any models: inputs, `(input, take)`, or `BatchItem`s with
            labels of their own. All are checked before anything is bought.
        take: The take of inputs that come without one.
        timeout_seconds: How long, in seconds, fal may let nothing of the batch come any further;
            by default half an hour. What waits for its turn behind others does not time out.
        on_failed: Where some failed, `"return"` the outcomes, the task run being Completed, or
            `"raise"` a `BatchError` that carries them; then `retries` try once more what failed
            at no cost.
        on_outcome: Called with each outcome within a second or so of its end. What it raises
            ends the batch; what was bought stays bought, and is found by a rerun.
        options: As for `PurchaseOptions`.

    Returns:
        An outcome for each input, in their order: a list with `.videos`, `.failed` and
        `.raise_for_failed()`.

    Raises:
        BatchError: Some failed, and `on_failed` is `"raise"`.
        ConfigurationError: Something is missing or cannot be used; nothing was bought.
        StorageError: The place does not take files; nothing was bought.
        TypeError: One of the inputs is none; the message names which.

    Example:
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> shots = [Hailuo23ProTextToVideo(prompt=f"Shot {n}.") for n in range(3)]
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     outcomes = generate_videos(shots, credentials=emulator.credentials(), storage="v")
        >>> [outcome.result().prompt for outcome in outcomes]
        ['Shot 0.', 'Shot 1.', 'Shot 2.']
        >>> outcomes.failed
        []
    """
    if inspect.iscoroutinefunction(on_outcome):
        raise TypeError("on_outcome is asynchronous: use agenerate_videos, which awaits it.")
    orders = _orders(inputs, on_failed, **options)
    if not orders:
        return VideoOutcomes()
    try:
        outcomes = perform(_suspicious(orders, on_outcome))
    except _SomeCancelledError as error:
        outcomes = error.outcomes
    except EnoughError:
        outcomes = VideoOutcomes()
    return outcomes.raise_for_failed() if on_failed == "raise" else outcomes


@task(name="Generate videos", **CARRIES)
@show_options
async def agenerate_videos(
    inputs: Iterable[Wanted],
    *,
    on_failed: OnFailed = "return",
    on_outcome: OnOutcome | None = None,
    **options: Unpack[PurchaseOptions],
) -> VideoOutcomes:
    """The asynchronous twin of `generate_videos`. **This may spend money.**

    Example:
        >>> import asyncio
        >>> from prefect_hailuo import Hailuo02ProTextToVideo
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> owl = Hailuo02ProTextToVideo(prompt="An owl lands.")
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     outcomes = asyncio.run(agenerate_videos([(owl, 1), (owl, 2)], credentials=mine))
        >>> [video.take for video in outcomes.raise_for_failed().videos]
        ['1', '2']
    """
    prepare = partial(_orders, inputs, on_failed, **options)
    orders = await run_sync(prepare)
    if not orders:
        return VideoOutcomes()
    try:
        outcomes = await aperform(await run_sync(_suspicious, orders, on_outcome))
    except _SomeCancelledError as error:
        outcomes = error.outcomes
    except EnoughError:
        outcomes = VideoOutcomes()
    return outcomes.raise_for_failed() if on_failed == "raise" else outcomes


class _SomeCancelledError(RequestCancelledError):
    """Requests of the batch were cancelled at fal, maybe because its flow run was cancelled.

    The step is performed with it as its end, for it is then found out whether that is so.
    """

    outcomes = VideoOutcomes()


def _orders(inputs: Iterable[Wanted], on_failed: OnFailed, **options: Any) -> list[Order]:
    if on_failed not in get_args(OnFailed):
        listed = " or ".join(repr(each) for each in get_args(OnFailed))
        raise ConfigurationError(f"on_failed is {on_failed!r}.", cure=f"Pass {listed}.")
    context = TaskRunContext.get()
    if isinstance(inputs, Iterator) and context is not None and context.task.retries:
        raise TypeError("inputs can be read once, and a retry would find none: pass a list.")
    return make_orders(inputs, **options)


def _suspicious(orders: list[Order], on_outcome: OnOutcome | None) -> Step[VideoOutcomes]:
    """The batch as a step that does not take a cancelled request for the end of the matter."""
    teller = BatchTeller(orders, on_outcome)  # one, also where the step is performed once more
    step = batching(orders, lambda: teller)

    async def job(connections: Connections, emit: Emit) -> VideoOutcomes:
        outcomes = await step.job(connections, emit)
        kinds = {each.failure.kind for each in outcomes if each.failure}
        if RequestCancelledError.__name__ in kinds:
            error = _SomeCancelledError("Some requests of the batch were cancelled.")
            error.outcomes = outcomes
            raise error
        return outcomes

    return replace(step, job=job)


@dataclass(frozen=True)
class _End:
    """Nothing more is to come; `error` is why, if it is not that all has ended."""

    error: BaseException | None = None


@show_options
def generate_videos_as_completed(
    inputs: Iterable[Wanted], **options: Unpack[PurchaseOptions]
) -> Generator[VideoOutcome, None, None]:
    """Generate videos as `generate_videos` does, and yield each outcome when it is known.

    Leaving the loop (`break`, an error) ends the batch: nothing more is bought, and
    nothing is cancelled. What was bought stays bought, and is found by a rerun.

    Args:
        inputs: As for `generate_videos`.
        take, timeout_seconds: As for `generate_videos`.
        options: As for `PurchaseOptions`.

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


@show_options
async def agenerate_videos_as_completed(
    inputs: Iterable[Wanted], **options: Unpack[PurchaseOptions]
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
