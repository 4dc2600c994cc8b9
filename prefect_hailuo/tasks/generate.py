"""The task that every other one stands on: it takes any input."""

from __future__ import annotations

from functools import partial
from typing import Any

from anyio.to_thread import run_sync
from prefect import task

from prefect_hailuo.engine.order import OnAmbiguous, OnLost
from prefect_hailuo.models.catalogue import VideoInput
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.blocks import Budget, Credentials
from prefect_hailuo.runs.orders import GenerationCachePolicy, make_order, repeat_if_free
from prefect_hailuo.runs.steps import aperform, generating, perform
from prefect_hailuo.runs.storage import Storage

# Persisted, so that a later run finds the result; as JSON, which outlives the next release.
GENERATES: dict[str, Any] = {
    "persist_result": True,
    "result_serializer": "json",
    "retry_condition_fn": repeat_if_free,
}


@task(name="Generate video", cache_policy=GenerationCachePolicy(), **GENERATES)
def generate_video(
    input: VideoInput,
    *,
    credentials: Credentials = None,
    storage: Storage = None,
    take: int | str = 0,
    timeout_seconds: float | None = None,
    labels: dict[str, str] | None = None,
    budget: Budget | str | None = None,
    on_ambiguous: OnAmbiguous = "park",
    on_lost: OnLost = "raise",
) -> Video:
    """Generate a video, wait for it, and keep it. **This may spend money, once.**

    The same input and take is the same video: it is bought once, whoever asks, however often, at
    the same time or after a crash; another place gets a copy. Where Prefect has the result, it
    shows the task as Cached; with `refresh_cache` the task runs again, finds the video, and buys
    nothing either. Another `take` buys another video.

    Args:
        input: What to generate, such as `Hailuo23ProTextToVideo(prompt=...)`.
        credentials: A `FalCredentials` block, or a saved block's name. By default, `FAL_KEY` in
            the environment.
        storage: A directory; or a Prefect block that can store files, or its name as
            `"block:<type>/<name>"`. By default, a directory in Prefect's home.
        take: Which of several videos of the same input: a number, or any text, such as the run's
            scheduled date for a clip a day.
        timeout_seconds: How long to wait for fal, in seconds; by default half an hour. Passing it
            loses nothing: the error carries the ticket.
        labels: Your own words for it, such as shot and client; kept in the records.
        budget: The `Budget` that pays, or the name of its scope. By default, the scope that the
            settings name, which has no limit unless somebody gave it one.
        on_ambiguous: What to do where fal's answer to a purchase was lost, and its history does
            not tell what became of it: `"park"` it with an error that asks for a decision, or
            `"resubmit"` it, once, which may pay twice.
        on_lost: What to do where the stored file is nowhere any more, nor at fal: `"raise"` an
            error, or `"resubmit"`, which pays again.

    Returns:
        The stored video, verified, with its provenance.

    Raises:
        HailuoError: By kind, as `prefect_hailuo.errors` draws them; each says whether money was
            spent and whether trying again can help.

    Example:
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     fox = Hailuo23ProTextToVideo(prompt="A red fox crosses a snowy field.")
        ...     video = generate_video(fox, credentials=emulator.credentials(), storage="videos")
        >>> video.path.suffix, video.width, video.made_by_emulator
        ('.mp4', 1920, True)
    """
    order = make_order(
        input,
        credentials=credentials,
        storage=storage,
        take=take,
        timeout_seconds=timeout_seconds,
        labels=labels,
        budget=budget,
        on_ambiguous=on_ambiguous,
        on_lost=on_lost,
    )
    return perform(generating(order))


@task(name="Generate video", cache_policy=GenerationCachePolicy(), **GENERATES)
async def agenerate_video(
    input: VideoInput,
    *,
    credentials: Credentials = None,
    storage: Storage = None,
    take: int | str = 0,
    timeout_seconds: float | None = None,
    labels: dict[str, str] | None = None,
    budget: Budget | str | None = None,
    on_ambiguous: OnAmbiguous = "park",
    on_lost: OnLost = "raise",
) -> Video:
    """The asynchronous twin of `generate_video`. **This may spend money.**

    Example:
        >>> import asyncio
        >>> from prefect_hailuo import Hailuo02ProTextToVideo
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     owl = Hailuo02ProTextToVideo(prompt="An owl lands.", prompt_optimizer=False)
        ...     coroutine = agenerate_video(owl, credentials=emulator.credentials(), storage="v")
        ...     video = asyncio.run(coroutine)
        >>> video.frames_per_second
        24.0
    """
    make = partial(
        make_order,
        input,
        credentials=credentials,
        storage=storage,
        take=take,
        timeout_seconds=timeout_seconds,
        labels=labels,
        budget=budget,
        on_ambiguous=on_ambiguous,
        on_lost=on_lost,
    )
    return await aperform(generating(await run_sync(make)))
