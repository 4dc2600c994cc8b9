"""The tasks of MiniMax Hailuo: two for each endpoint, one of which is asynchronous.

Each takes the fields of its endpoint's input, by name and with their defaults, and the options of a
purchase.
"""

from __future__ import annotations

from typing_extensions import Unpack

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
from prefect_hailuo.runs.options import PurchaseOptions
from prefect_hailuo.tasks.generate import agenerate_video, generate_video, generates


@generates(Hailuo02ProImageToVideo)
def hailuo_02_pro_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    end_image_url: ImageSource | None = None,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video of a picture by Hailuo 02 Pro: 1080p, 6 s, $0.48. **This may spend money.**

    Args:
        prompt, image_url, prompt_optimizer, end_image_url: As for `Hailuo02ProImageToVideo`.
        options: As for `PurchaseOptions`.

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
        **options,
    )


@generates(Hailuo02ProImageToVideo)
async def ahailuo_02_pro_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    end_image_url: ImageSource | None = None,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `hailuo_02_pro_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo02ProImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
            end_image_url=end_image_url,
        ),
        **options,
    )


@generates(Hailuo02StandardImageToVideo)
def hailuo_02_standard_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    end_image_url: ImageSource | None = None,
    duration: Duration = "6",
    resolution: Resolution = "768P",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video of a picture by Hailuo 02 Standard: 768p, $0.27. **This may spend money.**

    Args:
        prompt, image_url, prompt_optimizer, end_image_url, duration:
            As for `Hailuo02StandardImageToVideo`.
        resolution: `"768P"`: $0.27, 10 s $0.45; `"512P"`: $0.102, 10 s $0.17.
        options: As for `PurchaseOptions`.

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
        **options,
    )


@generates(Hailuo02StandardImageToVideo)
async def ahailuo_02_standard_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    end_image_url: ImageSource | None = None,
    duration: Duration = "6",
    resolution: Resolution = "768P",
    **options: Unpack[PurchaseOptions],
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
        **options,
    )


@generates(Hailuo02FastImageToVideo)
def hailuo_02_fast_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video of a picture by Hailuo 02 Fast: 512p, $0.102 (10 s: $0.17). **This may spend money.**

    Args:
        prompt, image_url, prompt_optimizer, duration: As for `Hailuo02FastImageToVideo`.
        options: As for `PurchaseOptions`.

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
        **options,
    )


@generates(Hailuo02FastImageToVideo)
async def ahailuo_02_fast_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `hailuo_02_fast_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo02FastImageToVideo(
            prompt=prompt, image_url=image_url, prompt_optimizer=prompt_optimizer, duration=duration
        ),
        **options,
    )


@generates(Hailuo23ProImageToVideo)
def hailuo_23_pro_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video of a picture by Hailuo 2.3 Pro: 1080p, 6 s, $0.49. **This may spend money.**

    Args:
        prompt, image_url, prompt_optimizer: As for `Hailuo23ProImageToVideo`.
        options: As for `PurchaseOptions`.

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
        **options,
    )


@generates(Hailuo23ProImageToVideo)
async def ahailuo_23_pro_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `hailuo_23_pro_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23ProImageToVideo(
            prompt=prompt, image_url=image_url, prompt_optimizer=prompt_optimizer
        ),
        **options,
    )


@generates(Hailuo23StandardImageToVideo)
def hailuo_23_standard_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """One of a picture by Hailuo 2.3 Standard: 768p, $0.28 (10 s: $0.56). **This may spend money.**

    Args:
        prompt, image_url, prompt_optimizer, duration: As for `Hailuo23StandardImageToVideo`.
        options: As for `PurchaseOptions`.

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
        **options,
    )


@generates(Hailuo23StandardImageToVideo)
async def ahailuo_23_standard_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `hailuo_23_standard_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23StandardImageToVideo(
            prompt=prompt, image_url=image_url, prompt_optimizer=prompt_optimizer, duration=duration
        ),
        **options,
    )


@generates(Hailuo23FastProImageToVideo)
def hailuo_23_fast_pro_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video of a picture by Hailuo 2.3 Fast Pro: 1080p, 6 s, $0.33. **This may spend money.**

    Args:
        prompt, image_url, prompt_optimizer: As for `Hailuo23FastProImageToVideo`.
        options: As for `PurchaseOptions`.

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
        **options,
    )


