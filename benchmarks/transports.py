"""What a read costs: httpx on its own transport, httpx on aiohttp's, and aiohttp alone.

    python -m benchmarks.transports

CPU of this process only: the server (`benchmarks/lean_fal`) is another one. Contenders take turns,
several times; the figures are medians. aiohttp alone is the floor: what httpx's interface costs is
the difference to it.

The package takes aiohttp's transport below httpx's interface for reads and downloads. For purchases
it does not, whatever the figures say: httpx-aiohttp reports a POST that was accepted and then
dropped as a ConnectTimeout, which would make it look safe to send again. Behind a proxy it reads
over httpx's own transport, too, for that one knows all kinds of proxies.

Connections: none of aiohttp's is limited by the transport. Streams are counted by the supervisor,
questions by a gate in front of the pool: a request that waits inside of httpx's pool is looked at
at every change, and so is every idle connection: ten at once cost five times as much after a
hundred at once ("after 100" below). aiohttp's pool does not mind; it keeps idle ones for 5 seconds.

HTTP/2 is left out. It would put all streams on a dozen connections, but whether fal speaks it, and
how many streams it allows on one, is not known, and nobody here may ask fal; httpx's h2, in Python,
costs more CPU a frame than aiohttp's parser, in C; aiohttp has no HTTP/2. Descriptors, which it
would save, are not short: no more than a few dozen streams are open while 40 requests run at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import aiohttp
import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.flights.flight import WORTHLESS_KEY
from benchmarks.lean_fal.load import Load
from benchmarks.lean_fal.process import LeanFal, lean_fal
from benchmarks.staying_inside import stay_inside
from prefect_hailuo.fal.read_transport import ReadTransport
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo

HEADERS = {"Authorization": f"Key {WORTHLESS_KEY}"}
HTTPX, LIGHT, FLOOR = "httpx", "httpx on aiohttp", "aiohttp alone"
SETTLING_SECONDS = 0.1

Get = Callable[[str], Awaitable[None]]


class Contender(Protocol):
    """Reads."""

    async def get(self, url: str) -> None:
        """Read an answer to its end."""

    async def stream(self, url: str) -> None:
        """Read a stream, as it comes, to its end."""


class OverHttpx:
    """httpx, on whatever transport.

    Args:
        client: The client.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, url: str) -> None:
        """Read an answer to its end."""
        (await self._client.get(url, headers=HEADERS)).raise_for_status()

    async def stream(self, url: str) -> None:
        """Read a stream, as it comes, to its end."""
        async with self._client.stream("GET", url, headers=HEADERS) as response:
            async for _ in response.aiter_bytes():
                pass


class OverAiohttp:
    """aiohttp alone.

    Args:
        session: The session.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, url: str) -> None:
        """Read an answer to its end."""
        async with self._session.get(url, headers=HEADERS) as response:
            response.raise_for_status()
            await response.read()

    async def stream(self, url: str) -> None:
        """Read a stream, as it comes, to its end."""
        async with self._session.get(url, headers=HEADERS) as response:
            async for _ in response.content.iter_any():
                pass


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Args:
        gets: Questions of each kind.
        at_once: How many of them at once.
        streams: How many streams.
        stream_seconds: How long they are.
        idle: After how many at once, of whose connections most then idle.
        repeats: How often.
    """

    gets: int = 1500
    at_once: tuple[int, ...] = (10, 50, 500)
    streams: int = 500
    stream_seconds: float = 5.0
    idle: tuple[int, ...] = (100, 500, 900)
    repeats: int = 3


Figures = dict[str, dict[str, float]]
"""CPU milliseconds a request, by what was measured and who did it."""


async def _open(name: str, stack: AsyncExitStack) -> Contender:
    if name == FLOOR:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        session = aiohttp.ClientSession(connector=connector)
        return OverAiohttp(await stack.enter_async_context(session))
    transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
    )
    if name == LIGHT:
        transport = ReadTransport(ssl.create_default_context())
    client = httpx.AsyncClient(transport=transport, timeout=60)
    return OverHttpx(await stack.enter_async_context(client))


