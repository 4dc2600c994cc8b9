"""A batch at a glance: pages of HTML that hold their pictures, and one small picture of it.

The picture has numbers and no words: Pillow's own font draws boxes for most of the world's
writing. The words are on the pages, and in the table, by the same numbers.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING
from urllib.parse import quote

from jinja2 import Environment, Template

from prefect_hailuo.entries import Entry
from prefect_hailuo.media import require_media, small_jpeg

if TYPE_CHECKING:
    from PIL.Image import Image

PAGE_ENTRIES = 100
"""Videos on a page: with their posters, one or two megabytes."""

MOST_PICTURES = 48
"""Posters in the picture of a batch: more would be too small to be told apart."""

PICTURE_WIDTH = 960
"""Pixels."""

GAP = 4
GROUND, TILE, INK, SHADE = (24, 24, 27), (63, 63, 70), (255, 255, 255), (0, 0, 0)

NUMBER_SHARE = 0.13
"""A number's height, of its tile's."""


@dataclass(frozen=True)
class Cell:
    """A video on a page.

    Args:
        entry: What came of it.
        poster: A small JPEG; None where there is none.
        href: Where the page finds the file; empty where it cannot.
    """

    entry: Entry
    poster_jpeg: bytes | None
    link: str

    @property
    def poster(self) -> str:
        """The poster as an address that holds it."""
        return jpeg_address(self.poster_jpeg) if self.poster_jpeg else ""


def jpeg_address(jpeg: bytes) -> str:
    """An address that holds a picture itself, for a page or an artifact."""
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"


def link_from(place: str, entry: Entry) -> str:
    """The link of a page to a video: relative, where both are in the same place.

    Args:
        place: The label of the place where the page is.
        entry: What came of the video.
    """
    video = entry.video
    if video is None:
        return ""
    if video.storage == place:
        return quote(video.storage_key)
    return video.path.as_uri() if video.path else ""


def page_names(name: str, entries: int) -> list[str]:
    """The file names of a batch's pages.

    Example:
        >>> page_names("batch", 250)
        ['batch-sheet.html', 'batch-sheet-2.html', 'batch-sheet-3.html']
    """
    pages = max(1, ceil(entries / PAGE_ENTRIES))
    return [f"{name}-sheet.html", *(f"{name}-sheet-{page}.html" for page in range(2, pages + 1))]


def render_page(
    cells: Sequence[Cell], *, title: str, facts: str, names: Sequence[str], page: int
) -> bytes:
    """A page, which needs nothing but itself; every text is shown as it is.

    Args:
        cells: The videos on it.
        title: What it is of.
        facts: What is to be known of the whole batch, in a line.
        names: The file names of all pages.
        page: Which of them this is, from 1.
    """
    emulated = any(each.entry.video and each.entry.video.made_by_emulator for each in cells)
    text = _template().render(
        cells=cells,
        title=title,
        facts=facts,
        names=names,
        pages=len(names),
        page=page,
        emulated=emulated,
    )
    return text.encode()


@cache
def _template() -> Template:
    source = files("prefect_hailuo").joinpath("templates/contact_sheet.html")
    return Environment(autoescape=True).from_string(source.read_text(encoding="utf-8"))


def draw_sheet(cells: Sequence[Cell]) -> bytes:
    """One small JPEG of a batch's first videos, each with its number.

    Args:
        cells: Those videos, in order; no more than `MOST_PICTURES` are drawn.

    Raises:
        MissingExtraError: Pillow is not installed.

    Example:
        >>> from prefect_hailuo import Hailuo02ProTextToVideo
        >>> owl = Entry(1, Hailuo02ProTextToVideo(prompt="An owl."), "0", "f0", error="No.")
        >>> draw_sheet([Cell(owl, None, "")])[:2]  # the mark of a JPEG
        b'\\xff\\xd8'
    """
    require_media()
    from PIL import Image

    shown = cells[:MOST_PICTURES]
    columns = _columns(len(shown))
    width = (PICTURE_WIDTH - GAP * (columns + 1)) // columns
    height = width * 9 // 16
    rows = ceil(len(shown) / columns)
    size = (GAP + min(columns, len(shown)) * (width + GAP), GAP + rows * (height + GAP))
    sheet = Image.new("RGB", size, GROUND)
    for index, cell in enumerate(shown):
        row, column = divmod(index, columns)
        at = (GAP + column * (width + GAP), GAP + row * (height + GAP))
        sheet.paste(_tile(cell, width, height), at)
    return small_jpeg(sheet)


def _columns(number: int) -> int:
    """So many that up to 48 fill about a screen."""
    return next((each for each in (2, 3, 4, 5) if number <= each * each), 6)


def _tile(cell: Cell, width: int, height: int) -> Image:
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    tile = Image.new("RGB", (width, height), TILE)
    if cell.poster_jpeg:
        with Image.open(BytesIO(cell.poster_jpeg)) as poster:
            fitted = ImageOps.contain(poster.convert("RGB"), (width, height))
        tile.paste(fitted, ((width - fitted.width) // 2, (height - fitted.height) // 2))
    draw = ImageDraw.Draw(tile)
    if cell.entry.video is None:  # crossed out
        draw.line([(0, 0), (width, height)], GROUND, 3)
        draw.line([(0, height), (width, 0)], GROUND, 3)
    font = ImageFont.load_default(size=max(11, height * NUMBER_SHARE))
    draw.text((5, 3), str(cell.entry.number), INK, font, stroke_width=2, stroke_fill=SHADE)
    return tile
