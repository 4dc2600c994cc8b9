"""What came of a batch, a line for each video: for a table, a CSV, and a contact sheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from io import StringIO
from textwrap import shorten
from typing import Any

import anyio
from anyio.to_thread import run_sync

from prefect_hailuo.blocks import Credentials, resolve_credentials
from prefect_hailuo.catalogue import BatchItem
from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.errors import Billed, ImageError
from prefect_hailuo.images import Source, shown
from prefect_hailuo.key import generation_key
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.loop import process_loop
from prefect_hailuo.outcomes import Failure, VideoOutcomes
from prefect_hailuo.settings import current_settings
from prefect_hailuo.settling import settle_input
from prefect_hailuo.storage import Storage, resolve_storage
from prefect_hailuo.video import Video

FORMULAS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""With what a cell begins that a spreadsheet would run as a formula, by OWASP's list; the last four
are the full-width forms of the first."""

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
            given = await _settled(item.input, connections)
            key = generation_key(given, realm=realm, take=item.take or 0)
            video, failure = await _known(known, key, place)
            found[index] = _entry(index + 1, item, key, began, video, failure)

        for start in range(0, len(items), ASKED_AT_ONCE):
            async with anyio.create_task_group() as asking:
                for index in range(start, min(start + ASKED_AT_ONCE, len(items))):
                    asking.start_soon(look, index)
        return [found[index] for index in range(len(items))]

    return await process_loop().arun(job)


async def _settled(given: VideoInput, connections: Connections) -> VideoInput:
    """An input by its pictures' content, as its key was made; as it is, where one is gone."""
    try:
        return await settle_input(given, connections.pictures)
    except ImageError:
        return given


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
    """
    text = "" if value is None else str(value)
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
        **{f"labels.{name}": each for name, each in entry.labels.items()},
    }


def _told(value: object) -> object:
    """A field of an input: of a picture, no signature and none of its bytes."""
    if isinstance(value, Source):
        return shown(value)
    text = str(value)
    return value if len(text) <= FIELD_CHARACTERS else f"{text[:FIELD_CHARACTERS]}…"


def as_table(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Entries as the rows of a table artifact."""
    return [
        {
            "#": entry.number,
            "Prompt": _short(entry.prompt),
            "Model": entry.model,
            "Take": entry.take,
            "Result": _short(entry.error) if entry.error else entry.state,
            "Price (US$)": "" if entry.price_usd is None else str(entry.price_usd),
            "File": entry.place,
            "Link": entry.web_address,
        }
        for entry in entries
    ]


def _short(text: str) -> str:
    return shorten(text, WORDS_CHARACTERS, placeholder="…")
