"""The endpoints that make a video of a text."""

from __future__ import annotations

from typing import ClassVar

from prefect_hailuo.endpoints.facts import Endpoint
from prefect_hailuo.endpoints.figures import (
    PAGE,
    SECONDS_OF_02,
    SECONDS_OF_23,
    by_length,
    by_second,
    fixed,
)
from prefect_hailuo.endpoints.inputs import Duration, VideoInput

SNOWBOARDER = (
    "The camera follows the snowboarder as they carve down the mountain through deep powder, each "
    "turn sending up huge rooster tails of snow."
)
SMUGGLER = (
    "A Galactic Smuggler is a rogue figure with a cybernetic arm and a well-worn coat that hints "
    "at many dangerous escapades across the galaxy."
)


class Hailuo23ProTextToVideo(VideoInput):
    """Input of MiniMax Hailuo 2.3 Pro, text to video, 1080p, 6 s, $0.49 a video.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.

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


class Hailuo23StandardTextToVideo(VideoInput):
    """Input of MiniMax Hailuo 2.3 Standard, text to video, 768p: $0.28 for 6 s, $0.56 for 10 s.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.
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


class Hailuo02ProTextToVideo(VideoInput):
    """Input of MiniMax Hailuo 02 Pro, text to video, 1080p, 6 s, $0.08 a second.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.

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


class Hailuo02StandardTextToVideo(VideoInput):
    """Input of MiniMax Hailuo 02 Standard, text to video, 768p, 6 or 10 s, $0.045 a second.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.
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
