"""The tasks of MiniMax Hailuo 02 that make a video of a picture."""

from __future__ import annotations

from prefect import task

from prefect_hailuo.blocks import Credentials
from prefect_hailuo.budget import Budget
from prefect_hailuo.caching import GenerationCachePolicy
from prefect_hailuo.endpoints import (
    Duration,
    Hailuo02ProImageToVideo,
    Hailuo02StandardImageToVideo,
    Resolution,
)
from prefect_hailuo.images import ImageSource
from prefect_hailuo.order import OnAmbiguous, OnLost
from prefect_hailuo.storage import Storage
from prefect_hailuo.tasks.generating import GENERATES, agenerate_video, generate_video
from prefect_hailuo.video import Video


@task(
    name="Hailuo 02 Pro image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo02ProImageToVideo),
    **GENERATES,
)
def hailuo_02_pro_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    end_image_url: ImageSource | None = None,
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
    """A video of a picture by Hailuo 02 Pro: 1080p, 6 s, $0.48. **This may spend money.**

    Args:
        prompt: What to show, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI; JPEG, PNG or
            WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed shots.
        end_image_url: The picture to end with.
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
        ...     mine = {"credentials": emulator.credentials(), "end_image_url": "her.png"}
        ...     video = hailuo_02_pro_image_to_video("She turns.", "her.png", **mine)
        >>> video.height, video.duration_seconds, video.price_usd
        (1080, 6.0, Decimal('0.48'))
    """
    return generate_video.fn(
        Hailuo02ProImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
            end_image_url=end_image_url,
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
    name="Hailuo 02 Pro image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo02ProImageToVideo),
    **GENERATES,
)
async def ahailuo_02_pro_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    end_image_url: ImageSource | None = None,
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
    """The asynchronous twin of `hailuo_02_pro_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo02ProImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
            end_image_url=end_image_url,
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
    name="Hailuo 02 Standard image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo02StandardImageToVideo),
    **GENERATES,
)
def hailuo_02_standard_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    end_image_url: ImageSource | None = None,
    duration: Duration = "6",
    resolution: Resolution = "768P",
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
    """A video of a picture by Hailuo 02 Standard: 768p, $0.27. **This may spend money.**

    Args:
        prompt: What to show, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI; JPEG, PNG or
            WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed shots.
        end_image_url: The picture to end with.
        duration: Seconds, 6 or 10.
        resolution: `"768P"`: $0.27, 10 s $0.45; `"512P"`: $0.102, 10 s $0.17.
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
        ...     mine = {"credentials": emulator.credentials(), "resolution": "512P"}
        ...     video = hailuo_02_standard_image_to_video("She turns.", "her.png", **mine)
        >>> video.height, video.duration_seconds, video.price_usd
        (512, 6.0, Decimal('0.102'))
    """
    return generate_video.fn(
        Hailuo02StandardImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
            end_image_url=end_image_url,
            duration=duration,
            resolution=resolution,
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
    name="Hailuo 02 Standard image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo02StandardImageToVideo),
    **GENERATES,
)
async def ahailuo_02_standard_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    end_image_url: ImageSource | None = None,
    duration: Duration = "6",
    resolution: Resolution = "768P",
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
    """The asynchronous twin of `hailuo_02_standard_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo02StandardImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
            end_image_url=end_image_url,
            duration=duration,
            resolution=resolution,
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
