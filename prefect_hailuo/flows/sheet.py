"""The contact sheet of a batch and its CSV: which columns there are, and how pages are drawn.

`Entry` is what came of one video: a row of the CSV and of the table, a cell of the sheet. The pages
hold their pictures, so that they can be sent to anybody. The one picture has numbers and no words,
since Pillow's own font draws boxes for most of the world's writing; the words are on the pages and
in the table, by the same numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from io import BytesIO, StringIO
from math import ceil
from textwrap import shorten
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
from anyio.to_thread import run_sync
from jinja2 import Environment, Template

from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.order import settle_request
from prefect_hailuo.engine.outcome import Failure, VideoOutcomes
from prefect_hailuo.errors import Billed, ImageError
from prefect_hailuo.ledger.attempt import Attempt
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.media.probe import require_media, small_jpeg
from prefect_hailuo.models.catalogue import VideoInput
from prefect_hailuo.models.image import Source, data_uri, shown
from prefect_hailuo.models.key import generation_key
from prefect_hailuo.models.request import Request
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.blocks import Credentials, resolve_credentials
from prefect_hailuo.runs.markdown import escape
from prefect_hailuo.runs.orders import BatchItem
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.runs.storage import Storage, resolve_storage

if TYPE_CHECKING:
    from PIL.Image import Image

SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"
"""With what a formula begins, by OWASP's list; the last four are full-width forms of the first."""

FORMULAS = f"{SIGNS}\t\r\n"
"""With what a cell begins that a spreadsheet would run as a formula."""

_FORMULA_INSIDE = re.compile(rf"([;\t\r\n][ ;\t\r\n]*)(?=[{re.escape(SIGNS)}])")
"""Where a cell would begin in a spreadsheet whose list separator is no comma but a semicolon or a
tab: it does not know that the text is in quotes."""

NOT_MADE = "It was not made, and the ledger says no more; the log of its shard does."

WORDS_CHARACTERS = 200

FIELD_CHARACTERS = 2_000

ASKED_AT_ONCE = 250
"""Keys that the ledger is asked about side by side: it answers them together."""


@dataclass(frozen=True)
class Entry:
    """What came of one video.

    Args:
        number: Its place in the batch, from 1; pictures are numbered by it.
        input: What was asked for.
        take: Which of several videos of the same input.
        key: The generation's key.
        labels: The caller's own words for it.
        video: It, where it is there.
        new: Whether fal took it on after the run had begun.
        error: What went wrong instead.
        cure: What cures that.
        billed: Whether what went wrong cost money.
    """

    number: int
    input: VideoInput
    take: str
    key: str
    labels: dict[str, str] = field(default_factory=dict)
    video: Video | None = None
    new: bool = False
    error: str = ""
    cure: str = ""
    billed: Billed | None = None

    @property
    def prompt(self) -> str:
        """What was asked for."""
        return self.input.prompt

    @property
    def model(self) -> str:
        """The model's name."""
        return self.input.endpoint.name

    @property
    def state(self) -> str:
        """What became of it, in a word or two."""
        if self.video is None:
            return "failed"
        return "new" if self.new else "there before"

    @property
    def price_usd(self) -> Decimal | None:
        """What it cost at fal by the catalogue, in US dollars, where there is a video."""
        return self.video.price_usd if self.video else None

    @property
    def place(self) -> str:
        """Where it is, for people; empty where it is nowhere."""
        return self.video.place if self.video else ""

    @property
    def web_address(self) -> str:
        """fal's copy, for as long as it keeps it."""
        url = self.video.url if self.video else ""
        return url if url.startswith(("https://", "http://")) else ""


def entries_of_outcomes(
    items: Sequence[BatchItem], outcomes: VideoOutcomes, began: datetime
) -> list[Entry]:
    """What came of a batch that this process made.

    Args:
        items: What was wanted.
        outcomes: What became of each, in the same order.
        began: When the run began.
    """
    return [
        _entry(each.index + 1, item, each.key, began, each.video, each.failure)
        for item, each in zip(items, outcomes, strict=True)
    ]


async def entries_of_ledger(
    items: Sequence[BatchItem], began: datetime, credentials: Credentials, storage: Storage
) -> list[Entry]:
    """What came of a batch that other processes made, by the ledger that they share.

    Args:
        items: What was wanted.
        began: When the run began.
        credentials: Whose ledger is asked: a block, or a saved block's name.
        storage: Where the videos were to go.
    """
    realm = (await run_sync(resolve_credentials, credentials)).realm
    place = (await run_sync(resolve_storage, storage, realm)).label
    ledger = (await run_sync(current_settings)).ledger_of(realm)

    async def job(connections: Connections, emit: Emit) -> list[Entry]:
        known = connections.ledgers.at(ledger)
        found: dict[int, Entry] = {}

        async def look(index: int) -> None:
            item = items[index]
            request = await _settled(item.input.request(), connections)
            key = generation_key(request, realm=realm, take=item.take or 0)
            video, failure = await _known(known, key, place)
            found[index] = _entry(index + 1, item, key, began, video, failure)

        for start in range(0, len(items), ASKED_AT_ONCE):
            async with anyio.create_task_group() as asking:
                for index in range(start, min(start + ASKED_AT_ONCE, len(items))):
                    asking.start_soon(look, index)
        return [found[index] for index in range(len(items))]

    return await process_loop().arun(job)


