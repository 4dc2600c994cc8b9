"""The tasks of MiniMax Hailuo 2.3 that make a video of a picture."""

from __future__ import annotations

from prefect import task

from prefect_hailuo.blocks import Credentials
from prefect_hailuo.budget import Budget
from prefect_hailuo.caching import GenerationCachePolicy
from prefect_hailuo.endpoints import (
    Duration,
    Hailuo23ProImageToVideo,
    Hailuo23StandardImageToVideo,
)
from prefect_hailuo.images import ImageSource
from prefect_hailuo.order import OnAmbiguous, OnLost
from prefect_hailuo.storage import Storage
from prefect_hailuo.tasks.generating import GENERATES, agenerate_video, generate_video
from prefect_hailuo.video import Video


@task(
    name="Hailuo 2.3 Pro image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23ProImageToVideo),
    **GENERATES,
)
def hailuo_23_pro_image_to_video(
    prompt: str,
    image_url: ImageSource,
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
    """A video of a picture by Hailuo 2.3 Pro: 1080p, 6 s, $0.49. **This may spend money.**

    Args:
        prompt: What to show, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI; JPEG, PNG or
            WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed shots.
        credentials, storage, take, timeout_seconds, labels: As for `generate_video`.
        budget, on_ambiguous, on_lost: As for `generate_video`.

    Returns:
        The stored video.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long, or the picture is none.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = {"credentials": emulator.credentials(), "storage": "videos"}
        ...     video = hailuo_23_pro_image_to_video("She turns.", "her.png", **mine)
        >>> video.height, video.duration_seconds, video.price_usd
        (1080, 6.0, Decimal('0.49'))
    """
    return generate_video.fn(
        Hailuo23ProImageToVideo(
            prompt=prompt, image_url=image_url, prompt_optimizer=prompt_optimizer
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
    name="Hailuo 2.3 Pro image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23ProImageToVideo),
    **GENERATES,
)
async def ahailuo_23_pro_image_to_video(
    prompt: str,
    image_url: ImageSource,
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
    """The asynchronous twin of `hailuo_23_pro_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23ProImageToVideo(
            prompt=prompt, image_url=image_url, prompt_optimizer=prompt_optimizer
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
    name="Hailuo 2.3 Standard image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23StandardImageToVideo),
    **GENERATES,
)
def hailuo_23_standard_image_to_video(
    prompt: str,
    image_url: ImageSource,
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
    """One of a picture by Hailuo 2.3 Standard: 768p, $0.28 (10 s: $0.56). **This may spend money.**

    Args:
        prompt: What to show, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI; JPEG, PNG or
            WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed shots.
        duration: Seconds, 6 or 10.
        credentials, storage, take, timeout_seconds, labels: As for `generate_video`.
        budget, on_ambiguous, on_lost: As for `generate_video`.

    Returns:
        The stored video.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long, or the picture is none.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = {"credentials": emulator.credentials(), "duration": 10}
        ...     video = hailuo_23_standard_image_to_video("She turns.", "her.png", **mine)
        >>> video.height, video.duration_seconds, video.price_usd
        (768, 10.0, Decimal('0.56'))
    """
    return generate_video.fn(
        Hailuo23StandardImageToVideo(
            prompt=prompt, image_url=image_url, prompt_optimizer=prompt_optimizer, duration=duration
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
    name="Hailuo 2.3 Standard image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23StandardImageToVideo),
    **GENERATES,
)
async def ahailuo_23_standard_image_to_video(
    prompt: str,
    image_url: ImageSource,
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
    """The asynchronous twin of `hailuo_23_standard_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23StandardImageToVideo(
            prompt=prompt, image_url=image_url, prompt_optimizer=prompt_optimizer, duration=duration
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