async def _all_of(get: Get, urls: Sequence[str], at_once: int) -> float:
    """Read all; CPU milliseconds each."""
    left = iter(urls)

    async def some() -> None:
        for url in left:
            await get(url)

    began = time.process_time()
    await asyncio.gather(*(some() for _ in range(at_once)))
    return 1000 * (time.process_time() - began) / len(urls)


def _submit(fal: LeanFal, count: int) -> list[str]:
    """Requests at the server; the addresses of their statuses."""
    url = f"{fal.url}/{Hailuo02ProTextToVideo.endpoint.id}"
    with httpx.Client(headers=HEADERS, trust_env=False) as http:
        asked = (http.post(url, json={"prompt": f"{number}"}) for number in range(count))
        return [str(answer.json()["status_url"]) for answer in asked]


async def _measure(name: str, fal: LeanFal, size: Size) -> dict[str, float]:
    figures = {}
    fal.begin(Load(seconds=3600))
    [url] = _submit(fal, 1)
    for at_once in size.at_once:
        async with AsyncExitStack() as stack:
            contender = await _open(name, stack)
            await _all_of(contender.get, [url] * at_once, at_once)  # connections are made
            took = await _all_of(contender.get, [url] * size.gets, at_once)
            figures[f"a question, {at_once} at once"] = took
    for idle in size.idle:
        async with AsyncExitStack() as stack:
            contender = await _open(name, stack)
            await _all_of(contender.get, [url] * idle, idle)
            await asyncio.sleep(SETTLING_SECONDS)
            took = await _all_of(contender.get, [url] * size.gets, size.at_once[0])
            figures[f"a question, {size.at_once[0]} at once, after {idle}"] = took
    fal.begin(Load(seconds=size.stream_seconds))
    streams = [f"{each}/stream" for each in _submit(fal, size.streams)]
    async with AsyncExitStack() as stack:
        contender = await _open(name, stack)
        took = await _all_of(contender.stream, streams, size.streams)
        figures[f"a stream, {size.streams} at once"] = took
    return figures


def compare(fal: LeanFal, size: Size) -> Figures:
    """Let the contenders take turns."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in (HTTPX, LIGHT, FLOOR)}
    for _ in range(size.repeats):
        for name, measured in runs.items():
            measured.append(asyncio.run(_measure(name, fal, size)))
    return {
        what: {name: median(run[what] for run in measured) for name, measured in runs.items()}
        for what in runs[HTTPX][0]
    }


def choice(figures: Figures) -> str:
    """What the figures say."""
    shares = [each[LIGHT] / each[HTTPX] for each in figures.values()]
    if max(shares) >= 1:
        return "aiohttp's transport is not lighter everywhere: it is not worth its dependency."
    return (
        f"Reads go over aiohttp's transport, at {min(shares):.0%} to {max(shares):.0%} of the CPU "
        "of httpx's own. Purchases do not: what it says of a lost POST is not to be relied on."
    )


def table(figures: Figures) -> Table:
    """The figures."""
    drawn = Table(title="CPU milliseconds of the client, each")
    drawn.add_column("what")
    for name in (HTTPX, LIGHT, FLOOR):
        drawn.add_column(name, justify="right")
    for what, each in figures.items():
        drawn.add_row(what, *(f"{each[name]:.2f}" for name in (HTTPX, LIGHT, FLOOR)))
    return drawn


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _parser().parse_args(arguments)
    stay_inside()
    share = options.scale
    size = Size(
        gets=max(10, int(Size.gets * share)),
        at_once=tuple(max(2, int(each * share)) for each in Size.at_once),
        streams=max(2, int(Size.streams * share)),
        stream_seconds=Size.stream_seconds * min(1.0, share),
        idle=tuple(max(3, int(each * share)) for each in Size.idle),
        repeats=options.repeats,
    )
    with lean_fal() as fal:
        figures = compare(fal, size)
    console = Console(width=100, highlight=False)
    console.print(table(figures))
    console.print(choice(figures))
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transports",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--repeats", type=int, default=Size.repeats)
    add("--scale", type=float, default=1.0, help="multiplies the counts, to try it out")
    add("--json", action="store_true", help="print all figures as the last line of the output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
