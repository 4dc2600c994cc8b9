"""The tasks of video-01: two for each endpoint, one of which is asynchronous."""

from __future__ import annotations

from typing_extensions import Unpack

from prefect_hailuo.models.catalogue import (
    Video01DirectorImageToVideo,
    Video01DirectorTextToVideo,
    Video01ImageToVideo,
    Video01LiveImageToVideo,
    Video01LiveTextToVideo,
    Video01SubjectReference,
    Video01TextToVideo,
)
from prefect_hailuo.models.image import ImageSource
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.options import PurchaseOptions
from prefect_hailuo.tasks.generate import agenerate_video, generate_video, generates


@generates(Video01TextToVideo)
def video_01_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video by Video 01: 6 s, $0.50. **This may spend money.**

    About 720p; without sound.

    Args:
        prompt, prompt_optimizer: As for `Video01TextToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     video = video_01_text_to_video("A fox.", credentials=mine)
        >>> video.height, video.price_usd
        (720, Decimal('0.50'))
    """
    return generate_video.fn(
        Video01TextToVideo(
            prompt=prompt,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01TextToVideo)
async def avideo_01_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `video_01_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Video01TextToVideo(
            prompt=prompt,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01ImageToVideo)
def video_01_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video of a picture by Video 01: 6 s, $0.50. **This may spend money.**

    About 720p; without sound.

    Args:
        prompt, image_url, prompt_optimizer: As for `Video01ImageToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = emulator.credentials()
        ...     video = video_01_image_to_video("She turns.", "her.png", credentials=mine)
        >>> video.price_usd
        Decimal('0.50')
    """
    return generate_video.fn(
        Video01ImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01ImageToVideo)
async def avideo_01_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `video_01_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Video01ImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01LiveTextToVideo)
def video_01_live_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video by Video 01 Live: 6 s, $0.50. **This may spend money.**

    About 720p; without sound.

    Args:
        prompt, prompt_optimizer: As for `Video01LiveTextToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     video = video_01_live_text_to_video("A fox.", credentials=mine)
        >>> video.height, video.price_usd
        (720, Decimal('0.50'))
    """
    return generate_video.fn(
        Video01LiveTextToVideo(
            prompt=prompt,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01LiveTextToVideo)
async def avideo_01_live_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `video_01_live_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Video01LiveTextToVideo(
            prompt=prompt,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01LiveImageToVideo)
def video_01_live_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video of a picture by Video 01 Live: 6 s, $0.50. **This may spend money.**

    About 720p; without sound.

    Args:
        prompt, image_url, prompt_optimizer: As for `Video01LiveImageToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = emulator.credentials()
        ...     video = video_01_live_image_to_video("She turns.", "her.png", credentials=mine)
        >>> video.price_usd
        Decimal('0.50')
    """
    return generate_video.fn(
        Video01LiveImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01LiveImageToVideo)
async def avideo_01_live_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `video_01_live_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Video01LiveImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01DirectorTextToVideo)
def video_01_director_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video by Video 01 Director: 6 s, $0.50. **This may spend money.**

    About 720p; without sound.

    Args:
        prompt, prompt_optimizer: As for `Video01DirectorTextToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     video = video_01_director_text_to_video("A fox.", credentials=mine)
        >>> video.height, video.price_usd
        (720, Decimal('0.50'))
    """
    return generate_video.fn(
        Video01DirectorTextToVideo(
            prompt=prompt,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01DirectorTextToVideo)
async def avideo_01_director_text_to_video(
    prompt: str,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `video_01_director_text_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Video01DirectorTextToVideo(
            prompt=prompt,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01DirectorImageToVideo)
def video_01_director_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video of a picture by Video 01 Director: 6 s, $0.50. **This may spend money.**

    About 720p; without sound.

    Args:
        prompt, image_url, prompt_optimizer: As for `Video01DirectorImageToVideo`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = emulator.credentials()
        ...     video = video_01_director_image_to_video("She turns.", "her.png", credentials=mine)
        >>> video.price_usd
        Decimal('0.50')
    """
    return generate_video.fn(
        Video01DirectorImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01DirectorImageToVideo)
async def avideo_01_director_image_to_video(
    prompt: str,
    image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `video_01_director_image_to_video`. **This may spend money.**"""
    return await agenerate_video.fn(
        Video01DirectorImageToVideo(
            prompt=prompt,
            image_url=image_url,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01SubjectReference)
def video_01_subject_reference(
    prompt: str,
    subject_reference_image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """A video of a picture by Video 01 Subject Reference: 6 s, $0.50. **This may spend money.**

    About 720p; without sound.

    Args:
        prompt, subject_reference_image_url, prompt_optimizer: As for `Video01SubjectReference`.
        options: As for `PurchaseOptions`.

    Raises:
        pydantic.ValidationError: The input is invalid.
        HailuoError: As `generate_video` does.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from PIL import Image
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     Image.new("RGB", (640, 360), "teal").save("her.png")
        ...     mine = emulator.credentials()
        ...     video = video_01_subject_reference("She turns.", "her.png", credentials=mine)
        >>> video.price_usd
        Decimal('0.50')
    """
    return generate_video.fn(
        Video01SubjectReference(
            prompt=prompt,
            subject_reference_image_url=subject_reference_image_url,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )


@generates(Video01SubjectReference)
async def avideo_01_subject_reference(
    prompt: str,
    subject_reference_image_url: ImageSource,
    prompt_optimizer: bool = True,
    **options: Unpack[PurchaseOptions],
) -> Video:
    """The asynchronous twin of `video_01_subject_reference`. **This may spend money.**"""
    return await agenerate_video.fn(
        Video01SubjectReference(
            prompt=prompt,
            subject_reference_image_url=subject_reference_image_url,
            prompt_optimizer=prompt_optimizer,
        ),
        **options,
    )
