"""The tasks of MiniMax Hailuo 02 that make a video of a picture.

The tasks of MiniMax Hailuo 02 Fast, which make a video of a picture.

The tasks of MiniMax Hailuo 2.3 that make a video of a picture.

The tasks of MiniMax Hailuo 2.3 Fast, which make a video of a picture.

The tasks of MiniMax Hailuo 02 that make a video of a text.

The tasks of MiniMax Hailuo 2.3 that make a video of a text.
"""

from __future__ import annotations

from prefect import task

from prefect_hailuo.engine.order import OnAmbiguous, OnLost
from prefect_hailuo.models.catalogue import (
    Duration,
    Hailuo02FastImageToVideo,
    Hailuo02ProImageToVideo,
    Hailuo02ProTextToVideo,
    Hailuo02StandardImageToVideo,
    Hailuo02StandardTextToVideo,
    Hailuo23FastProImageToVideo,
    Hailuo23FastStandardImageToVideo,
    Hailuo23ProImageToVideo,
    Hailuo23ProTextToVideo,
    Hailuo23StandardImageToVideo,
    Hailuo23StandardTextToVideo,
    Resolution,
)
from prefect_hailuo.models.image import ImageSource
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.blocks import Budget, Credentials
from prefect_hailuo.runs.orders import GenerationCachePolicy
from prefect_hailuo.runs.storage import Storage
from prefect_hailuo.tasks.generate import GENERATES, agenerate_video, generate_video


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


@task(
    name="Hailuo 2.3 Fast Pro image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23FastProImageToVideo),
    **GENERATES,
)
def hailuo_23_fast_pro_image_to_video(
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
    """A video of a picture by Hailuo 2.3 Fast Pro: 1080p, 6 s, $0.33. **This may spend money.**

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
        ...     video = hailuo_23_fast_pro_image_to_video("She turns.", "her.png", **mine)
        >>> video.height, video.duration_seconds, video.price_usd
        (1080, 6.0, Decimal('0.33'))
    """
    return generate_video.fn(
        Hailuo23FastProImageToVideo(
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
    name="Hailuo 2.3 Fast Pro image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23FastProImageToVideo),
    **GENERATES,
)
async def ahailuo_23_fast_pro_image_to_video(
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
    """The asynchronous twin of `hailuo_23_fast_pro_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23FastProImageToVideo(
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
    name="Hailuo 2.3 Fast Standard image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23FastStandardImageToVideo),
    **GENERATES,
)
def hailuo_23_fast_standard_image_to_video(
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
    """A video by Hailuo 2.3 Fast Standard: 768p, $0.19 (10 s: $0.32). **This may spend money.**

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
        ...     video = hailuo_23_fast_standard_image_to_video("She turns.", "her.png", **mine)
        >>> video.height, video.duration_seconds, video.price_usd
        (768, 10.0, Decimal('0.32'))
    """
    return generate_video.fn(
        Hailuo23FastStandardImageToVideo(
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
    name="Hailuo 2.3 Fast Standard image to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23FastStandardImageToVideo),
    **GENERATES,
)
async def ahailuo_23_fast_standard_image_to_video(
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
    """The twin of `hailuo_23_fast_standard_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23FastStandardImageToVideo(
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
    name="Hailuo 2.3 Standard text to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23StandardTextToVideo),
    **GENERATES,
)
def hailuo_23_standard_text_to_video(
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
    """A video by Hailuo 2.3 Standard: 768p, $0.28 (10 s: $0.56). **This may spend money.**

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
        ...     video = hailuo_23_standard_text_to_video("A red fox.", duration=10, **mine)
        >>> video.height, video.duration_seconds, video.price_usd
        (768, 10.0, Decimal('0.56'))
    """
    return generate_video.fn(
        Hailuo23StandardTextToVideo(
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
    name="Hailuo 2.3 Standard text to video",
    cache_policy=GenerationCachePolicy(input_class=Hailuo23StandardTextToVideo),
    **GENERATES,
)
async def ahailuo_23_standard_text_to_video(
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
    """The asynchronous twin of `hailuo_23_standard_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23StandardTextToVideo(
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
