"""The first release's files, where it wrote them; see `write_release.py`.

A plugin that `conftest.py` loads.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from databases import LEDGER_URL, address_of
from sqlalchemy.ext.asyncio import create_async_engine

from prefect_hailuo.engine.loop import Connections, Emit, process_loop

ARCHIVE = Path(__file__).with_name("release.tar.xz")

FOLDER = Path("/tmp/hailuo-release")  # noqa: S108 - the files say that they are there
"""Where the release's files are: unchanged, for keys and records have their place in them."""

VIDEOS = FOLDER / "videos"


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All files in their place, and settings that name them; for one test at a time."""
    with FOLDER.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(FOLDER, ignore_errors=True)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(FOLDER.parent, filter="data")
        monkeypatch.setenv(LEDGER_URL, f"sqlite:///{FOLDER}/ledger.db")
        monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY", str(VIDEOS))
        monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")
        yield
        process_loop().run(_close_ledgers)
        shutil.rmtree(FOLDER)


async def _close_ledgers(connections: Connections, emit: Emit) -> None:
    await connections.ledgers.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def released_ledger(
    release: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The URL of a ledger that the release wrote, which the settings name: first SQLite's."""
    if request.param == "sqlite":
        return f"sqlite:///{FOLDER}/ledger.db"
    url: str = request.getfixturevalue("postgresql_url")
    anyio.run(_load_dump, url)
    monkeypatch.setenv(LEDGER_URL, url)
    return url


async def _load_dump(url: str) -> None:
    engine = create_async_engine(address_of(url).url.get_secret_value())
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        await cast(Any, raw.driver_connection).execute((FOLDER / "postgresql.sql").read_text())
    await engine.dispose()


def kind_of(url: str) -> str:
    """Which of the two ledgers it is: the release's takes and stories are named so."""
    return url.partition(":")[0].partition("+")[0]


def told(name: str) -> Any:
    """What the release says in a file of JSON."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
