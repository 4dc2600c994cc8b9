"""The pictures that a request begins and ends with, shown in the emulator's video."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING

from prefect_hailuo.emulator.panel import draw_banner
from prefect_hailuo.endpoints import Picture

if TYPE_CHECKING:
    from PIL import Image

SHOWN_SECONDS = 1
"""How long each is shown, from the first frame on and up to the last."""

MOST_RATIO = 5 / 2
"""Of the longer side to the shorter: MiniMax takes no picture that is longer."""


@dataclass(frozen=True)
class Stills:
    """The contents of a request's pictures, as far as the emulator can read them.

    Args:
        first: What the video begins with.
        last: What it ends with.
    """

    first: bytes | None = None
    last: bytes | None = None


def shaped(picture: Picture, still: bytes | None) -> Picture:
    """The picture in the shape of the still that it begins with: "The output video will have the
    same aspect ratio as this image" (https://replicate.com/minimax/hailuo-02, seen 2026-11-20).

    The shorter side keeps the endpoint's lines, which is what the emulator takes "768p" to mean.

    Args:
        picture: The endpoint's, wide.
        still: The content of a picture; None, or one that cannot be read, changes nothing.
    """
    drawn = still and _open(still)
    if not drawn:
        return picture
    ratio = min(max(drawn.width / drawn.height, 1 / MOST_RATIO), MOST_RATIO)
    width, height = picture.height * max(ratio, 1), picture.height * max(1 / ratio, 1)
    return replace(picture, width=_even(width), height=_even(height))


def draw_still(still: bytes | None, picture: Picture) -> Image.Image | None:
    """A still as large as the video, cut where it has another shape, with the emulator's banner.

    Args:
        still: The content of a picture.
        picture: The video's.

    Returns:
        None where there is none, or none that can be read.
    """
    from PIL import ImageOps

    drawn = still and _open(still)
    if not drawn:
        return None
    image = ImageOps.fit(drawn, (picture.width, picture.height))
    draw_banner(image)
    return image


def _open(still: bytes) -> Image.Image | None:
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(still)) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _even(pixels: float) -> int:
    return round(pixels / 2) * 2
