"""The tasks of Hailuo 3: two for each endpoint, one of which is asynchronous.

Each takes the fields of its endpoint's input, by name and with their defaults, and the options of a
purchase. `seed` and `take` are two things: another seed is another input, and with the expansion of
the prompt turned off the only way to ask for the same video again; another take is another try of
an equal input.
"""

from __future__ import annotations

from typing_extensions import Unpack

from prefect_hailuo.models.catalogue import (
    AdaptiveRatio,
    AspectRatio,
    ExpansionMode,
    H3ImageToVideo,
    H3MaxImageToVideo,
    H3MaxReferenceToVideo,
    H3MaxResolution,
    H3MaxTextToVideo,
    H3MaxTurboImageToVideo,
    H3MaxTurboTextToVideo,
    H3ReferenceToVideo,
    H3Resolution,
    H3TextToVideo,
    ReferenceImages,
    ReferenceSounds,
    ReferenceVideos,
)
from prefect_hailuo.models.image import H3Image, H3Sound
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.options import PurchaseOptions
from prefect_hailuo.tasks.generate import agenerate_video, generate_video, generates


@generates(H3TextToVideo)
def h3_text_to_video(
    prompt: str,
    duration: int = 5,
    resolution: H3Resolution = "2K",
    aspect_ratio: AspectRatio = "16:9",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video with sound of a text by MiniMax H3. **This may spend money.**

    A second costs 480P $0.05, 768P $0.06, 2K $0.13, 4K $0.16; the default is 5 s at 2K.

    Args:
        prompt, duration, resolution, aspect_ratio, seed: As for `H3TextToVideo`.
        prompt_expansion_mode, target_audio_url, enable_safety_checker: As for `H3TextToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = {"credentials": emulator.credentials(), "resolution": "480P"}
        ...     video = h3_text_to_video("A red fox.", seed=7, **mine)
        >>> video.height, video.audio_codec, video.price_usd
        (480, 'aac', Decimal('0.25'))
    """
    return generate_video.fn(
        H3TextToVideo(
            prompt=prompt,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3TextToVideo)
async def ah3_text_to_video(
    prompt: str,
    duration: int = 5,
    resolution: H3Resolution = "2K",
    aspect_ratio: AspectRatio = "16:9",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `h3_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        H3TextToVideo(
            prompt=prompt,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3ImageToVideo)
def h3_image_to_video(
    prompt: str,
    image_url: H3Image | None = None,
    end_image_url: H3Image | None = None,
    duration: int = 5,
    resolution: H3Resolution = "2K",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video with sound of pictures by MiniMax H3. **This may spend money.**

    A second costs 480P $0.05, 768P $0.06, 2K $0.13, 4K $0.16; the default is 5 s at 2K.

    Args:
        prompt, image_url, end_image_url, duration, resolution, seed: As for `H3ImageToVideo`.
        prompt_expansion_mode, target_audio_url, enable_safety_checker: As for `H3ImageToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = {"credentials": emulator.credentials(), "resolution": "480P"}
        ...     shown = {"image_url": "her.png"}
        ...     video = h3_image_to_video("She turns.", **shown, **mine)
        >>> video.audio_codec, video.price_usd
        ('aac', Decimal('0.25'))
    """
    return generate_video.fn(
        H3ImageToVideo(
            prompt=prompt,
            image_url=image_url,
            end_image_url=end_image_url,
            duration=duration,
            resolution=resolution,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3ImageToVideo)
async def ah3_image_to_video(
    prompt: str,
    image_url: H3Image | None = None,
    end_image_url: H3Image | None = None,
    duration: int = 5,
    resolution: H3Resolution = "2K",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `h3_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        H3ImageToVideo(
            prompt=prompt,
            image_url=image_url,
            end_image_url=end_image_url,
            duration=duration,
            resolution=resolution,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3ReferenceToVideo)
def h3_reference_to_video(
    prompt: str,
    reference_image_urls: ReferenceImages = None,
    reference_video_urls: ReferenceVideos = None,
    reference_audio_urls: ReferenceSounds = None,
    duration: int = 5,
    resolution: H3Resolution = "2K",
    aspect_ratio: AdaptiveRatio = "adaptive",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video with sound of references by MiniMax H3. **This may spend money.**

    A second costs 480P $0.05, 768P $0.06, 2K $0.13, 4K $0.16; the default is 5 s at 2K.

    Args:
        prompt, reference_image_urls, reference_video_urls: As for `H3ReferenceToVideo`.
        reference_audio_urls, duration, resolution, aspect_ratio, seed: As for `H3ReferenceToVideo`.
        prompt_expansion_mode, enable_safety_checker: As for `H3ReferenceToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = {"credentials": emulator.credentials(), "resolution": "480P"}
        ...     shown = {"reference_image_urls": ["her.png"]}
        ...     video = h3_reference_to_video("She turns.", **shown, **mine)
        >>> video.audio_codec, video.price_usd
        ('aac', Decimal('0.25'))
    """
    return generate_video.fn(
        H3ReferenceToVideo(
            prompt=prompt,
            reference_image_urls=reference_image_urls,
            reference_video_urls=reference_video_urls,
            reference_audio_urls=reference_audio_urls,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3ReferenceToVideo)
async def ah3_reference_to_video(
    prompt: str,
    reference_image_urls: ReferenceImages = None,
    reference_video_urls: ReferenceVideos = None,
    reference_audio_urls: ReferenceSounds = None,
    duration: int = 5,
    resolution: H3Resolution = "2K",
    aspect_ratio: AdaptiveRatio = "adaptive",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `h3_reference_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        H3ReferenceToVideo(
            prompt=prompt,
            reference_image_urls=reference_image_urls,
            reference_video_urls=reference_video_urls,
            reference_audio_urls=reference_audio_urls,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3MaxTextToVideo)
def h3_max_text_to_video(
    prompt: str,
    duration: int = 5,
    resolution: H3MaxResolution = "768P",
    aspect_ratio: AspectRatio = "16:9",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video with sound of a text by MiniMax H3 Max. **This may spend money.**

    A second costs 480P $0.05, 768P $0.08, 1080P $0.16; the default is 5 s at 768P.

    Args:
        prompt, duration, resolution, aspect_ratio, seed: As for `H3MaxTextToVideo`.
        prompt_expansion_mode, target_audio_url, enable_safety_checker: As for `H3MaxTextToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = {"credentials": emulator.credentials(), "resolution": "480P"}
        ...     video = h3_max_text_to_video("A red fox.", seed=7, **mine)
        >>> video.height, video.audio_codec, video.price_usd
        (480, 'aac', Decimal('0.25'))
    """
    return generate_video.fn(
        H3MaxTextToVideo(
            prompt=prompt,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3MaxTextToVideo)
async def ah3_max_text_to_video(
    prompt: str,
    duration: int = 5,
    resolution: H3MaxResolution = "768P",
    aspect_ratio: AspectRatio = "16:9",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `h3_max_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        H3MaxTextToVideo(
            prompt=prompt,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3MaxImageToVideo)
def h3_max_image_to_video(
    prompt: str,
    image_url: H3Image | None = None,
    end_image_url: H3Image | None = None,
    duration: int = 5,
    resolution: H3MaxResolution = "768P",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video with sound of pictures by MiniMax H3 Max. **This may spend money.**

    A second costs 480P $0.05, 768P $0.08, 1080P $0.16; the default is 5 s at 768P.

    Args:
        prompt, image_url, end_image_url, duration, resolution, seed: As for `H3MaxImageToVideo`.
        prompt_expansion_mode, target_audio_url, enable_safety_checker: As for `H3MaxImageToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = {"credentials": emulator.credentials(), "resolution": "480P"}
        ...     shown = {"image_url": "her.png"}
        ...     video = h3_max_image_to_video("She turns.", **shown, **mine)
        >>> video.audio_codec, video.price_usd
        ('aac', Decimal('0.25'))
    """
    return generate_video.fn(
        H3MaxImageToVideo(
            prompt=prompt,
            image_url=image_url,
            end_image_url=end_image_url,
            duration=duration,
            resolution=resolution,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3MaxImageToVideo)
async def ah3_max_image_to_video(
    prompt: str,
    image_url: H3Image | None = None,
    end_image_url: H3Image | None = None,
    duration: int = 5,
    resolution: H3MaxResolution = "768P",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `h3_max_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        H3MaxImageToVideo(
            prompt=prompt,
            image_url=image_url,
            end_image_url=end_image_url,
            duration=duration,
            resolution=resolution,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3MaxReferenceToVideo)
def h3_max_reference_to_video(
    prompt: str,
    image_url: H3Image | None = None,
    end_image_url: H3Image | None = None,
    middle_image_url: H3Image | None = None,
    middle_frame_time: float | None = None,
    reference_image_urls: ReferenceImages = None,
    reference_video_urls: ReferenceVideos = None,
    reference_audio_urls: ReferenceSounds = None,
    duration: int = 5,
    resolution: H3MaxResolution = "768P",
    aspect_ratio: AdaptiveRatio = "adaptive",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video with sound of references by MiniMax H3 Max. **This may spend money.**

    A second costs 480P $0.05, 768P $0.08, 1080P $0.16; the default is 5 s at 768P.

    Args:
        prompt, image_url, end_image_url, middle_image_url: As for `H3MaxReferenceToVideo`.
        middle_frame_time, reference_image_urls: As for `H3MaxReferenceToVideo`.
        reference_video_urls, reference_audio_urls, duration: As for `H3MaxReferenceToVideo`.
        resolution, aspect_ratio, seed, prompt_expansion_mode: As for `H3MaxReferenceToVideo`.
        enable_safety_checker: As for `H3MaxReferenceToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = {"credentials": emulator.credentials(), "resolution": "480P"}
        ...     shown = {"reference_image_urls": ["her.png"]}
        ...     video = h3_max_reference_to_video("She turns.", **shown, **mine)
        >>> video.audio_codec, video.price_usd
        ('aac', Decimal('0.25'))
    """
    return generate_video.fn(
        H3MaxReferenceToVideo(
            prompt=prompt,
            image_url=image_url,
            end_image_url=end_image_url,
            middle_image_url=middle_image_url,
            middle_frame_time=middle_frame_time,
            reference_image_urls=reference_image_urls,
            reference_video_urls=reference_video_urls,
            reference_audio_urls=reference_audio_urls,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3MaxReferenceToVideo)
async def ah3_max_reference_to_video(
    prompt: str,
    image_url: H3Image | None = None,
    end_image_url: H3Image | None = None,
    middle_image_url: H3Image | None = None,
    middle_frame_time: float | None = None,
    reference_image_urls: ReferenceImages = None,
    reference_video_urls: ReferenceVideos = None,
    reference_audio_urls: ReferenceSounds = None,
    duration: int = 5,
    resolution: H3MaxResolution = "768P",
    aspect_ratio: AdaptiveRatio = "adaptive",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `h3_max_reference_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        H3MaxReferenceToVideo(
            prompt=prompt,
            image_url=image_url,
            end_image_url=end_image_url,
            middle_image_url=middle_image_url,
            middle_frame_time=middle_frame_time,
            reference_image_urls=reference_image_urls,
            reference_video_urls=reference_video_urls,
            reference_audio_urls=reference_audio_urls,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3MaxTurboTextToVideo)
def h3_max_turbo_text_to_video(
    prompt: str,
    duration: int = 5,
    resolution: H3MaxResolution = "768P",
    aspect_ratio: AspectRatio = "16:9",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video with sound of a text by MiniMax H3 Max Turbo. **This may spend money.**

    A second costs 480P $0.025, 768P $0.04, 1080P $0.08; the default is 5 s at 768P.

    Args:
        prompt, duration, resolution, aspect_ratio, seed: As for `H3MaxTurboTextToVideo`.
        prompt_expansion_mode, target_audio_url: As for `H3MaxTurboTextToVideo`.
        enable_safety_checker: As for `H3MaxTurboTextToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = {"credentials": emulator.credentials(), "resolution": "480P"}
        ...     video = h3_max_turbo_text_to_video("A red fox.", seed=7, **mine)
        >>> video.height, video.audio_codec, video.price_usd
        (480, 'aac', Decimal('0.125'))
    """
    return generate_video.fn(
        H3MaxTurboTextToVideo(
            prompt=prompt,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3MaxTurboTextToVideo)
async def ah3_max_turbo_text_to_video(
    prompt: str,
    duration: int = 5,
    resolution: H3MaxResolution = "768P",
    aspect_ratio: AspectRatio = "16:9",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `h3_max_turbo_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        H3MaxTurboTextToVideo(
            prompt=prompt,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3MaxTurboImageToVideo)
def h3_max_turbo_image_to_video(
    prompt: str,
    image_url: H3Image | None = None,
    end_image_url: H3Image | None = None,
    duration: int = 5,
    resolution: H3MaxResolution = "768P",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video with sound of pictures by MiniMax H3 Max Turbo. **This may spend money.**

    A second costs 480P $0.025, 768P $0.04, 1080P $0.08; the default is 5 s at 768P.

    Args:
        prompt, image_url, end_image_url, duration, resolution: As for `H3MaxTurboImageToVideo`.
        seed, prompt_expansion_mode, target_audio_url: As for `H3MaxTurboImageToVideo`.
        enable_safety_checker: As for `H3MaxTurboImageToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = {"credentials": emulator.credentials(), "resolution": "480P"}
        ...     shown = {"image_url": "her.png"}
        ...     video = h3_max_turbo_image_to_video("She turns.", **shown, **mine)
        >>> video.audio_codec, video.price_usd
        ('aac', Decimal('0.125'))
    """
    return generate_video.fn(
        H3MaxTurboImageToVideo(
            prompt=prompt,
            image_url=image_url,
            end_image_url=end_image_url,
            duration=duration,
            resolution=resolution,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )


@generates(H3MaxTurboImageToVideo)
async def ah3_max_turbo_image_to_video(
    prompt: str,
    image_url: H3Image | None = None,
    end_image_url: H3Image | None = None,
    duration: int = 5,
    resolution: H3MaxResolution = "768P",
    seed: int | None = None,
    prompt_expansion_mode: ExpansionMode = "balanced",
    target_audio_url: H3Sound | None = None,
    enable_safety_checker: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `h3_max_turbo_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        H3MaxTurboImageToVideo(
            prompt=prompt,
            image_url=image_url,
            end_image_url=end_image_url,
            duration=duration,
            resolution=resolution,
            seed=seed,
            prompt_expansion_mode=prompt_expansion_mode,
            target_audio_url=target_audio_url,
            enable_safety_checker=enable_safety_checker,
        ),
        **options,
    )
