"""The tasks: one line in a flow buys a video.

`generate_video` takes any input; each model's own task is a short stub over it, for editors to
show. The small steps are in `step_tasks.py`.
Every task has an asynchronous twin, named with an `a` in front.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from anyio.to_thread import run_sync
from prefect import task

from prefect_hailuo.blocks import Credentials
from prefect_hailuo.budget import Budget
from prefect_hailuo.caching import GenerationCachePolicy, repeat_if_free
from prefect_hailuo.endpoints import Hailuo02ProTextToVideo, Hailuo23ProTextToVideo, VideoInput
from prefect_hailuo.order import OnAmbiguous, OnLost
from prefect_hailuo.orders import make_order
from prefect_hailuo.steps import aperform, generating, perform
from prefect_hailuo.storage import Storage
from prefect_hailuo.video import Video

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


@task(
    name="Hailuo 2.3 Pro text to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23ProTextToVideo),
    **GENERATES,
)
def hailuo_23_pro_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
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
    """A video by MiniMax Hailuo 2.3 Pro: 1080p, 6 s, $0.49. **This may spend money.**

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed shots.
        credentials, storage, take, timeout_seconds, labels: As for `generate_video`.
        budget, on_ambiguous, on_lost: As for `generate_video`.

    Returns:
        The stored video.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect import flow
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> @flow
        ... def morning_clip(prompt: str, credentials):
        ...     return hailuo_23_pro_text_to_video(prompt, credentials=credentials, storage="v")
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     morning_clip("A red fox at dawn.", emulator.credentials()).height
        1080
    """
    return generate_video.fn(
        Hailuo23ProTextToVideo(prompt=prompt, prompt_optimizer=prompt_optimizer),
        credentials=credentials,
        storage=storage,
        take=take,
        timeout_seconds=timeout_seconds,
        labels=labels,
        budget=budget,
        on_ambiguous=on_ambiguous,
        on_lost=on_lost,
    )


@task(
    name="Hailuo 2.3 Pro text to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23ProTextToVideo),
    **GENERATES,
)
async def ahailuo_23_pro_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
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
    """The asynchronous twin of `hailuo_23_pro_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23ProTextToVideo(prompt=prompt, prompt_optimizer=prompt_optimizer),
        credentials=credentials,
        storage=storage,
        take=take,
        timeout_seconds=timeout_seconds,
        labels=labels,
        budget=budget,
        on_ambiguous=on_ambiguous,
        on_lost=on_lost,
    )


@task(
    name="Hailuo 02 Pro text to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo02ProTextToVideo),
    **GENERATES,
)
def hailuo_02_pro_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
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
    """A video by MiniMax Hailuo 02 Pro: 1080p, 6 s, $0.48. **This may spend money.**

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed shots.
        credentials, storage, take, timeout_seconds, labels: As for `generate_video`.
        budget, on_ambiguous, on_lost: As for `generate_video`.

    Returns:
        The stored video.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = {"credentials": emulator.credentials(), "storage": "videos"}
        ...     first = hailuo_02_pro_text_to_video("An owl lands.", **mine)
        ...     again = hailuo_02_pro_text_to_video("An owl lands.", **mine)
        ...     other = hailuo_02_pro_text_to_video("An owl lands.", take=1, **mine)
        ...     first == again, first.path == other.path, emulator.charged
        (True, False, 2)
    """
    return generate_video.fn(
        Hailuo02ProTextToVideo(prompt=prompt, prompt_optimizer=prompt_optimizer),
        credentials=credentials,
        storage=storage,
        take=take,
        timeout_seconds=timeout_seconds,
        labels=labels,
        budget=budget,
        on_ambiguous=on_ambiguous,
        on_lost=on_lost,
    )


@task(
    name="Hailuo 02 Pro text to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo02ProTextToVideo),
    **GENERATES,
)
async def ahailuo_02_pro_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
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
    """The asynchronous twin of `hailuo_02_pro_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo02ProTextToVideo(prompt=prompt, prompt_optimizer=prompt_optimizer),
        credentials=credentials,
        storage=storage,
        take=take,
        timeout_seconds=timeout_seconds,
        labels=labels,
        budget=budget,
        on_ambiguous=on_ambiguous,
        on_lost=on_lost,
    )