async def _settled(request: Request, connections: Connections) -> Request:
    """A request by its images' content, as its key was made; as it is, where one is gone."""
    try:
        return await settle_request(request, connections.pictures)
    except ImageError:
        return request


async def _known(ledger: Ledger, key: str, place: str) -> tuple[Video | None, Failure | None]:
    """A video that is stored, if possible in that place; or why there is none."""
    videos = await ledger.files.of(key)
    if not videos:
        return None, _recorded(await ledger.claims.latest(key))
    return next((each for each in videos if each.storage == place), videos[0]), None


def _entry(
    number: int,
    item: BatchItem,
    key: str,
    began: datetime,
    video: Video | None,
    failure: Failure | None,
) -> Entry:
    submitted = video.submitted_at if video else None
    return Entry(
        number=number,
        input=item.input,
        take=str(item.take or 0),
        key=key,
        labels=item.labels,
        video=video,
        new=submitted is not None and submitted >= began,
        error=f"{failure.kind}: {failure.message}" if failure else "",
        cure=failure.cure if failure else "",
        billed=failure.billed if failure else None,
    )


def _recorded(latest: Attempt | None) -> Failure:
    """Why there is no video, by the ledger."""
    if latest is not None and latest.error is not None:
        billed = latest.billed or Billed.UNKNOWN
        known = {name: latest.error[name] for name in ("kind", "message", "cure")}
        return Failure(**known, billed=billed, retryable=False)
    billed = Billed.NO if latest is None else latest.billed or Billed.UNKNOWN
    return Failure(
        kind="HailuoError", message=NOT_MADE, cure="Run it again.", billed=billed, retryable=True
    )


def as_csv(entries: Iterable[Entry]) -> bytes:
    """Entries as a CSV file that a spreadsheet opens: UTF-8 with its mark, and no formulas.

    Example:
        >>> from prefect_hailuo import Hailuo02ProTextToVideo
        >>> owl = Entry(1, Hailuo02ProTextToVideo(prompt="=1+1"), "0", "f0", error="No: no.")
        >>> as_csv([owl]).decode("utf-8-sig").splitlines()[1]
        "1,failed,hailuo-02-pro,'=1+1,0,,,,,,f0,No: no.,,True"
    """
    rows = [_cells(each) for each in entries]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    file = StringIO(newline="")
    writer = csv.DictWriter(file, [safe_cell(each) for each in columns], restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({safe_cell(name): safe_cell(each) for name, each in row.items()})
    return file.getvalue().encode("utf-8-sig")


def safe_cell(value: object) -> str:
    """A cell's text that no spreadsheet runs as a formula.

    Example:
        >>> safe_cell("=HYPERLINK(A1)"), safe_cell("A fox"), safe_cell(None)
        ("'=HYPERLINK(A1)", 'A fox', '')
        >>> safe_cell("A fox;=1+1")
        "A fox;'=1+1"
    """
    text = _FORMULA_INSIDE.sub(r"\1'", "" if value is None else str(value))
    return f"'{text}" if text.startswith(tuple(FORMULAS)) else text


def _cells(entry: Entry) -> dict[str, Any]:
    video = entry.video
    asked = {name: _told(each) for name, each in entry.input if name != "prompt"}
    return {
        "number": entry.number,
        "state": entry.state,
        "model": entry.model,
        "prompt": entry.prompt,
        "take": entry.take,
        "price_usd": entry.price_usd,
        "billed": entry.billed,
        "file": entry.place,
        "link": entry.web_address,
        "request_id": video.request_id if video else None,
        "key": entry.key,
        "error": entry.error,
        "cure": entry.cure,
        **asked,
        **_answered(video),
        **{f"labels.{name}": each for name, each in entry.labels.items()},
    }


def _answered(video: Video | None) -> dict[str, Any]:
    """What fal told besides the file, and what in the file is not as it was asked for."""
    if video is None:
        return {}
    noted = {"notes": "; ".join(video.notes)} if video.notes else {}
    return {**noted, **{f"output.{name}": _told(each) for name, each in video.output.items()}}


def _told(value: object) -> object:
    """A field of an input or output: of a picture, no signature and none of its bytes."""
    if isinstance(value, Source):
        return shown(value)
    if isinstance(value, tuple):
        return "; ".join(str(_told(each)) for each in value)
    if value is None:
        return ""
    text = str(value)
    return value if len(text) <= FIELD_CHARACTERS else f"{text[:FIELD_CHARACTERS]}…"


def as_table(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Entries as the rows of a table artifact, whose cells Prefect shows as Markdown."""
    return [
        {
            "#": entry.number,
            "Prompt": escape(_short(entry.prompt)),
            "Labels": escape(_short(", ".join(f"{k}: {v}" for k, v in entry.labels.items()))),
            "Model": entry.model,
            "Take": escape(_short(entry.take)),
            "Result": escape(_short(entry.error)) if entry.error else entry.state,
            "Price (US$)": "" if entry.price_usd is None else str(entry.price_usd),
            "File": entry.place,
            "Link": entry.web_address,
        }
        for entry in entries
    ]


def _short(text: str) -> str:
    return shorten(text, WORDS_CHARACTERS, placeholder="…")


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
        return data_uri(self.poster_jpeg, "image/jpeg") if self.poster_jpeg else ""


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
    source = files("prefect_hailuo.flows").joinpath("templates/contact_sheet.html")
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
