"""A process that dies on its way with a picture: nothing is bought twice, nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from children import WITHOUT_PREFECT
from databases import run_sql
from picture_ground import Shot, declare, noisy_picture, plain_picture, saved, shot
from roads import generate, order_of
from workers import wait_until

from prefect_hailuo.emulator import FalEmulator, delay, drop_after_accepting
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.order import body_to_send, settle
from prefect_hailuo.ledger.attempt import Buy
from prefect_hailuo.models.catalogue import CATALOGUE
from prefect_hailuo.runs.estimate import estimate
from prefect_hailuo.runs.execution import acquiring

BUY = """
    import sys
    from pathlib import Path
    from pydantic import SecretStr
    from picture_ground import Shot, declare
    from prefect_hailuo.fal.hosts import Access, Hosts
    from prefect_hailuo.engine.road import generate
    from prefect_hailuo.engine.session import Session
    from prefect_hailuo.ledger.address import ledger_address
    from prefect_hailuo.engine.loop import process_loop
    from prefect_hailuo.engine.order import Order
    from prefect_hailuo.storage.place import Directory

    url, folder, ledger_url, picture = sys.argv[1:]
    declare()
    hosts = Hosts(url, f"{url}/run", f"{url}/rest", f"{url}/platform/v1")
    access = Access(SecretStr("emulator:no-real-key"), hosts, "emulator", "emulator")
    ledger = ledger_address(ledger_url, "emulator", Path(folder))
    shot = Shot(prompt="It moves.", image_url=picture)

    async def job(connections, emit):
        order = Order(shot, access, Directory(folder), ledger)
        return await generate(order, Session(access, ledger, connections))

    print(process_loop().run(job).sha256)
"""


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    declare()
    yield
    del CATALOGUE[Shot.endpoint.id]


def buying(
    emulator: FalEmulator, folder: Path, ledger_url: str, picture: Path
) -> subprocess.Popen[str]:
    """A process that buys the video of a picture."""
    tests = f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    arguments = [emulator.url, folder / "videos", ledger_url, picture]
    return subprocess.Popen(
        [sys.executable, "-c", WITHOUT_PREFECT + tests + dedent(BUY), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_during_the_upload(tmp_path: Path, ledger_url: str, tiny: FalEmulator) -> None:
    """Nothing was charged, nothing intended; the next process buys it, once."""
    picture = saved(tmp_path, noisy_picture())
    tiny.faults.add(delay("upload", 600, after_accepting=False))
    with buying(tiny, tmp_path, ledger_url, picture) as child:
        wait_until(lambda: tiny._emulation.requests["upload"], "an upload")
        child.send_signal(signal.SIGKILL)
    assert (tiny.charged, tiny.submissions) == (0, [])
    assert estimate(shot(picture), credentials=tiny.credentials()).lines[0].state == "new"
    generate(tiny, tmp_path / "videos", shot(picture))
    assert (tiny.charged, len(tiny.uploads)) == (1, 1)


@pytest.mark.parametrize("picture", [plain_picture(), noisy_picture()], ids=["inline", "uploaded"])
def test_a_lost_answer_is_found_in_the_history(
    tmp_path: Path, fal: FalEmulator, picture: bytes
) -> None:
    """By the body that was sent; and the video is bought once."""
    fal.faults.add(drop_after_accepting("submit"))
    generate(fal, tmp_path / "videos", shot(picture))
    assert fal.charged == 1


@pytest.mark.parametrize("picture", [plain_picture(), noisy_picture()], ids=["inline", "uploaded"])
def test_a_lost_ledger_is_no_loss(
    tmp_path: Path, fal: FalEmulator, picture: bytes, lose_ledger: Callable[[], None]
) -> None:
    """A new ledger finds the same picture's request in fal's history, though it was uploaded."""
    ticket = process_loop().run(acquiring(order_of(fal, tmp_path / "a", shot(picture))).job)
    lose_ledger()
    again = process_loop().run(acquiring(order_of(fal, tmp_path / "b", shot(picture))).job)
    assert again.request_id == ticket.request_id
    assert len(fal.submissions) == 1


def test_what_is_stored_needs_no_upload(tmp_path: Path, ledger_url: str, tiny: FalEmulator) -> None:
    """Another process that has the same picture takes the stored video, and uploads nothing."""
    content = noisy_picture()
    generate(tiny, tmp_path / "videos", shot(content))
    child = buying(tiny, tmp_path, ledger_url, saved(tmp_path, content))
    sha256, _ = child.communicate(timeout=60)
    assert sha256.strip() == generate(tiny, tmp_path / "videos", shot(content)).sha256
    assert (tiny.charged, len(tiny.uploads)) == (1, 1)


def end_leases(ledger_url: str) -> None:
    """Do what time does."""
    run_sql(ledger_url, "UPDATE hailuo_attempt SET lease_until = 0", realm="emulator")


def test_killed_while_fal_answers(tmp_path: Path, ledger_url: str, tiny: FalEmulator) -> None:
    """fal has the request: another process finds it by the body, and uploads nothing."""
    picture = saved(tmp_path, noisy_picture())
    tiny.faults.add(delay("submit", 600))
    with buying(tiny, tmp_path, ledger_url, picture) as child:
        wait_until(lambda: tiny.submissions, "a submission")
        child.send_signal(signal.SIGKILL)
    end_leases(ledger_url)
    generate(tiny, tmp_path / "videos", shot(picture))
    assert (tiny.charged, len(tiny.submissions), len(tiny.uploads)) == (1, 1, 1)


def test_an_intent_of_the_dead_is_taken_over(
    tmp_path: Path, ledger_url: str, tiny: FalEmulator
) -> None:
    """Nothing was sent: whoever has the same picture uploads it anew, and buys."""
    content = noisy_picture()
    order = order_of(tiny, tmp_path / "videos", shot(content))

    async def intend(connections: Connections, emit: Emit) -> bool:
        settled = await settle(order, connections.pictures)
        purchase = settled.purchase("dead", await body_to_send(settled, connections.pictures))
        return isinstance(await connections.ledgers.at(order.ledger).claims.claim(purchase), Buy)

    assert process_loop().run(intend)
    end_leases(ledger_url)
    generate(tiny, tmp_path / "videos", shot(saved(tmp_path, content)))
    assert (tiny.charged, len(tiny.submissions)) == (1, 1)
