"""The Hailuo endpoints: one input class each, which carries the endpoint's facts.

To add an endpoint, declare its input class in the file of its family here, and write its task stub
in `prefect_hailuo.tasks`. The catalogue, the emulator, the command line and the documentation
follow from the declaration.
"""

from __future__ import annotations

from prefect_hailuo.models.endpoint import PICTURE_1080P, Endpoint, Picture, Price, Variant
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
from prefect_hailuo.models.inputs import (
    CATALOGUE,
    PROMPT_MAX_CHARACTERS,
    Duration,
    Prompt,
    VideoInput,
    find_input_class,
    model_name,
)

# isort: split
# The catalogue is in the order of declaration: the texts first.

__all__ = [
    "CATALOGUE",
    "PICTURE_1080P",
    "PROMPT_MAX_CHARACTERS",
    "Duration",
    "Endpoint",
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
    "Resolution",
    "Variant",
    "VideoInput",
    "find_input_class",
    "model_name",
]