@generates(Hailuo23FastProImageToVideo)
async def ahailuo_23_fast_pro_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `hailuo_23_fast_pro_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23FastProImageToVideo(
            prompt=prompt, image_url=image_url, prompt_optimizer=prompt_optimizer
        ),
        **options,
    )


@generates(Hailuo23FastStandardImageToVideo)
def hailuo_23_fast_standard_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video by Hailuo 2.3 Fast Standard: 768p, $0.19 (10 s: $0.32). **This may spend money.**

    Args:
        prompt, image_url, prompt_optimizer, duration: As for `Hailuo23FastStandardImageToVideo`.
        options: As for `PurchaseOptions`.

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
        **options,
    )


@generates(Hailuo23FastStandardImageToVideo)
async def ahailuo_23_fast_standard_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The twin of `hailuo_23_fast_standard_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23FastStandardImageToVideo(
            prompt=prompt, image_url=image_url, prompt_optimizer=prompt_optimizer, duration=duration
        ),
        **options,
    )


@generates(Hailuo02ProTextToVideo)
def hailuo_02_pro_text_to_video(
    prompt: str, prompt_optimizer: bool = True, **options: Unpack[PurchaseOptions]
) -> Video:
    """A video by MiniMax Hailuo 02 Pro: 1080p, 6 s, $0.48. **This may spend money.**

    Args:
        prompt, prompt_optimizer: As for `Hailuo02ProTextToVideo`.
        options: As for `PurchaseOptions`.

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
        Hailuo02ProTextToVideo(prompt=prompt, prompt_optimizer=prompt_optimizer), **options
    )


@generates(Hailuo02ProTextToVideo)
async def ahailuo_02_pro_text_to_video(
    prompt: str, prompt_optimizer: bool = True, **options: Unpack[PurchaseOptions]
) -> Video:
    """The asynchronous twin of `hailuo_02_pro_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo02ProTextToVideo(prompt=prompt, prompt_optimizer=prompt_optimizer), **options
    )


@generates(Hailuo02StandardTextToVideo)
def hailuo_02_standard_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video by Hailuo 02 Standard: 768p, $0.27 (10 s: $0.45). **This may spend money.**

    Args:
        prompt, prompt_optimizer, duration: As for `Hailuo02StandardTextToVideo`.
        options: As for `PurchaseOptions`.

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
        **options,
    )


@generates(Hailuo02StandardTextToVideo)
async def ahailuo_02_standard_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `hailuo_02_standard_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo02StandardTextToVideo(
            prompt=prompt, prompt_optimizer=prompt_optimizer, duration=duration
        ),
        **options,
    )


@generates(Hailuo23ProTextToVideo)
def hailuo_23_pro_text_to_video(
    prompt: str, prompt_optimizer: bool = True, **options: Unpack[PurchaseOptions]
) -> Video:
    """A video by MiniMax Hailuo 2.3 Pro: 1080p, 6 s, $0.49. **This may spend money.**

    Args:
        prompt, prompt_optimizer: As for `Hailuo23ProTextToVideo`.
        options: As for `PurchaseOptions`.

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
        Hailuo23ProTextToVideo(prompt=prompt, prompt_optimizer=prompt_optimizer), **options
    )


@generates(Hailuo23ProTextToVideo)
async def ahailuo_23_pro_text_to_video(
    prompt: str, prompt_optimizer: bool = True, **options: Unpack[PurchaseOptions]
) -> Video:
    """The asynchronous twin of `hailuo_23_pro_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23ProTextToVideo(prompt=prompt, prompt_optimizer=prompt_optimizer), **options
    )


@generates(Hailuo23StandardTextToVideo)
def hailuo_23_standard_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video by Hailuo 2.3 Standard: 768p, $0.28 (10 s: $0.56). **This may spend money.**

    Args:
        prompt, prompt_optimizer, duration: As for `Hailuo23StandardTextToVideo`.
        options: As for `PurchaseOptions`.

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
        **options,
    )


@generates(Hailuo23StandardTextToVideo)
async def ahailuo_23_standard_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    duration: Duration = "6",
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `hailuo_23_standard_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Hailuo23StandardTextToVideo(
            prompt=prompt, prompt_optimizer=prompt_optimizer, duration=duration
        ),
        **options,
    )
