"""Every endpoint that has a typed input, and what is known of it. For any other, see `request`.

To add an endpoint, declare its input class in the module of its family, and write its task in
`prefect_hailuo.tasks`. The catalogue, the emulator, the command line and the documentation follow
from the declaration.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from prefect_hailuo.models.endpoint import (
    PICTURE_1080P,
    AspectRatio,
    Endpoint,
    Picture,
    Price,
    Variant,
)
from prefect_hailuo.models.hailuo import (
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
from prefect_hailuo.models.hailuo3 import (
    AdaptiveRatio,
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
from prefect_hailuo.models.inputs import (
    CATALOGUE,
    PROMPT_MAX_CHARACTERS,
    Duration,
    Prompt,
    VideoInput,
    find_input_class,
    model_name,
)
from prefect_hailuo.models.request import Request
from prefect_hailuo.models.video01 import (
    Video01DirectorImageToVideo,
    Video01DirectorTextToVideo,
    Video01ImageToVideo,
    Video01LiveImageToVideo,
    Video01LiveTextToVideo,
    Video01SubjectReference,
    Video01TextToVideo,
)
from prefect_hailuo.ticket import Ticket

__all__ = [
    "CATALOGUE",
    "PICTURE_1080P",
    "PROMPT_MAX_CHARACTERS",
    "AdaptiveRatio",
    "AspectRatio",
    "Duration",
    "Endpoint",
    "ExpansionMode",
    "H3ImageToVideo",
    "H3MaxImageToVideo",
    "H3MaxReferenceToVideo",
    "H3MaxResolution",
    "H3MaxTextToVideo",
    "H3MaxTurboImageToVideo",
    "H3MaxTurboTextToVideo",
    "H3ReferenceToVideo",
    "H3Resolution",
    "H3TextToVideo",
    "Hailuo02FastImageToVideo",
    "Hailuo02ProImageToVideo",
    "Hailuo02ProTextToVideo",
    "Hailuo02StandardImageToVideo",
    "Hailuo02StandardTextToVideo",
    "Hailuo23FastProImageToVideo",
    "Hailuo23FastStandardImageToVideo",
    "Hailuo23ProImageToVideo",
    "Hailuo23ProTextToVideo",
    "Hailuo23StandardImageToVideo",
    "Hailuo23StandardTextToVideo",
    "Picture",
    "Price",
    "Prompt",
    "ReferenceImages",
    "ReferenceSounds",
    "ReferenceVideos",
    "Resolution",
    "Variant",
    "Video01DirectorImageToVideo",
    "Video01DirectorTextToVideo",
    "Video01ImageToVideo",
    "Video01LiveImageToVideo",
    "Video01LiveTextToVideo",
    "Video01SubjectReference",
    "Video01TextToVideo",
    "VideoInput",
    "expected_seconds_of",
    "find_input_class",
    "model_name",
    "model_title",
    "picture_of",
    "price_of",
    "read_request",
    "request_of",
]


def request_of(endpoint: str, body: Mapping[str, Any]) -> Request:
    """The request that a body was of: as its typed input has it, or as it stands.

    Args:
        endpoint: fal's endpoint id.
        body: What was sent, as it is recorded.

    Example:
        >>> request_of("fal-ai/minimax/hailuo-02/pro/text-to-video", {"prompt": "An owl."}).body
        {'prompt': 'An owl.', 'prompt_optimizer': True}
        >>> request_of("somebody/else", {"prompt": "An owl."}).price_usd is None
        True
    """
    known = CATALOGUE.get(endpoint)
    if known is not None:
        try:
            return known.model_validate(dict(body)).request()
        except ValidationError:
            pass  # of another release, or not ours: as it stands
    return Request(endpoint, dict(body))


def read_request(endpoint: str, body: Mapping[str, Any]) -> tuple[Request, tuple[str, ...]] | None:
    """A request as fal's history shows it, compared on the fields that this package sends.

    Args:
        endpoint: fal's endpoint id.
        body: Its input, as fal shows it.

    Returns:
        The request, with the defaults that were left out filled in, and the names of the fields
        that its typed input does not have. None if there is no such type, or it refuses the input.

    Example:
        >>> endpoint = "fal-ai/minimax/hailuo-02/pro/text-to-video"
        >>> asked, more = read_request(endpoint, {"prompt": "An owl.", "seed": 3})
        >>> asked.body, more
        ({'prompt': 'An owl.', 'prompt_optimizer': True}, ('seed',))
    """
    known = CATALOGUE.get(endpoint)
    if known is None:
        return None
    sent = {name: each for name, each in body.items() if name in known.model_fields}
    more = tuple(name for name in body if name not in sent)
    try:
        return known.model_validate(sent).request(), more
    except ValidationError:
        return None


def price_of(ticket: Ticket) -> Decimal | None:
    """What a request costs, in US dollars: as its ticket says, or by the catalogue.

    Tickets of earlier releases say nothing of it.
    """
    known = CATALOGUE.get(ticket.endpoint)
    if ticket.price_usd is not None or known is None:
        return ticket.price_usd
    return known.endpoint.price_usd(ticket.input)


def picture_of(ticket: Ticket) -> Picture | None:
    """What the video of a request is expected to look like; None where that is not known."""
    known = CATALOGUE.get(ticket.endpoint)
    return known.endpoint.picture(ticket.input or {}) if known and ticket.input else None


def expected_seconds_of(ticket: Ticket) -> float | None:
    """How long a request usually takes: as its ticket says, or by the catalogue."""
    known = CATALOGUE.get(ticket.endpoint)
    if ticket.expected_seconds is not None or known is None:
        return ticket.expected_seconds
    return known.endpoint.expected_seconds


def model_title(endpoint: str) -> str:
    """What fal calls an endpoint's model; its id, where the catalogue has it not.

    Example:
        >>> model_title("a/b")
        'a/b'
    """
    known = CATALOGUE.get(endpoint)
    return known.endpoint.title if known else endpoint
