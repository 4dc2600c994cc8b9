"""The report of a batch: its summary, its CSV and its contact sheet, written and shown.

`BatchSummary` is what the flow run returns: it is small, however many videos there are. The
artifacts have the same keys in every flow run: `hailuo-batch-plan` (Markdown), `hailuo-batch-table`
(a table) and `hailuo-batch-sheet` (an image).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from textwrap import shorten
from typing import Any

import anyio
from anyio.to_thread import run_sync
from prefect import get_run_logger, runtime
from prefect.artifacts import (
    acreate_image_artifact,
    acreate_markdown_artifact,
    acreate_table_artifact,
)
from prefect.states import Failed
from pydantic import BaseModel, Field
from slugify import slugify

from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.outcome import Failure, VideoOutcomes
from prefect_hailuo.errors import BatchError, Billed, HailuoError, MissingExtraError
from prefect_hailuo.flows.plan import Plan
from prefect_hailuo.flows.sheet import (
    MOST_PICTURES,
    PAGE_ENTRIES,
    Cell,
    Entry,
    as_csv,
    as_table,
    draw_sheet,
    link_from,
    page_names,
    render_page,
)
from prefect_hailuo.media.probe import poster, require_media
from prefect_hailuo.models.image import data_uri
from prefect_hailuo.models.money import dollars
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.blocks import Credentials, resolve_credentials
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.runs.storage import Storage, resolve_storage
from prefect_hailuo.storage.place import Place

MOST_FAILURES = 20
MOST_TOLD = 3
TEXT_CHARACTERS = 200


class BatchSummary(BaseModel):
    """What became of a catalogue; as small for ten thousand videos as for ten.

    Args:
        videos: How many were asked for; equal prompts are one.
        done: How many videos there are.
        new: How many of these fal accepted after the run had begun.
        spent_usd: What the new ones cost, by the catalogue; an emulator's cost nothing.
        failed: How many failed.
        maybe_billed: How many of the failed cost money, or may have.
        failures: The first of the failed: the prompt and what happened.
        places: Where the videos are: a directory's path is one of the machine that made it.
        plan: What was to be bought, before anything was.
        csv: Where the CSV is, with a row for each video.
        sheet: Where the contact sheet's first page is.
    """

    videos: int = 0
    done: int = 0
    new: int = 0
    spent_usd: Decimal = Decimal(0)
    failed: int = 0
    maybe_billed: int = 0
    failures: list[str] = Field(default_factory=list)
    places: list[str] = Field(default_factory=list)
    plan: Plan | None = None
    csv: str | None = None
    sheet: str | None = None

    @property
    def ending(self) -> str:
        """How many videos there are, and how many failed, in a few words."""
        return ending(self.done, self.videos, self.failed)

    def __str__(self) -> str:
        spent = dollars(self.spent_usd) if self.spent_usd else "nothing"
        return f"{self.ending}, {self.new:,} new for {spent}"


def ending(done: int, videos: int, failed: int) -> str:
    """How a batch ended, in a few words.

    Args:
        done: How many videos are there.
        videos: How many were asked for.
        failed: How many failed.

    Example:
        >>> ending(1, 3, 2)
        '1 of 3 done, 2 failed'
    """
    return f"{done:,} of {videos:,} done" + (f", {failed:,} failed" if failed else "")


def failed_state(message: str, error: BatchError) -> Any:
    """The state that a flow returns where something failed: Failed, with what there is.

    Args:
        message: The state's message, in a few words.
        error: What the caller of the flow gets; its `summary` is what the flow made.
    """
    get_run_logger().error("%s", error)
    return Failed(message=message, data=error)


def batch_error(summary: BatchSummary) -> BatchError:
    """The error of a batch of which something failed; it carries the summary."""
    error = BatchError(
        f"{summary}. {' '.join(f'{each}' for each in summary.failures[:MOST_TOLD])}".rstrip(),
        cure="Stored videos stay. Run it again as it is: only what failed is tried, and nothing "
        "is bought twice.",
        billed=Billed.UNKNOWN if summary.maybe_billed else Billed.NO,
    )
    error.summary = summary
    return error


def sum_up(outcomes: VideoOutcomes, began: datetime) -> BatchSummary:
    """A batch's summary, which counts a video once, however many rows ask for it.

    Args:
        outcomes: What became of each row.
        began: When the run began.
    """
    each_once = list({each.key: each for each in outcomes}.values())
    videos = [each.video for each in each_once if each.video]
    new = [each for each in videos if each.submitted_at and each.submitted_at >= began]
    paid = [each.price_usd for each in new if each.price_usd and not each.made_by_emulator]
    failures = [(each.input.prompt, each.failure) for each in each_once if each.failure]
    return BatchSummary(
        videos=len(each_once),
        done=len(videos),
        new=len(new),
        spent_usd=sum(paid, Decimal(0)),
        failed=len(failures),
        maybe_billed=sum(each.billed is not Billed.NO for _, each in failures),
        failures=[_say(*each) for each in failures[:MOST_FAILURES]],
        places=sorted({_place(each) for each in videos}),
    )


def add_up(summaries: Sequence[BatchSummary]) -> BatchSummary:
    """The summary of a batch that was split.

    Example:
        >>> print(add_up([BatchSummary(videos=2, done=2), BatchSummary(videos=1, failed=1)]))
        2 of 3 done, 1 failed, 0 new for nothing
    """
    return BatchSummary(
        videos=sum(each.videos for each in summaries),
        done=sum(each.done for each in summaries),
        new=sum(each.new for each in summaries),
        spent_usd=sum((each.spent_usd for each in summaries), Decimal(0)),
        failed=sum(each.failed for each in summaries),
        maybe_billed=sum(each.maybe_billed for each in summaries),
        failures=[text for each in summaries for text in each.failures][:MOST_FAILURES],
        places=sorted({place for each in summaries for place in each.places}),
    )


def _place(video: Video) -> str:
    return str(video.path.parent) if video.path else video.storage


def _say(prompt: str, failure: Failure) -> str:
    return shorten(f"{prompt[:60]!r}: {failure.kind}: {failure.message}", TEXT_CHARACTERS)


PLAN_KEY = "hailuo-batch-plan"
TABLE_KEY = "hailuo-batch-table"
SHEET_KEY = "hailuo-batch-sheet"

MOST_ROWS = 1_000
"""Of the table: Prefect's UI holds all of it in the browser. The CSV has every row."""

