"""The endpoints that make a video of a picture, and of a text that says what happens in it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from prefect_hailuo.endpoints.facts import Endpoint
from prefect_hailuo.endpoints.figures import (
    SECONDS_OF_02,
    SECONDS_OF_23,
    SECONDS_OF_23_FAST,
    by_length,
    by_second,
    fixed,
)
from prefect_hailuo.endpoints.inputs import Duration, VideoInput
from prefect_hailuo.images import ImageSource

Resolution = Literal["512P", "768P"]

ABOUT = "fal's price texts, gathered 2026-06 to 2026-08, say about as much"

SAMURAI = {
    "prompt": "Extremely realistic movement. An old samurai is breaking a stone in half.",
    "image_url": "https://v3.fal.media/files/tiger/U9HN_tm5-3Ls52SbD6CrW_image.webp",
}


class ImageInput(VideoInput):
    """The base of those that begin with a picture."""

    image_url: ImageSource


class Hailuo23ProImageToVideo(ImageInput):
    """Input of MiniMax Hailuo 2.3 Pro, image to video, 1080p, 6 s, $0.49 a video.

    Args:
        prompt: What happens, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.

    Raises:
        pydantic.ValidationError: The prompt or the picture is none, or a field is unknown.

    Source: fal's OpenAPI document, seen 2026-06-05; the price from fal's price texts, seen 2026-06.

    Example:
        >>> shot = Hailuo23ProImageToVideo(prompt="She turns.", image_url="shots/her.png")
        >>> shot.image_url.endswith("/shots/her.png")
        True
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-2.3/pro/image-to-video",
        name="hailuo-2.3-pro-image",
        title="MiniMax Hailuo 2.3 [Pro] (Image to Video)",
        variants=fixed("0.49", "video"),
        expected_seconds=SECONDS_OF_23,
        input_schema="ProImageToVideoHailuo23Input",
        output_schema="ProImageToVideoHailuo23Output",
        example=SAMURAI,
    )


class Hailuo23StandardImageToVideo(ImageInput):
    """Input of MiniMax Hailuo 2.3 Standard, image to video, 768p: $0.28 for 6 s, $0.56 for 10 s.

    Args:
        prompt: What happens, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.
        duration: Seconds, `"6"` or `"10"`; default `"6"`.

    Raises:
        pydantic.ValidationError: The prompt or the picture is none, or a field is unknown.

    Source: fal's OpenAPI document, seen 2026-06-05; the price from fal's price texts, seen 2026-06.

    Example:
        >>> fields = {"prompt": "She turns.", "image_url": "https://example.com/her.png"}
        >>> Hailuo23StandardImageToVideo(**fields, duration=10).price_usd
        Decimal('0.56')
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-2.3/standard/image-to-video",
        name="hailuo-2.3-standard-image",
        title="MiniMax Hailuo 2.3 [Standard] (Image to Video)",
        variants=by_length(768, "0.28", "0.56"),
        expected_seconds=SECONDS_OF_23,
        input_schema="StandardImageToVideoHailuo23Input",
        output_schema="StandardImageToVideoHailuo23Output",
        example=SAMURAI,
    )

    duration: Duration = "6"


class Hailuo23FastProImageToVideo(ImageInput):
    """Input of MiniMax Hailuo 2.3 Fast Pro, image to video, 1080p, 6 s, $0.33 a video.

    Args:
        prompt: What happens, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.

    Raises:
        pydantic.ValidationError: The prompt or the picture is none, or a field is unknown.

    Source: fal's OpenAPI document, seen 2026-06-05; the price from fal's price texts, seen 2026-06.

    Example:
        >>> fields = {"prompt": "She turns.", "image_url": "https://example.com/her.png"}
        >>> Hailuo23FastProImageToVideo(**fields).price_usd
        Decimal('0.33')
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-2.3-fast/pro/image-to-video",
        name="hailuo-2.3-fast-pro-image",
        title="MiniMax Hailuo 2.3 Fast [Pro] (Image to Video)",
        variants=fixed("0.33", "video"),
        expected_seconds=SECONDS_OF_23_FAST,
        input_schema="ProFastImageToVideoHailuo23Input",
        output_schema="ProFastImageToVideoHailuo23Output",
        example=SAMURAI,
    )


