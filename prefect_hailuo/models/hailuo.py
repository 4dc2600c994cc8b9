"""The endpoints of Hailuo 2.3 and 02, one input class each: text to video, and image to video.

The catalogue has the order of this file.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from prefect_hailuo.models.camera import check_camera_commands
from prefect_hailuo.models.endpoint import (
    PAGE,
    SECONDS_OF_02,
    SECONDS_OF_23,
    SECONDS_OF_23_FAST,
    Endpoint,
    by_length,
    by_second,
    fixed,
)
from prefect_hailuo.models.image import ImageSource
from prefect_hailuo.models.inputs import Duration, OptimizedInput

SNOWBOARDER = (
    "The camera follows the snowboarder as they carve down the mountain through deep powder, each "
    "turn sending up huge rooster tails of snow."
)

SMUGGLER = (
    "A Galactic Smuggler is a rogue figure with a cybernetic arm and a well-worn coat that hints "
    "at many dangerous escapades across the galaxy."
)

Resolution = Literal["512P", "768P"]

ABOUT = "fal's price texts, gathered 2026-06 to 2026-08, say about as much"

SAMURAI = {
    "prompt": "Extremely realistic movement. An old samurai is breaking a stone in half.",
    "image_url": "https://v3.fal.media/files/tiger/U9HN_tm5-3Ls52SbD6CrW_image.webp",
}


class HailuoInput(OptimizedInput):
    """The base of the inputs of 2.3 and 02: their prompts may hold MiniMax's camera commands."""

    @property
    def cautions(self) -> tuple[str, ...]:
        """What MiniMax may not understand of the prompt's camera commands."""
        return tuple(check_camera_commands(self.prompt))


class Hailuo23ProTextToVideo(HailuoInput):
    """Input of MiniMax Hailuo 2.3 Pro, text to video, 1080p, 6 s, $0.49 a video.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long, or a field is unknown.

    Source: https://fal.ai/models/fal-ai/minimax/hailuo-2.3/pro/text-to-video; the limit of the
    prompt from fal's OpenAPI document, seen 2026-06-05; the price seen 2026-08.

    Example:
        >>> shot = Hailuo23ProTextToVideo(prompt="A red fox crosses a snowy field.")
        >>> shot.prompt_optimizer
        True
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-2.3/pro/text-to-video",
        name="hailuo-2.3-pro",
        title="MiniMax Hailuo 2.3 [Pro] (Text to Video)",
        variants=fixed("0.49", "video", PAGE, "2026-08"),
        expected_seconds=SECONDS_OF_23,
        input_schema="ProTextToVideoHailuo23Input",
        output_schema="ProTextToVideoHailuo23Output",
        example={"prompt": SNOWBOARDER},
    )


class Hailuo23StandardTextToVideo(HailuoInput):
    """Input of MiniMax Hailuo 2.3 Standard, text to video, 768p: $0.28 for 6 s, $0.56 for 10 s.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.
        duration: Seconds, `"6"` or `"10"`; default `"6"`.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long, or a field is unknown.

    Source: fal's OpenAPI document, seen 2026-06-05; the prices from fal's price texts, seen
    2026-06.

    Example:
        >>> shot = Hailuo23StandardTextToVideo(prompt="A red fox crosses a snowy field.")
        >>> shot.price_usd
        Decimal('0.28')
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-2.3/standard/text-to-video",
        name="hailuo-2.3-standard",
        title="MiniMax Hailuo 2.3 [Standard] (Text to Video)",
        variants=by_length(768, "0.28", "0.56"),
        expected_seconds=SECONDS_OF_23,
        input_schema="StandardTextToVideoHailuo23Input",
        output_schema="StandardTextToVideoHailuo23Output",
        example={"prompt": SNOWBOARDER},
    )

    duration: Duration = "6"