MOST_POSTERS = 1_000
"""How many videos of a batch have a poster on its pages: each takes some 50 ms of a processor."""

MOST_READ_BACK = 200
"""How many of them are read back from a storage block for that, each being some megabytes."""

POSTER_WIDTH = 320
POSTER_QUALITY = 60

POSTERS_AT_ONCE = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Report:
    """Where a batch's outputs are.

    Args:
        csv: The CSV's place, for people.
        pages: The places of the contact sheet's pages.
        sheet_jpeg: The picture; None where the extra `media` is not installed.
    """

    csv: str
    pages: tuple[str, ...]
    sheet_jpeg: bytes | None


async def write_report(
    entries: Sequence[Entry], place: Place, name: str, title: str, facts: str
) -> Report:
    """Write a batch's CSV and contact sheet beside its videos.

    Args:
        entries: What came of each video.
        place: Where the videos are.
        name: How the files' names begin.
        title: What the pages are of.
        facts: What is to be known of the whole batch, in a line.

    Raises:
        StorageError: The place does not take them.
    """
    writing = _Writing(entries, place, name, title, facts)
    return await process_loop().arun(writing.write)


class _Writing:
    """Writes one report, a page at a time: no more posters are held than a page has."""

    def __init__(
        self, entries: Sequence[Entry], place: Place, name: str, title: str, facts: str
    ) -> None:
        self._entries = entries
        self._place = place
        self._name = name
        self._title = title
        self._facts = facts
        self._pictures = _has_media()
        self._read_back = MOST_READ_BACK
        self._at_once: anyio.CapacityLimiter

    async def write(self, connections: Connections, emit: Emit) -> Report:
        """Write it, as a job of the package's loop."""
        self._at_once = anyio.CapacityLimiter(POSTERS_AT_ONCE)
        csv_name = f"{self._name}.csv"
        await self._place.write(csv_name, await run_sync(as_csv, self._entries))
        names = page_names(self._name, len(self._entries))
        sheet: bytes | None = None
        for page, page_name in enumerate(names, 1):
            start = (page - 1) * PAGE_ENTRIES
            cells = await self._cells(self._entries[start : start + PAGE_ENTRIES])
            if page == 1 and self._pictures and cells:
                sheet = await run_sync(draw_sheet, cells[:MOST_PICTURES])
            await self._place.write(page_name, await run_sync(self._render, cells, names, page))
        return Report(self._say(csv_name), tuple(map(self._say, names)), sheet)

    def _render(self, cells: Sequence[Cell], names: Sequence[str], page: int) -> bytes:
        return render_page(cells, title=self._title, facts=self._facts, names=names, page=page)

    def _say(self, name: str) -> str:
        path = self._place.path_of(name)
        return str(path) if path else f"{self._place.label}/{name}"

    async def _cells(self, entries: Sequence[Entry]) -> list[Cell]:
        posters: dict[int, bytes | None] = {}

        async def make(entry: Entry) -> None:
            posters[entry.number] = await self._poster(entry)

        async with anyio.create_task_group() as making:
            for entry in entries:
                making.start_soon(make, entry)
        label = self._place.label
        return [Cell(each, posters[each.number], link_from(label, each)) for each in entries]

    async def _poster(self, entry: Entry) -> bytes | None:
        """A small poster; None where there is none to be had: the video is there all the same."""
        video = entry.video
        if not self._pictures or video is None or entry.number > MOST_POSTERS:
            return None
        if video.path is not None:
            return await run_sync(_poster_of, video.path, limiter=self._at_once)
        if video.storage != self._place.label or self._read_back == 0:
            return None
        self._read_back -= 1
        return await self._read_poster(video.storage_key)

    async def _read_poster(self, storage_key: str) -> bytes | None:
        async with self._at_once:  # a whole video is in memory meanwhile
            try:
                content = await self._place.read(storage_key)
            except HailuoError:
                return None
            return await run_sync(_poster_of_bytes, content) if content else None


