"""What a batch leaves behind: a CSV and a contact sheet beside its videos, a table and a picture.

The artifacts have these keys, in every flow run: `hailuo-batch-plan` (Markdown),
`hailuo-batch-table` (a table) and `hailuo-batch-sheet` (an image).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from prefect import get_run_logger, runtime
from prefect.artifacts import (
    acreate_image_artifact,
    acreate_markdown_artifact,
    acreate_table_artifact,
)
from slugify import slugify

from prefect_hailuo.batch_summary import BatchSummary
from prefect_hailuo.blocks import Credentials, resolve_credentials
from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.contact_sheet import (
    MOST_PICTURES,
    PAGE_ENTRIES,
    Cell,
    draw_sheet,
    jpeg_address,
    link_from,
    page_names,
    render_page,
)
from prefect_hailuo.entries import Entry, as_csv, as_table
from prefect_hailuo.errors import HailuoError, MissingExtraError
from prefect_hailuo.loop import process_loop
from prefect_hailuo.media import poster, require_media
from prefect_hailuo.places import Place
from prefect_hailuo.plan import Plan
from prefect_hailuo.settings import current_settings
from prefect_hailuo.storage import Storage, resolve_storage

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
        await acreate_image_artifact(jpeg_address(report.sheet_jpeg), SHEET_KEY, text)