class Hailuo23FastStandardImageToVideo(ImageInput):
    """Input of MiniMax Hailuo 2.3 Fast Standard, image to video, 768p, $0.19 (10 s: $0.32).

    Args:
        prompt: What happens, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.
        duration: Seconds, `"6"` or `"10"`; default `"6"`.

    Raises:
        pydantic.ValidationError: The prompt or the picture is none, or a field is unknown.

    Source: fal's OpenAPI document, seen 2026-06-05; the price from fal's price texts, seen 2026-06.

    Example:
        >>> fields = {"prompt": "She turns.", "image_url": "https://example.com/her.png"}
        >>> Hailuo23FastStandardImageToVideo(**fields, duration="10").price_usd
        Decimal('0.32')
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-2.3-fast/standard/image-to-video",
        name="hailuo-2.3-fast-standard-image",
        title="MiniMax Hailuo 2.3 Fast [Standard] (Image to Video)",
        variants=by_length(768, "0.19", "0.32"),
        expected_seconds=SECONDS_OF_23_FAST,
        input_schema="StandardFastImageToVideoHailuo23Input",
        output_schema="StandardFastImageToVideoHailuo23Output",
        example=SAMURAI,
    )

    duration: Duration = "6"


class Hailuo02ProImageToVideo(ImageInput):
    """Input of MiniMax Hailuo 02 Pro, image to video, 1080p, 6 s, $0.08 a second.

    Args:
        prompt: What happens, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.
        end_image_url: The picture to end with, if any.

    Raises:
        pydantic.ValidationError: The prompt or the picture is none, or a field is unknown.

    Source: fal's OpenAPI document, seen 2026-06-05; the price from fal's price texts, seen 2026-06.

    Example:
        >>> fields = {"prompt": "She turns.", "image_url": "https://example.com/her.png"}
        >>> Hailuo02ProImageToVideo(**fields, end_image_url="https://example.com/end.png").price_usd
        Decimal('0.48')
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-02/pro/image-to-video",
        name="hailuo-02-pro-image",
        title="MiniMax Hailuo 02 [Pro] (Image to Video)",
        variants=fixed("0.08", "second"),
        expected_seconds=SECONDS_OF_02,
        input_schema="ProImageToVideoHailuo02Input",
        output_schema="ImageToVideoHailuo02Output",
        example=SAMURAI,
    )

    end_image_url: ImageSource | None = None


class Hailuo02StandardImageToVideo(ImageInput):
    """Input of MiniMax Hailuo 02 Standard, image to video: 768p or 512p, 6 or 10 s, by the second.

    MiniMax makes no video from a first to a last picture in 512P; fal's schema does not say so.

    Args:
        prompt: What happens, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.
        end_image_url: The picture to end with, if any.
        duration: Seconds, `"6"` or `"10"`; default `"6"`.
        resolution: `"768P"` at $0.045 a second, or `"512P"` at $0.017; default `"768P"`.

    Raises:
        pydantic.ValidationError: The prompt or the picture is none, or a field is unknown.

    Source: fal's OpenAPI document, seen 2026-06-05; the price from fal's price texts, seen 2026-06.

    Example:
        >>> fields = {"prompt": "She turns.", "image_url": "https://example.com/her.png"}
        >>> small = Hailuo02StandardImageToVideo(**fields, duration=10, resolution="512P")
        >>> small.price_usd, small.picture.height
        (Decimal('0.17'), 512)
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-02/standard/image-to-video",
        name="hailuo-02-standard-image",
        title="MiniMax Hailuo 02 [Standard] (Image to Video)",
        variants=(
            *by_second(768, "0.045", "768P"),
            *by_second(512, "0.017", "512P"),
        ),
        expected_seconds=SECONDS_OF_02,
        input_schema="StandardImageToVideoHailuo02Input",
        output_schema="ImageToVideoHailuo02Output",
        example=SAMURAI,
    )

    end_image_url: ImageSource | None = None
    duration: Duration = "6"
    resolution: Resolution = Field(
        default="768P", description="The lines of the video; fewer cost less."
    )


class Hailuo02FastImageToVideo(ImageInput):
    """Input of MiniMax Hailuo 02 Fast, image to video, 512p, 6 or 10 s, about $0.017 a second.

    Args:
        prompt: What happens, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.
        duration: Seconds, `"6"` or `"10"`; default `"6"`.

    Raises:
        pydantic.ValidationError: The prompt or the picture is none, or a field is unknown.

    Source: fal's OpenAPI document, seen 2026-06-05; the price from fal's price texts, seen 2026-06.

    Example:
        >>> fields = {"prompt": "She turns.", "image_url": "https://example.com/her.png"}
        >>> Hailuo02FastImageToVideo(**fields, duration=10).price_usd
        Decimal('0.17')
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-02-fast/image-to-video",
        name="hailuo-02-fast-image",
        title="MiniMax Hailuo 02 [Fast] (Image to Video)",
        variants=by_second(512, "0.017", source=ABOUT),
        expected_seconds=SECONDS_OF_02,
        input_schema="FastImageToVideoHailuo02Input",
        output_schema="FastImageToVideoHailuo02Output",
        example=SAMURAI,
    )

    duration: Duration = "6"