class Hailuo02ProTextToVideo(HailuoInput):
    """Input of MiniMax Hailuo 02 Pro, text to video, 1080p, 6 s, $0.08 a second.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long, or a field is unknown.

    Source: https://fal.ai/models/fal-ai/minimax/hailuo-02/pro/text-to-video; the limit of the
    prompt from fal's OpenAPI document, seen 2026-06-05; the price seen 2026-08.

    Example:
        >>> shot = Hailuo02ProTextToVideo(prompt="A galactic smuggler.", prompt_optimizer=False)
        >>> shot.endpoint.name
        'hailuo-02-pro'
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-02/pro/text-to-video",
        name="hailuo-02-pro",
        title="MiniMax Hailuo 02 [Pro] (Text to Video)",
        variants=fixed("0.08", "second", PAGE, "2026-08"),
        expected_seconds=SECONDS_OF_02,
        input_schema="ProTextToVideoHailuo02Input",
        output_schema="TextToVideoHailuo02Output",
        example={"prompt": SMUGGLER},
    )


class Hailuo02StandardTextToVideo(HailuoInput):
    """Input of MiniMax Hailuo 02 Standard, text to video, 768p, 6 or 10 s, $0.045 a second.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.
        duration: Seconds, `"6"` or `"10"`; default `"6"`.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long, or a field is unknown.

    Source: fal's OpenAPI document, seen 2026-06-05; the price from fal's price texts, seen 2026-06.

    Example:
        >>> shot = Hailuo02StandardTextToVideo(prompt="A galactic smuggler.", duration=10)
        >>> shot.duration, shot.price_usd
        ('10', Decimal('0.45'))
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-02/standard/text-to-video",
        name="hailuo-02-standard",
        title="MiniMax Hailuo 02 [Standard] (Text to Video)",
        variants=by_second(768, "0.045"),
        expected_seconds=SECONDS_OF_02,
        input_schema="StandardTextToVideoHailuo02Input",
        output_schema="TextToVideoHailuo02Output",
        example={"prompt": SMUGGLER},
    )

    duration: Duration = "6"


class ImageInput(HailuoInput):
    """The base of the inputs that begin with a picture."""

    image_url: ImageSource


class Hailuo23ProImageToVideo(ImageInput):
    """Input of MiniMax Hailuo 2.3 Pro, image to video, 1080p, 6 s, $0.49 a video.

    Args:
        prompt: What happens, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI;
            JPEG, PNG or WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

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
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI;
            JPEG, PNG or WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.
        duration: Seconds, `"6"` or `"10"`; default `"6"`.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

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
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI;
            JPEG, PNG or WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

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
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI;
            JPEG, PNG or WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.
        duration: Seconds, `"6"` or `"10"`; default `"6"`.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

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
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI;
            JPEG, PNG or WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.
        end_image_url: The picture to end with, if any.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

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

    MiniMax makes no video from a first to a last picture in 512P; fal's schema does not say so. So
    such an input is valid, but none is bought.

    Args:
        prompt: What happens, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI;
            JPEG, PNG or WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.
        end_image_url: The picture to end with, if any.
        duration: Seconds, `"6"` or `"10"`; default `"6"`.
        resolution: `"768P"` at $0.045 a second, or `"512P"` at $0.017; default `"768P"`.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

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

    @property
    def impossible(self) -> str:
        """Why the model makes no video of these settings together; empty where it makes one.

        Example:
            >>> ends = {"image_url": "https://example.com/a.png", "end_image_url": "/b.png"}
            >>> shot = Hailuo02StandardImageToVideo(prompt="She turns.", **ends, resolution="512P")
            >>> shot.impossible
            'MiniMax makes no video with an end picture in 512P'
        """
        if self.end_image_url is not None and self.resolution == "512P":
            return "MiniMax makes no video with an end picture in 512P"
        return ""


class Hailuo02FastImageToVideo(ImageInput):
    """Input of MiniMax Hailuo 02 Fast, image to video, 512p, 6 or 10 s, about $0.017 a second.

    Args:
        prompt: What happens, 1 to 2000 characters.
        image_url: The picture to begin with: a URL, a path, bytes or a `data:` URI;
            JPEG, PNG or WebP.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; turn it off for designed
            shots. Default true.
        duration: Seconds, `"6"` or `"10"`; default `"6"`.

    Raises:
        pydantic.ValidationError: The prompt or the picture is invalid, or a field is unknown.

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
