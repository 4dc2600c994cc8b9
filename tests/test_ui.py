"""What a person sees in Prefect's UI: in a real browser, of what a real server was told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import WIDTH, Browser, Page, find_chromium
from interface import serving_interface
from prefect.settings import get_current_settings
from test_artifacts import make_one
from test_reconcile_flow import abandon
from test_schema_watch import add_a_required_field

from flows.batch import batch
from flows.compare_models import compare_models
from flows.reconcile import reconcile
from flows.schema_watch import schema_watch
from flows.storyboard import storyboard
from prefect_hailuo.emulator import FalEmulator

# The first of them may install a browser, and starts all that is looked at.
pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]

PROMPT = "A <b>red</b> fox | *and* a [link](http://example.org/a), `code`."

SHOTS = ["A kite over dunes.", "A barge at dusk."]

PICTURES = {
    "poster": 480,
    "hailuo-batch-sheet": 480,
    "hailuo-comparison-posters": 480,
    "hailuo-storyboard-scenes": 240,
}
"""The artifacts that are pictures, and how many pixels wide each is at least."""

TABLES = {
    "card": "MiniMax Hailuo 2.3 Pro",
    "hailuo-batch-table": SHOTS[0],
    "hailuo-batch-plan": "$",
    "hailuo-comparison": "hailuo-02-pro",
    "hailuo-storyboard": SHOTS[1],
    "summary": "Bought by this run",
    "hailuo-batch-summary": "maybe_billed",
    "hailuo-reconcile-emulator": "collected",
    "hailuo-schema-emulator": "input.style",
}
"""Those that are or hold tables, and what can be read there."""

PROGRESS = {"progress": "Stored.", "batch-progress": f"{len(SHOTS)} of {len(SHOTS)} done"}
"""Those that show how far it is, and what they say at the end."""

MARKUP = ("| ---", "---|", "](", "**", "<br", "&amp;", "&lt;")
"""What shows where Markdown is not rendered, or what was escaped is not restored."""


@dataclass(frozen=True)
class Made:
    """What a few flow runs left behind.

    Args:
        artifacts: The ids of their artifacts, by key.
        sheet: The contact sheet as a page.
    """

    artifacts: dict[str, str]
    sheet: Path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all of these tests."""
    opened = Browser(find_chromium(), tmp_path_factory.mktemp("pages"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def home(browser: Browser, prefect_server: None) -> Iterator[str]:
    """Where the UI is."""
    with serving_interface() as address:
        yield f"{address}/v2"


@pytest.fixture(scope="module")
def made(home: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A video, a batch, a comparison and a storyboard; and what looks after them."""
    folder = tmp_path_factory.mktemp("videos")
    with FalEmulator(speed=1000, clip="plain") as emulator, pytest.MonkeyPatch.context() as patch:
        ledger = f"sqlite:///{folder / 'ledger.db'}"
        patch.setenv("PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL", ledger)
        options: dict[str, Any] = {"credentials": emulator.credentials(), "storage": str(folder)}
        video, _ = make_one(emulator, folder, PROMPT)
        earlier = latest_artifacts()
        summary = asyncio.run(batch(SHOTS, **options))
        batches = latest_artifacts().keys() - earlier.keys()
        asyncio.run(compare_models(SHOTS[0], **options))
        asyncio.run(storyboard(SHOTS, **options))
        abandon(emulator, folder, ledger)
        reconcile([emulator.credentials()])
        add_a_required_field(emulator)
        schema_watch(["hailuo-02-pro"], credentials=emulator.credentials())
    name = f"hailuo-{video.key[:16]}"
    ids = latest_artifacts()
    named = {
        "card": ids[name],
        "poster": ids[f"{name}-poster"],
        "progress": ids[f"{name}-progress"],
    }
    for each in batches:
        if found := re.fullmatch(r"hailuo-batch-[0-9a-f]{12}(-progress)?", each):
            named["batch-progress" if found[1] else "summary"] = ids[each]
    return Made({**ids, **named}, Path(summary.sheet or ""))


def latest_artifacts() -> dict[str, str]:
    """The latest artifact of each key."""
    api = get_current_settings().api.url
    answer = httpx.post(f"{api}/artifacts/latest/filter", json={"limit": 200}).raise_for_status()
    return {each["key"]: each["latest_id"] for each in answer.json()}


def open_artifact(browser: Browser, home: str, made: Made, name: str, at: str) -> Page:
    """An artifact's page, once something is there."""
    return browser.look(f"{home}/artifacts/artifact/{made.artifacts[name]}", at)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows(browser: Browser, home: str, made: Made, name: str) -> None:
    """It is whole, large enough to see something, and within its page."""
    page = open_artifact(browser, home, made, name, "img[src^='data:image']")
    [picture] = [each for each in page.images if each["address"].startswith("data:image")]
    assert picture["pixels"] >= PICTURES[name]
    assert picture["width"] >= 200
    assert picture["height"] >= 100
    assert 0 <= picture["left"] < picture["right"] <= WIDTH
    assert page.scrolls <= WIDTH


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_a_table(browser: Browser, home: str, made: Made, name: str) -> None:
    """Markdown is rendered, with nothing left over; and nobody has to scroll sideways."""
    page = open_artifact(browser, home, made, name, "table")
    assert TABLES[name] in page.text
    assert all(table["rows"] > 1 for table in page.tables)
    assert page.scrolls <= WIDTH
    assert [each for each in MARKUP if each in page.text.replace(PROMPT, "")] == []


def test_a_prompt_is_read_as_it_was_written(browser: Browser, home: str, made: Made) -> None:
    """Whatever would be markup in it."""
    assert PROMPT in open_artifact(browser, home, made, "card", "table").text


@pytest.mark.parametrize("name", PROGRESS)
def test_a_progress_is_complete(browser: Browser, home: str, made: Made, name: str) -> None:
    """And says so."""
    page = open_artifact(browser, home, made, name, "text=Progress: 100%")
    assert "Progress: 100%" in page.text
    assert PROGRESS[name] in page.text


def test_the_contact_sheets_page_shows_every_poster(browser: Browser, made: Made) -> None:
    """It needs nothing but itself."""
    page = browser.look(made.sheet.as_uri(), "img")
    assert len(page.images) == len(SHOTS)
    assert all(each["pixels"] > 0 and each["right"] <= WIDTH for each in page.images)
    assert all(shot in page.text for shot in SHOTS)
