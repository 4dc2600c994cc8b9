"""One small picture of a few videos: their posters beside each other, each below its name."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_hailuo.media import poster, require_media, small_jpeg
from prefect_hailuo.split_screen import columns_for, draw_name

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PICTURES = 48
"""More would be too small to be told apart."""

WIDTH = 960
"""Pixels of the whole, as wide as Prefect's UI shows an image."""

POSTER_WIDTH = 480

GAP = 4
GROUND, TILE = (24, 24, 27), (63, 63, 70)

NAME_HEIGHT = 24
"""Pixels."""


def filmstrip(files: Sequence[Path | None], names: Sequence[str]) -> str:
    """The posters of videos in one picture, as an address that holds it.

    Args:
        files: The videos' files; None for a video that is not there.
        names: What to write above each. No more than `MOST_PICTURES` are drawn.

    Raises:
        DownloadError: A file cannot be read as a video.
        MissingExtraError: PyAV or Pillow is not installed.

    Example:
        >>> filmstrip([None, None], ["hailuo-2.3-pro", "hailuo-02-pro"])[:23]
        'data:image/jpeg;base64,'
    """
    require_media()
    from PIL import Image

    shown = list(zip(files, names, strict=True))[:MOST_PICTURES]
    columns = columns_for(len(shown))
    width = (WIDTH - GAP * (columns + 1)) // columns
    height = width * 9 // 16 + NAME_HEIGHT
    size = (WIDTH, GAP + ceil(len(shown) / columns) * (height + GAP))
    strip = Image.new("RGB", size, GROUND)
    for index, (file, name) in enumerate(shown):
        row, column = divmod(index, columns)
        at = (GAP + column * (width + GAP), GAP + row * (height + GAP))
        strip.paste(draw_name(name, width, NAME_HEIGHT), at)
        strip.paste(_tile(file, width, height - NAME_HEIGHT), (at[0], at[1] + NAME_HEIGHT))
    return "data:image/jpeg;base64," + b64encode(small_jpeg(strip)).decode("ascii")


def _tile(file: Path | None, width: int, height: int) -> Image:
    from PIL import Image, ImageOps

    tile = Image.new("RGB", (width, height), TILE)
    if file is not None:
        with Image.open(BytesIO(poster(file, width=POSTER_WIDTH))) as picture:
            fitted = ImageOps.contain(picture.convert("RGB"), (width, height))
        tile.paste(fitted, ((width - fitted.width) // 2, (height - fitted.height) // 2))
    return tile
