"""The still panel in the middle of the emulator's pictures: banner, title and prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prefect_hailuo.endpoints import Endpoint

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

BANNER = "MADE BY THE EMULATOR"
FOOTNOTE = "prefect_hailuo.emulator: no model was asked, nothing was charged"

BACKDROP_COLOURS = [
    (24, 32, 64),
    (70, 40, 110),
    (190, 70, 90),
    (235, 150, 70),
    (60, 130, 140),
    (24, 32, 64),
]
MARKER_COLOUR = (255, 214, 92)
_PAPER = (18, 20, 28)
_INK = (238, 238, 232)
_QUIET = (150, 152, 160)

_MARGIN_SHARE = 0.05
_LINE_HEIGHT = 1.3
_PIECE_SHARE = 0.9
_BANNER_SHARE = 0.6
_PROMPT_SIZES = (64, 54, 46, 40, 34, 29, 25, 21, 18, 15, 12)
"""Sizes of the prompt's letters at 1080 lines, tried from the largest until it fits."""


def draw_panel(endpoint: Endpoint, prompt: str, width: int, height: int) -> Image.Image:
    """Draw what the video says.

    Args:
        endpoint: Whose title to write.
        prompt: What to write, wrapped and as large as it fits; any Unicode.
        width: Pixels.
        height: Pixels.
    """
    from PIL import Image, ImageDraw

    panel = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(panel)
    margin = int(width * _MARGIN_SHARE)
    unit = min(height, width * 9 / 16)  # of a tall picture, the width says how large letters are
    top = _draw_heading(draw, endpoint.title, width, unit, margin)
    bottom = height - margin - unit * 0.04
    draw.text((margin, bottom), FOOTNOTE, font=_font(unit * 0.026), fill=_QUIET)
    _draw_prompt(draw, drawable(prompt), (margin, int(top), width - margin, int(bottom)))
    return panel


def draw_banner(image: Image.Image) -> None:
    """Say across the top of a picture that the emulator shows it."""
    from PIL import ImageDraw

    unit = min(image.height, image.width * 9 / 16) * _BANNER_SHARE
    _draw_band(ImageDraw.Draw(image), image.width, unit)


def drawable(text: str) -> str:
    """The text without what no font can draw: lone surrogates and control characters."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in whole)


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(max(8.0, size))


def _draw_heading(
    draw: ImageDraw.ImageDraw, title: str, width: int, unit: float, margin: int
) -> float:
    band = _draw_band(draw, width, unit)
    draw.text((margin, band * 1.4), title, font=_font(unit * 0.042), fill=_QUIET)
    return band * 2.2


def _draw_band(draw: ImageDraw.ImageDraw, width: int, unit: float) -> float:
    band = unit * 0.11
    draw.rectangle((0, 0, width, band), fill=MARKER_COLOUR)
    draw.text((width / 2, band / 2), BANNER, font=_font(unit * 0.062), fill=_PAPER, anchor="mm")
    return band


def _draw_prompt(draw: ImageDraw.ImageDraw, prompt: str, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    scale = (bottom - top) / 580
    for size in (step * scale for step in _PROMPT_SIZES):
        font = _font(size)
        lines = list(_wrap(prompt, font, right - left))
        if len(lines) * size * _LINE_HEIGHT <= bottom - top:
            break
    for number, line in enumerate(lines):
        draw.text((left, top + number * size * _LINE_HEIGHT), line, font=font, fill=_INK)


def _wrap(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> Iterator[str]:
    line = ""
    for word in _breakable(text, font, width):
        longer = f"{line} {word}" if line else word
        if line and font.getlength(longer) > width:
            yield line
            line = word
        else:
            line = longer
    if line:
        yield line


def _breakable(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> Iterator[str]:
    """The words, those too long for a line (or of a script without spaces) in pieces."""
    for word in text.split():
        share = width / max(width, font.getlength(word))
        step = max(1, int(len(word) * share * (1 if share == 1 else _PIECE_SHARE)))
        yield from (word[start : start + step] for start in range(0, len(word), step))
