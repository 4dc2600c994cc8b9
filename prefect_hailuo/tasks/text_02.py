"""The tasks of MiniMax Hailuo 02 that make a video of a text."""

from __future__ import annotations

from prefect import task

from prefect_hailuo.blocks import Credentials
from prefect_hailuo.budget import Budget
from prefect_hailuo.caching import GenerationCachePolicy
from prefect_hailuo.endpoints import (
    Duration,
    Hailuo02ProTextToVideo,
    Hailuo02StandardTextToVideo,
)
from prefect_hailuo.order import OnAmbiguous, OnLost
from prefect_hailuo.storage import Storage
from prefect_hailuo.tasks.generating import GENERATES, agenerate_video, generate_video
from prefect_hailuo.video import Video


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


@task(
    name="Hailuo 02 Standard text to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo02StandardTextToVideo),
    **GENERATES,
)
def hailuo_02_standard_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
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
    """A video by Hailuo 02 Standard: 768p, $0.27 (10 s: $0.45). **This may spend money.**

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed shots.
        duration: Seconds, 6 or 10.
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
        ...     video = hailuo_02_standard_text_to_video("An owl lands.", **mine)
        >>> video.height, video.duration_seconds, video.price_usd
        (768, 6.0, Decimal('0.27'))
    """
    return generate_video.fn(
        Hailuo02StandardTextToVideo(
            prompt=prompt, prompt_optimizer=prompt_optimizer, duration=duration
        ),
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
    name="Hailuo 02 Standard text to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo02StandardTextToVideo),
    **GENERATES,
)
async def ahailuo_02_standard_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
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
    """The asynchronous twin of `hailuo_02_standard_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo02StandardTextToVideo(
            prompt=prompt, prompt_optimizer=prompt_optimizer, duration=duration
        ),
        credentials=credentials,
        storage=storage,
        take=take,
        timeout_seconds=timeout_seconds,
        labels=labels,
        budget=budget,
        on_ambiguous=on_ambiguous,
        on_lost=on_lost,
    )
