"""The batch lane: one task run that carries any number of videos.

A task run for each of ten thousand videos is more than Prefect's server records: above some
thousands in a burst it drops their states, without a word. Here there is one, and it says little.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

from anyio.to_thread import run_sync
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext

from prefect_hailuo.batch_telling import BatchTeller, EnoughError, OnOutcome
from prefect_hailuo.blocks import Credentials
from prefect_hailuo.budget import Budget
from prefect_hailuo.caching import repeat_if_free
from prefect_hailuo.catalogue import Wanted, make_orders
from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.errors import ConfigurationError, RequestCancelledError
from prefect_hailuo.order import OnAmbiguous, OnLost, Order
from prefect_hailuo.outcomes import VideoOutcomes
from prefect_hailuo.steps import Step, aperform, batching, perform
from prefect_hailuo.storage import Storage

OnFailed = Literal["return", "raise"]

# A result of Prefect's would be final, and a batch hardly ever is: what failed may be had another
# time, and a stored file may be moved. The ledger knows each video, and makes a rerun cheap; so
# nothing is persisted either, which with NO_CACHE Prefect would not do anyway, though it is asked.
CARRIES: dict[str, Any] = {"cache_policy": NO_CACHE, "retry_condition_fn": repeat_if_free}


@task(name="Generate videos", **CARRIES)
def generate_videos(
    inputs: Iterable[Wanted],
    *,
    credentials: Credentials = None,
    storage: Storage = None,
    take: int | str = 0,
    timeout_seconds: float | None = None,
    labels: dict[str, str] | None = None,
    budget: Budget | str | None = None,
    on_ambiguous: OnAmbiguous = "park",
    on_lost: OnLost = "raise",
    on_failed: OnFailed = "return",
    on_outcome: OnOutcome | None = None,
) -> VideoOutcomes:
    """Generate any number of videos in one task run. **This may spend money, once for each.**

    Each is bought once, as by `generate_video`, whoever asks, however often: a batch that was
    killed is run again as it is, and goes on. Equal inputs of the same take are one video. One
    that fails does not stop the others; only where all would fail alike (a bad key, no credit, no
    ledger, no place to store) no more are begun, and the rest say that they were not tried.
    That fal wants fewer submissions for now (429), or is out of reach for a while, is waited out.

    Args:
        inputs: What to generate, of any models: inputs, `(input, take)`, or `BatchItem`s with
            labels of their own. All are checked before anything is bought.
        credentials, storage, labels, budget, on_ambiguous, on_lost: As for `generate_video`.
        take: The take of those that come without one.
        timeout_seconds: How long, in seconds, fal may let nothing of the batch come any further;
            by default half an hour. What waits for its turn behind others does not time out.
        on_failed: Where some failed, `"return"` the outcomes, the task run being Completed, or
            `"raise"` a `BatchError` that carries them; then `retries` try once more what failed
            at no cost.
        on_outcome: Called with each outcome within a second or so of its end. What it raises
            ends the batch; what was bought stays bought, and is found by a rerun.

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
    orders = _orders(
        inputs,
        on_failed,
        credentials=credentials,
        storage=storage,
        take=take,
        timeout_seconds=timeout_seconds,
        labels=labels,
        budget=budget,
        on_ambiguous=on_ambiguous,
        on_lost=on_lost,
    )
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
async def agenerate_videos(
    inputs: Iterable[Wanted],
    *,
    credentials: Credentials = None,
    storage: Storage = None,
    take: int | str = 0,
    timeout_seconds: float | None = None,
    labels: dict[str, str] | None = None,
    budget: Budget | str | None = None,
    on_ambiguous: OnAmbiguous = "park",
    on_lost: OnLost = "raise",
    on_failed: OnFailed = "return",
    on_outcome: OnOutcome | None = None,
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
    prepare = partial(
        _orders,
        inputs,
        on_failed,
        credentials=credentials,
        storage=storage,
        take=take,
        timeout_seconds=timeout_seconds,
        labels=labels,
        budget=budget,
        on_ambiguous=on_ambiguous,
        on_lost=on_lost,
    )
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
    """Somebody cancelled requests of the batch at fal: maybe because its flow run was cancelled.

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
