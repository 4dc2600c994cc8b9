"""The task `generate_video`, which takes any input; the models' own tasks are made of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from prefect import task
from prefect.tasks import Task
from typing_extensions import ParamSpec, Unpack

from prefect_hailuo.models.catalogue import VideoInput
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.execution import aperform, generating, perform
from prefect_hailuo.runs.options import PurchaseOptions, show_options
from prefect_hailuo.runs.orders import GenerationCachePolicy, make_order, repeat_if_free
from prefect_hailuo.runs.results import SERIALIZER

P = ParamSpec("P")
R = TypeVar("R")

BRACKETS = str.maketrans("", "", "[]")

# Persisted, so that a later run finds the result; as JSON, which outlives the next release.
GENERATES: dict[str, Any] = {
    "persist_result": True,
    "result_serializer": SERIALIZER,
    "retry_condition_fn": repeat_if_free,
}


@task(name="Generate video", cache_policy=GenerationCachePolicy(), **GENERATES)
@show_options
def generate_video(input: VideoInput, **options: Unpack[PurchaseOptions]) -> Video:
    """Generate a video, wait for it, and keep it. **This may spend money, once.**

    The same input and take is the same video: it is bought once, however often it is asked for, at
    the same time or after a crash; another place gets a copy. Where Prefect has the result, it
    shows the task as Cached; with `refresh_cache` the task runs again, finds the video, and buys
    nothing either. Another `take` buys another video.

    Args:
        input: What to generate, such as `Hailuo23ProTextToVideo(prompt=...)`.
        options: As for `PurchaseOptions`.

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
    order = make_order(input, **options)
    return perform(generating(order))


@task(name="Generate video", cache_policy=GenerationCachePolicy(), **GENERATES)
@show_options
async def agenerate_video(input: VideoInput, **options: Unpack[PurchaseOptions]) -> Video:
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
    make = partial(make_order, input, **options)
    return await aperform(generating(await run_sync(make)))


def generates(input_class: type[VideoInput]) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a model's task of a function that takes the fields of its input, and the options.

    Args:
        input_class: The model's input: it tells the task's name, its cache key, and what the
            docstring's "As for ..." means.
    """
    endpoint = input_class.endpoint
    model = endpoint.title.removeprefix("MiniMax ").partition(" (")[0].translate(BRACKETS)
    model = model.removesuffix(f" {endpoint.mode.title().replace('To', 'to')}")
    name = f"{model} {endpoint.mode}"
    policy = GenerationCachePolicy(input_class=input_class)

    def made(function: Callable[P, R]) -> Task[P, R]:
        return task(name=name, cache_policy=policy, **GENERATES)(
            show_options(function, input_class)
        )

    return made
