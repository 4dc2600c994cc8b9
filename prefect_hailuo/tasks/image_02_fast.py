"""The tasks of MiniMax Hailuo 02 Fast, which make a video of a picture."""

from __future__ import annotations

from prefect import task

from prefect_hailuo.blocks import Credentials
from prefect_hailuo.budget import Budget
from prefect_hailuo.caching import GenerationCachePolicy
from prefect_hailuo.endpoints import Duration, Hailuo02FastImageToVideo
from prefect_hailuo.images import ImageSource
from prefect_hailuo.order import OnAmbiguous, OnLost
from prefect_hailuo.storage import Storage
from prefect_hailuo.tasks.generating import GENERATES, agenerate_video, generate_video
from prefect_hailuo.video import Video


@task(
    name="Hailuo 02 Fast image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo02FastImageToVideo),
    **GENERATES,
)
def hailuo_02_fast_image_to_video(
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
    """A video of a picture by Hailuo 02 Fast: 512p, $0.102 (10 s: $0.17). **This may spend money.**

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
        ...     mine = {"credentials": emulator.credentials(), "storage": "videos"}
        ...     video = hailuo_02_fast_image_to_video("She turns.", "her.png", duration=10, **mine)
        >>> video.height, video.duration_seconds, video.price_usd
        (512, 10.0, Decimal('0.17'))
    """
    return generate_video.fn(
        Hailuo02FastImageToVideo(
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
    name="Hailuo 02 Fast image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo02FastImageToVideo),
    **GENERATES,
)
async def ahailuo_02_fast_image_to_video(
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
    """The asynchronous twin of `hailuo_02_fast_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo02FastImageToVideo(
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
