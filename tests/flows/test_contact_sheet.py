"""What a batch leaves behind: a CSV for spreadsheets, and pages with a picture of each video."""

from __future__ import annotations

import asyncio
import csv
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from batches import carry, shots
from memory_blocks import SyncMemory
from PIL import Image

from prefect_hailuo import BatchItem, Hailuo02ProTextToVideo, Video
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import MissingExtraError
from prefect_hailuo.flows import report as report_module
from prefect_hailuo.flows.report import Report, write_report
from prefect_hailuo.flows.sheet import (
    PAGE_ENTRIES,
    Cell,
    Entry,
    as_csv,
    as_table,
    draw_sheet,
    entries_of_ledger,
    entries_of_outcomes,
    page_names,
)
from prefect_hailuo.media.probe import MOST_JPEG_BYTES
from prefect_hailuo.runs.storage import StorageBlock
from prefect_hailuo.storage.place import Directory

EVIL = "=HYPERLINK(1) <script>alert(1)</script> 夜 \"'&"

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def made(emulator: FalEmulator, folder: Path, *prompts: str) -> list[Entry]:
    """Videos that were made, as entries."""
    inputs = [Hailuo02ProTextToVideo(prompt=each) for each in prompts]
    items = [BatchItem(input=each, labels={"sku": "-1"}) for each in inputs]
    return entries_of_outcomes(items, carry(emulator, items, storage=folder), LONG_AGO)


def failed(number: int, prompt: str = "A fox.") -> Entry:
    """One that failed."""
    given = Hailuo02ProTextToVideo(prompt=prompt)
    return Entry(number, given, "0", f"k{number}", error="FalFaultError: Out.", cure="Wait.")


def report(entries: list[Entry], folder: Path) -> tuple[Report, str]:
    """A report in that folder, and its first page."""
    writing = write_report(entries, Directory(folder), "run", "A <b>batch</b>", "1 of 1 done.")
    found = asyncio.run(writing)
    return found, Path(found.pages[0]).read_text(encoding="utf-8")


def test_a_page_holds_its_pictures_and_links_to_the_files(
    emulator: FalEmulator, tmp_path: Path
) -> None:
    """Every text is shown as it is, and needs nothing from elsewhere; links are relative."""
    entries = made(emulator, tmp_path, EVIL)
    found, page = report([*entries, failed(2)], tmp_path)
    video = entries[0].video
    assert video is not None
    assert page.count('src="data:image/jpeg;base64,') == 1
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "A &lt;b&gt;batch" in page
    assert "FalFaultError: Out." in page
    assert "夜" in page
    links = re.findall(r'href="([^"]*)"', page)
    assert (tmp_path / links[0]).read_bytes() == Path(video.place).read_bytes()
    assert re.findall(r'(?:src|href)="(?!data:|http|[\w-]+\.mp4")', page) == []
    assert "Made by the emulator" in page
    assert found.csv == str(tmp_path / "run.csv")


