"""A process that loads the package once, without Prefect, and forks a worker for each errand.

A worker is a process like any other: it opens its own loop, ledger and connections, and ends as
an interpreter does. It only need not spend a second on imports, of which the tests start hundreds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from prefect_hailuo.engine.loop import Connections, Emit, Job, process_loop
from prefect_hailuo.engine.order import Order
from prefect_hailuo.engine.road import generate
from prefect_hailuo.engine.session import Session
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.fal import transport
from prefect_hailuo.fal.hosts import Access, Hosts
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.attempt import Limits
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo
from prefect_hailuo.models.video import Video
from prefect_hailuo.storage.place import Directory
from prefect_hailuo.ticket import Realm

PRELOADED = (
    *("alembic.command", "alembic.config", "anyio._backends._asyncio"),
    *("av", "httpcore", "httpx_sse", "PIL.Image"),
    *("sqlalchemy.dialects.postgresql.asyncpg", "sqlalchemy.dialects.sqlite.pysqlite"),
    "prefect_hailuo.ledger.ledger",
)


@dataclass(frozen=True)
class Errand:
    """What a worker is to fetch: a video, by way of a ledger.

    Args:
        key: The API key.
        queue_url: Where fal's queue is.
        platform_url: Where its platform API is.
        ledger_url: Where the ledger is, with SQLAlchemy's driver.
        folder: Where the video is to be kept.
        report: The file that the outcome is written into.
        realm: fal or emulator.
        prompt: What is to be seen.
        take: Which of several.
        on_ambiguous: As `Order` says.
        reconcile_seconds: As `Order` says.
        timeout_seconds: As `Order` says.
        total_usd: What the scope may spend in all.
        starting_shot: The worker begins when this file is there.
    """

    key: str
    queue_url: str
    platform_url: str
    ledger_url: str
    folder: str
    report: str
    realm: Realm = "fal"
    prompt: str = "A red fox crosses a snowy field."
    take: int = 0
    on_ambiguous: Literal["park", "resubmit"] = "park"
    reconcile_seconds: float = 0.0
    timeout_seconds: float = 120.0
    total_usd: str | None = None
    starting_shot: str | None = None

    def order(self) -> Order:
        """It as the package takes it."""
        hosts = Hosts(self.queue_url, self.queue_url, self.queue_url, self.platform_url)
        return Order(
            input=Hailuo02ProTextToVideo(prompt=self.prompt),
            access=Access(SecretStr(self.key), hosts, self.realm),
            place=Directory(self.folder),
            ledger=LedgerAddress(SecretStr(self.ledger_url), self.realm),
            take=self.take,
            on_ambiguous=self.on_ambiguous,
            reconcile_seconds=self.reconcile_seconds,
            timeout_seconds=self.timeout_seconds,
            limits=Limits(total_usd=Decimal(self.total_usd)) if self.total_usd else None,
        )


def generating(order: Order) -> Job[Video]:
    """The whole road, as a job for the loop."""

    async def job(connections: Connections, emit: Emit) -> Video:
        return await generate(order, Session(order.access, order.ledger, connections, emit))

    return job


def fork_workers() -> None:
    """Fork a worker for every errand that is read, and say its process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    preload()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sys.exit(work(Errand(**json.loads(line))))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def preload() -> None:
    """Load what is otherwise loaded when it is first wanted."""
    for module in PRELOADED:
        import_module(module)
    transport._certificates()


def work(errand: Errand) -> int:
    """Run an errand, and report what came of it."""
    report = Path(errand.report)
    _redirect(report.with_suffix(".log"))
    loop, order = process_loop(), errand.order()
    _await_shot(errand, report.with_suffix(".ready"))
    try:
        video = loop.run(generating(order))
        report.write_text(json.dumps({"video": video.model_dump(mode="json")}))
    except HailuoError as error:
        report.write_text(json.dumps({"error": type(error).__name__, "message": str(error)}))
    return 0


def _redirect(log: Path) -> None:
    with Path(os.devnull).open() as nothing, log.open("w") as told:
        os.dup2(nothing.fileno(), 0)
        os.dup2(told.fileno(), 1)
        os.dup2(told.fileno(), 2)


def _await_shot(errand: Errand, ready: Path) -> None:
    ready.touch()
    while errand.starting_shot and not Path(errand.starting_shot).exists():
        time.sleep(0.002)


def written(errand: Errand) -> str:
    """An errand as a line."""
    return json.dumps(asdict(errand)) + "\n"
