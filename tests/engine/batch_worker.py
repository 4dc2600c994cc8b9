"""A process of its own that carries a batch, without Prefect; to be killed, or raced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from children import WITHOUT_PREFECT
from databases import address_of
from pydantic import SecretStr

from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.order import Order
from prefect_hailuo.engine.outcome import VideoOutcomes
from prefect_hailuo.fal.hosts import Access, Hosts
from prefect_hailuo.fal.messages import EMULATOR_KEY
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo
from prefect_hailuo.storage.place import Directory


def order_of(prompt: str, url: str, ledger: str, folder: str) -> Order:
    """One of the batch."""
    hosts = Hosts(url, f"{url}/run", f"{url}/rest", f"{url}/platform/v1")
    return Order(
        input=Hailuo02ProTextToVideo(prompt=prompt),
        access=Access(SecretStr(EMULATOR_KEY), hosts, "emulator", "emulator"),
        place=Directory(folder),
        ledger=LedgerAddress(SecretStr(ledger), "emulator"),
        on_ambiguous="resubmit",
        reconcile_seconds=2.0,
    )


def work(url: str, ledger: str, folder: str, first: str, last: str) -> None:
    """Carry a batch, and print what became of each."""
    orders = [order_of(f"Shot {n}.", url, ledger, folder) for n in range(int(first), int(last))]

    async def job(connections: Connections, emit: Emit) -> VideoOutcomes:
        from prefect_hailuo.engine.batch import Batch

        return await Batch(orders, connections, emit).run()

    outcomes = process_loop().run(job)
    sys.stdout.write(json.dumps([str(each.error or each.result().path) for each in outcomes]))


@contextmanager
def carrying(
    url: str, ledger: str, folder: Path, first: int, last: int
) -> Iterator[subprocess.Popen[str]]:
    """A process that carries a batch; at the end it is gone."""
    program = f"{WITHOUT_PREFECT}\nimport batch_worker\nbatch_worker.work(*sys.argv[1:])"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    address = address_of(ledger, "emulator").url.get_secret_value()
    arguments = [url, address, str(folder), str(first), str(last)]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
