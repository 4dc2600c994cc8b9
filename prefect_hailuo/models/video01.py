"""The endpoints of video-01, the family before Hailuo 02: by declaration alone.

A video costs $0.50, and lasts about 6 s at 720p and 25 fps, without sound. The facts are of fal's
pages of 2024 and 2025, still listed 2026-08-22; size and length are inferred.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from prefect_hailuo.models.endpoint import Endpoint, Picture, Price, Variant
from prefect_hailuo.models.image import ImageSource
from prefect_hailuo.models.inputs import OptimizedInput

PICTURE_720P = Picture(
    width=1280,
    height=720,
    frames_per_second=25,
    duration_seconds=6,
    source="MiniMax's statements for video-01; inferred, no schema of fal's carries it",
)

VARIANTS = (Variant(PICTURE_720P, Price(Decimal("0.50"), "video", "fal's pages", "2026-08-22")),)

SECONDS_OF_01 = 180
"""A guess: nobody reports it."""

FACE = "https://v3.fal.media/files/monkey/face.png"


def _endpoint(path: str, title: str, **example: str) -> Endpoint:
    """The facts of one of them; the names of its schemas are not known."""
    short = path.replace("/image-to-video", "-image")
    schema = short.title().replace("-", "")
    return Endpoint(
        id=f"fal-ai/minimax/{path}",
        name=short,
        title=f"MiniMax {title}",
        variants=VARIANTS,
        expected_seconds=SECONDS_OF_01,
        input_schema=f"{schema}Input",
        output_schema=f"{schema}Output",
        example={"prompt": "A woman walks through a market.", **example},
    )


class Video01TextToVideo(OptimizedInput):
    """Input of MiniMax Video 01, text to video, about 720p, 6 s, $0.50 a video.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt. Default true.

    Raises:
        pydantic.ValidationError: The prompt is invalid, or a field is unknown.

    Source: fal's pages, still listed 2026-08-22.

    Example:
        >>> Video01TextToVideo(prompt="She walks.").price_usd
        Decimal('0.50')
    """

    endpoint: ClassVar[Endpoint] = _endpoint("video-01", "Video 01 (Text to Video)")


class Video01ImageToVideo(OptimizedInput):
    """Input of MiniMax Video 01, image to video, about 720p, 6 s, $0.50 a video.

    Args:
        prompt: What to show, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI; JPEG, PNG or
            WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt. Default true.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

    Source: fal's pages, still listed 2026-08-22.

    Example:
        >>> shown = {"image_url": "https://example.com/her.png"}
        >>> Video01ImageToVideo(prompt="She walks.", **shown).price_usd
        Decimal('0.50')
    """

    endpoint: ClassVar[Endpoint] = _endpoint(
        "video-01/image-to-video", "Video 01 (Image to Video)", image_url=FACE
    )

    image_url: ImageSource


class Video01LiveTextToVideo(OptimizedInput):
    """Input of MiniMax Video 01 Live, text to video, about 720p, 6 s, $0.50 a video.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt. Default true.

    Raises:
        pydantic.ValidationError: The prompt is invalid, or a field is unknown.

    Source: fal's pages, still listed 2026-08-22.

    Example:
        >>> Video01LiveTextToVideo(prompt="She walks.").price_usd
        Decimal('0.50')
    """

    endpoint: ClassVar[Endpoint] = _endpoint("video-01-live", "Video 01 Live (Text to Video)")


class Video01LiveImageToVideo(OptimizedInput):
    """Input of MiniMax Video 01 Live, image to video, about 720p, 6 s, $0.50 a video.

    Args:
        prompt: What to show, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI; JPEG, PNG or
            WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt. Default true.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

    Source: fal's pages, still listed 2026-08-22.

    Example:
        >>> shown = {"image_url": "https://example.com/her.png"}
        >>> Video01LiveImageToVideo(prompt="She walks.", **shown).price_usd
        Decimal('0.50')
    """

    endpoint: ClassVar[Endpoint] = _endpoint(
        "video-01-live/image-to-video", "Video 01 Live (Image to Video)", image_url=FACE
    )

    image_url: ImageSource


class Video01DirectorTextToVideo(OptimizedInput):
    """Input of MiniMax Video 01 Director, text to video, about 720p, 6 s, $0.50 a video.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt. Default true.

    Raises:
        pydantic.ValidationError: The prompt is invalid, or a field is unknown.

    Source: fal's pages, still listed 2026-08-22.

    Example:
        >>> Video01DirectorTextToVideo(prompt="She walks.").price_usd
        Decimal('0.50')
    """

    endpoint: ClassVar[Endpoint] = _endpoint(
        "video-01-director", "Video 01 Director (Text to Video)"
    )


class Video01DirectorImageToVideo(OptimizedInput):
    """Input of MiniMax Video 01 Director, image to video, about 720p, 6 s, $0.50 a video.

    Args:
        prompt: What to show, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI; JPEG, PNG or
            WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt. Default true.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

    Source: fal's pages, still listed 2026-08-22.

    Example:
        >>> shown = {"image_url": "https://example.com/her.png"}
        >>> Video01DirectorImageToVideo(prompt="She walks.", **shown).price_usd
        Decimal('0.50')
    """

    endpoint: ClassVar[Endpoint] = _endpoint(
        "video-01-director/image-to-video", "Video 01 Director (Image to Video)", image_url=FACE
    )

    image_url: ImageSource


class Video01SubjectReference(OptimizedInput):
    """Input of MiniMax Video 01 with a person of a picture, about 720p, 6 s, $0.50 a video.

    Args:
        prompt: What to show, 1 to 2000 characters.
        subject_reference_image_url: The picture of the person: a URL, a path, bytes or a
            `data:` URI; JPEG, PNG or WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt. Default true.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

    Source: fal's pages, still listed 2026-08-22.

    Example:
        >>> shown = {"subject_reference_image_url": "https://example.com/her.png"}
        >>> Video01SubjectReference(prompt="She walks.", **shown).price_usd
        Decimal('0.50')
    """

    endpoint: ClassVar[Endpoint] = _endpoint(
        "video-01-subject-reference", "Video 01 Subject Reference", subject_reference_image_url=FACE
    )

    subject_reference_image_url: ImageSource
