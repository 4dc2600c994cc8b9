"""Many downloads at once: within their budgets, each with its own time, and starving nobody."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from children import run_python
from file_server import serving_long_video, smallest_video
from raw_server import RawServer, Reply
from roads import generate

from prefect_hailuo.clock import SystemClock
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.errors import DownloadError
from prefect_hailuo.fal.messages import File
from prefect_hailuo.fal.transport import open_reading
from prefect_hailuo.storage.download import STALL_SECONDS, Downloads
from prefect_hailuo.storage.place import Directory

VIDEO = smallest_video()
ENDLESS = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + VIDEO, "trickle")

DOWNLOAD_TWENTY = """
    import re, sys
    from functools import partial
    from pathlib import Path
    import anyio
    from prefect_hailuo.storage.download import Downloads
    from prefect_hailuo.fal.messages import File
    from prefect_hailuo.fal.transport import open_reading
    from prefect_hailuo.storage.place import Directory

    def peak():
        return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

    async def main(url, folder):
        async with open_reading() as http:
            downloads, place = Downloads(http, 20, 4 << 20), Directory(folder)
            arrived = []
            keep = lambda files, download: arrived.append(download.size)
            before = peak()
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    fetch = partial(downloads.fetch, realm="emulator")
                    tasks.start_soon(fetch, File(url=url), place, keep)
            print(sum(arrived), peak() - before)

    anyio.run(main, *sys.argv[1:])
"""


class Crowd:
    """Counts who is served at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = self.served = 0

    def come(self) -> None:
        """One more."""
        with self._lock:
            self.now += 1
            self.served += 1
            self.most = max(self.most, self.now)

    def go(self) -> None:
        """One less."""
        with self._lock:
            self.now -= 1


@contextmanager
def counting_server(seconds: float) -> Iterator[tuple[str, Crowd]]:
    """A file server that takes a while over each video, and counts who waits."""
    crowd = Crowd()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(VIDEO)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            crowd.come()
            while self.rfile.readline().strip():
                pass
            time.sleep(seconds)
            crowd.go()  # before the last byte leaves, for then the next may come
            self.wfile.write(head + VIDEO)

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 200

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/video.mp4", crowd
        server.shutdown()
        thread.join()


async def fetch_many(downloads: Downloads, count: int, url: str, place: Directory) -> None:
    """Download a video so many times at once, and drop them."""
    fetch = partial(downloads.fetch, realm="emulator")
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(fetch, File(url=url), place, lambda *_: None)


async def test_no_more_than_so_many_at_once(tmp_path: Path) -> None:
    """The server never sees more than the budget allows, nor fewer than it could."""
    with counting_server(0.05) as (url, crowd):
        async with open_reading() as http:
            await fetch_many(Downloads(http, 4), 24, url, Directory(tmp_path))
    assert (crowd.served, crowd.most) == (24, 4)


async def test_the_budget_can_be_changed(tmp_path: Path) -> None:
    """Also while some wait: they come sooner."""
    with counting_server(0.1) as (url, crowd):
        async with open_reading() as http, anyio.create_task_group() as tasks:
            downloads = Downloads(http, 1)
            tasks.start_soon(fetch_many, downloads, 12, url, Directory(tmp_path))
            await anyio.sleep(0.05)
            downloads.allow(6)
    assert (crowd.served, crowd.most) == (12, 6)


def test_the_budget_is_a_setting(
    tmp_path: Path, tiny: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the process: that of the latest order holds."""
    for connections in (3, 32):
        name = "PREFECT_INTEGRATIONS_HAILUO_DOWNLOAD_CONNECTIONS"
        monkeypatch.setenv(name, str(connections))
        generate(tiny, tmp_path)
        assert process_loop().run(count_connections) == connections


async def count_connections(connections: Connections, emit: Emit) -> int:
    """How many downloads there may be at once."""
    return connections.downloads.connections


async def test_waiting_for_a_turn_costs_no_time(tmp_path: Path) -> None:
    """Six that take a fifth of a second each all arrive, though each has half a second only."""
    with counting_server(0.2) as (url, crowd):
        async with open_reading() as http:
            downloads, place = Downloads(http, 1), Directory(tmp_path)
            async with anyio.create_task_group() as tasks:
                for _ in range(6):
                    fetch = partial(downloads.fetch, realm="emulator")
                    tasks.start_soon(fetch, File(url=url), place, lambda *_: None, 0.5)
    assert (crowd.served, crowd.most) == (6, 1)


def left_in(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return [path.name for path in folder.iterdir()]


def wait_for(server: RawServer, connections: int) -> None:
    """Wait until a server has so many connections."""
    while server.connections < connections:
        time.sleep(0.01)


class RacingClock(SystemClock):
    """A clock on which a second is over in a millisecond."""

    def now(self) -> float:
        """Milliseconds, taken for seconds."""
        return time.monotonic() * 1000

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        await anyio.sleep(seconds / 1000)


async def test_a_server_that_stalls_is_left(tmp_path: Path) -> None:
    """A byte now and then is no progress: the attempt ends long before its time does."""
    with RawServer(ENDLESS) as server:
        async with open_reading() as http:
            with pytest.raises(DownloadError, match=f"stalled: .* in {STALL_SECONDS:g} seconds"):
                await Downloads(http).fetch(
                    *(File(url=server.url), Directory(tmp_path), lambda *_: None, 5e3),
                    RacingClock(),
                    realm="emulator",
                )
    assert left_in(tmp_path) == []


def test_what_crawls_starves_nobody(tmp_path: Path) -> None:
    """While a hundred downloads crawl, fal's API answers, and another place takes a file."""

    async def ask(connections: Connections, emit: Emit) -> float:
        place = Directory(tmp_path / "crawling")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetch_many, connections.downloads, 100, crawling.url, place)
            await anyio.to_thread.run_sync(wait_for, crawling, 20)
            began = time.monotonic()
            await connections.http.get(quick.url)
            await Directory(tmp_path / "quick").write("clip.json", b"{}")
            took = time.monotonic() - began
            tasks.cancel_scope.cancel()
        return took

    with RawServer(ENDLESS) as crawling, RawServer() as quick:
        assert process_loop().run(ask) < 2
    assert left_in(tmp_path / "crawling") == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak")
def test_many_long_videos_take_little_memory(tmp_path: Path) -> None:
    """Twenty times 10 MiB pass through a process that grows by a few."""
    with serving_long_video(chunks=10) as (url, size):
        child = run_python(DOWNLOAD_TWENTY, url, tmp_path)
    assert child.code == 0, child.stderr
    arrived, grown_kib = map(int, child.stdout.split())
    assert arrived == 20 * size
    assert grown_kib < 40 * 1024
