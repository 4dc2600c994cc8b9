"""A real Chromium that looks at pages of Prefect's UI.

Debian's own Chromium, driven by Playwright, in a thread of its own: Playwright's synchronous
interface keeps an event loop running in its thread, beside which no asynchronous test could run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

INSTALLING_SECONDS = 180.0

PATIENCE_SECONDS = 90.0
"""How long a page may take on a machine that does other things too."""

WIDTH, HEIGHT = 1280, 900
"""Of the window, in pixels: a small laptop's."""

OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    # The guard of the tests knows Python only: here, no other name is found than this machine's.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

LOOK = """() => {
    const box = each => {
        const found = each.getBoundingClientRect()
        return {left: found.left, right: found.right, width: found.width, height: found.height}
    }
    return {
        text: document.body.innerText,
        scrolls: document.documentElement.scrollWidth,
        images: [...document.images].map(each => (
            {address: each.src, pixels: each.naturalWidth, ...box(each)})),
        tables: [...document.querySelectorAll('main table, table')].map(each => (
            {rows: each.rows.length, ...box(each)})),
    }
}"""
"""What is on a page, as somebody sees it."""


@dataclass(frozen=True)
class Page:
    """What was seen of a page.

    Args:
        text: What can be read.
        scrolls: How wide it is, in pixels; wider than the window, it would have to be scrolled.
        images: Each with its `address`, its own width in `pixels` (0 for a broken one), and its
            box: `left`, `right`, `width` and `height`.
        tables: Each with its `rows`, and its box.
        picture: A screenshot.
    """

    text: str
    scrolls: float
    images: list[dict[str, Any]]
    tables: list[dict[str, Any]]
    picture: Path = field(repr=False)


class Browser:
    """Looks at pages.

    Args:
        program: Chromium's path.
        pictures: Where the screenshots go.
    """

    def __init__(self, program: str, pictures: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._stack = ExitStack()
        self._pictures = pictures
        self._opened = self._thread.submit(self._open, program).result()

    def look(self, address: str, at: str) -> Page:
        """Open a page, and look at it once something is there.

        Args:
            address: Its URL.
            at: A selector of what has to be there first.
        """
        return self._thread.submit(self._look, address, at).result()

    def close(self) -> None:
        """End Chromium."""
        self._thread.submit(self._stack.close).result()
        self._thread.shutdown()

    def _open(self, program: str) -> Any:
        from playwright.sync_api import sync_playwright

        started = self._stack.enter_context(sync_playwright())
        launched = started.chromium.launch(executable_path=program, args=OPTIONS)
        self._stack.callback(launched.close)
        return launched.new_context(viewport={"width": WIDTH, "height": HEIGHT})

    def _look(self, address: str, at: str) -> Page:
        page = self._opened.new_page()
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.goto(address, wait_until="commit")
        page.wait_for_selector(at)
        page.wait_for_function("[...document.images].every(each => each.complete)")
        picture = self._pictures / f"{len(list(self._pictures.iterdir()))}.png"
        page.screenshot(path=picture, full_page=True)
        seen = Page(**page.evaluate(LOOK), picture=picture)
        page.close()
        return seen


def find_chromium() -> str:
    """Where Chromium is; in CI, after installing it, if that can be done.

    Without one, the tests that need it are skipped, and say what would cure that.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("CI") and shutil.which("apt-get") and os.geteuid() == 0:
        print("Installing Debian's chromium, to look at Prefect's UI.")  # noqa: T201
        _install()
        found = shutil.which(NAMES[0])
    if found is None:
        pytest.skip("There is no Chromium to look at Prefect's UI: apt-get install chromium.")
    return found


def _install() -> None:
    """Debian's package; what goes wrong is told by there being no Chromium afterwards."""
    quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with contextlib.suppress(subprocess.TimeoutExpired):
        for command in ("update", "install -y --no-install-recommends chromium"):
            subprocess.run(
                ["apt-get", "-qq", *command.split()],
                env=quietly,
                check=False,
                stdout=subprocess.DEVNULL,
                timeout=INSTALLING_SECONDS,
            )