async def test_a_block_keeps_the_report_beside_its_videos(
    emulator: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Posters are then made of what is read back, within bounds."""
    monkeypatch.setattr(report_module, "MOST_READ_BACK", 1)

    block = SyncMemory()
    place = StorageBlock(block)
    items = [BatchItem(input=each) for each in shots(2)]
    outcomes = carry(emulator, items, storage=block)
    entries = entries_of_outcomes(items, outcomes, LONG_AGO)
    found = await write_report(entries, place, "run", "A batch", "2 of 2 done.")
    page = block._files["run-sheet.html"].decode()
    assert found.pages == (f"{place.label}/run-sheet.html",)
    assert page.count("data:image/jpeg") == 1
    assert page.count('href="shot-') == 4


def test_without_pictures_there_are_still_a_table_and_a_csv(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the extra is not installed; and a file that no player can read has no picture."""
    entries = made(tiny, tmp_path, "A fox.")
    found, page = report(entries, tmp_path)
    assert "no picture" in page
    assert found.sheet_jpeg is not None

    def refuse() -> None:
        raise MissingExtraError("PyAV is not installed.")

    monkeypatch.setattr(report_module, "require_media", refuse)
    found, page = report(entries, tmp_path)
    assert found.sheet_jpeg is None
    assert "A fox." in page
    assert Path(found.csv).exists()


def test_a_long_batch_has_several_pages(tmp_path: Path) -> None:
    """Each links to the others; every video is on one of them."""
    number = 2 * PAGE_ENTRIES + 1
    found, first = report([failed(each) for each in range(1, number + 1)], tmp_path)
    pages = [Path(each).read_text(encoding="utf-8") for each in found.pages]
    assert len(pages) == 3
    assert [page.count("<li") for page in pages] == [PAGE_ENTRIES, PAGE_ENTRIES, 1]
    assert 'href="run-sheet-3.html"' in first
    assert page_names("run", 1) == ["run-sheet.html"]


@pytest.mark.parametrize(("number", "columns"), [(1, 2), (5, 3), (60, 6), (500, 6)])
def test_the_picture_is_small_whatever_it_shows(number: int, columns: int) -> None:
    """It goes through Prefect's API, and its UI prints its address."""
    noise = BytesIO()
    Image.effect_noise((320, 180), 100).convert("RGB").save(noise, "JPEG")
    cells = [Cell(failed(each), noise.getvalue(), "") for each in range(1, number + 1)]
    jpeg = draw_sheet(cells)
    with Image.open(BytesIO(jpeg)) as picture:
        assert picture.width <= 960
        assert picture.height <= 760
    assert len(jpeg) <= MOST_JPEG_BYTES


def test_no_cell_is_a_formula() -> None:
    """A prompt, a label, or what fal says is nothing that a spreadsheet runs."""
    signs = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\uff1d1"]
    entries = [
        Entry(n, Hailuo02ProTextToVideo(prompt=each), "0", "k", {each: each}, error=each)
        for n, each in enumerate(signs, 1)
    ]
    rows = list(csv.reader(StringIO(as_csv(entries).decode("utf-8-sig"))))
    cells = [each for row in rows for each in row]
    assert sum(each.startswith("'") for each in cells) == 3 * len(signs)
    assert not [each for each in cells if each[:1] in tuple("=+-@\t\r\uff1d")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_is_a_formula_wherever_a_sheet_divides(delimiter: str) -> None:
    """Where commas divide decimals, a spreadsheet takes the semicolon, and ends a row at a line's
    end: for it, the quotes around a text are in the middle of a cell."""
    prompt = "A fox;=1+cmd|'/C calc'!A0\n=2+2\t@SUM(1);  -3"
    text = as_csv([Entry(1, Hailuo02ProTextToVideo(prompt=prompt), "0", "k")]).decode("utf-8-sig")
    if delimiter == ",":
        cells = [cell for row in csv.reader(StringIO(text)) for cell in row]
    else:
        cells = [cell for line in text.splitlines() for cell in line.split(delimiter)]
    assert not [each for each in cells if each.strip()[:1] in tuple("=+-@")]


def test_a_prompt_is_no_markdown_in_the_table() -> None:
    """Prefect's UI would fetch the picture that a prompt names."""
    evil = '<img src="https://evil.example/x.png"> ![x](https://evil.example)'
    given = Hailuo02ProTextToVideo(prompt=evil)
    [row] = as_table([Entry(1, given, "<b>", "k", {"<i>": "<img>"}, error="<img src=x>")])
    for cell in row.values():
        assert not re.search(r"(?<!\\)[<\[]", str(cell))


async def test_the_ledger_tells_the_same_as_the_outcomes(tiny: FalEmulator, tmp_path: Path) -> None:
    """So a run knows what its shards made, however many: they return little."""
    items = [BatchItem(input=each, take="0") for each in shots(3)]
    outcomes = carry(tiny, items[:2], storage=tmp_path)
    began = datetime.now(timezone.utc) + timedelta(seconds=60)
    found = await entries_of_ledger(items, began, tiny.credentials(), str(tmp_path))
    assert found[:2] == entries_of_outcomes(items[:2], outcomes, began)
    assert [each.state for each in found] == ["there before", "there before", "failed"]
    assert found[2].billed == "no"
    twins = [items[0], items[0].model_copy(update={"labels": {"sku": "F-2"}})]
    both = await entries_of_ledger(twins, began, tiny.credentials(), str(tmp_path))
    assert [(each.number, each.labels, each.state) for each in both] == [
        (1, {}, "there before"),
        (2, {"sku": "F-2"}, "there before"),
    ]
    assert [row["Price (US$)"] for row in as_table(found)] == ["0.48", "0.48", ""]


def test_a_dangerous_link_is_none() -> None:
    """Whatever a record says, a page leads to fal over http, or nowhere."""
    given = Hailuo02ProTextToVideo(prompt="A fox.")
    video = Video(
        path=None, storage="block:s3/x", storage_key="a.mp4", url="javascript:alert(1)",
        content_type=None, size=1, sha256="0", endpoint=given.endpoint.id, request_id="r",
        realm="fal", price_usd=Decimal(1), stored_at=LONG_AGO,
    )  # fmt: skip
    assert Entry(1, given, "0", "k", video=video).web_address == ""