def _has_media() -> bool:
    try:
        require_media()
    except MissingExtraError:
        return False
    return True


def _poster_of(path: Path) -> bytes | None:
    try:
        return poster(path, width=POSTER_WIDTH, quality=POSTER_QUALITY)
    except (HailuoError, OSError):
        return None


def _poster_of_bytes(content: bytes) -> bytes | None:
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(content)
        file.flush()
        return _poster_of(Path(file.name))


async def publish_plan(plan: Plan) -> None:
    """Say in the flow run what would be bought, before anything is spent."""
    get_run_logger().info("%s", " ".join(plan.lines()))
    if current_settings().artifacts:
        await acreate_markdown_artifact(plan.markdown(), PLAN_KEY, str(plan))


async def report_batch(
    summary: BatchSummary, entries: Sequence[Entry], credentials: Credentials, storage: Storage
) -> None:
    """Write and show what came of a flow run's batch, and note in its summary where.

    What goes wrong with it is logged: what is paid for is not lost over a picture.

    Args:
        summary: What became of the batch.
        entries: What came of each video.
        credentials: Whose videos they are.
        storage: Where they are.
    """
    run = runtime.flow_run
    try:
        realm = (await run_sync(resolve_credentials, credentials)).realm
        place = await run_sync(resolve_storage, storage, realm)
        name = f"batch-{slugify(run.name)}-{str(run.id)[:8]}"
        made = await write_report(entries, place, name, f"Batch {run.name}", f"{summary}.")
        summary.csv, summary.sheet = made.csv, made.pages[0]
        if current_settings().artifacts:
            await publish_report(entries, made, f"{summary}.")
    except Exception as error:
        get_run_logger().warning("The report could not be made: %s", error)


async def publish_report(entries: Sequence[Entry], report: Report, facts: str) -> None:
    """Show what came of a batch in the flow run: a table, and a picture if there is one."""
    shown = as_table(entries[:MOST_ROWS])
    beyond = f" Shown: the first {MOST_ROWS:,}." if len(entries) > MOST_ROWS else ""
    files = f"All rows: `{report.csv}`. Contact sheet: `{report.pages[0]}`."
    await acreate_table_artifact(shown, TABLE_KEY, f"{facts}{beyond} {files}")
    if report.sheet_jpeg:
        few = min(MOST_PICTURES, len(entries))
        text = f"Videos 1 to {few} of {len(entries)}, by their numbers in the table. {files}"
        await acreate_image_artifact(data_uri(report.sheet_jpeg, "image/jpeg"), SHEET_KEY, text)
