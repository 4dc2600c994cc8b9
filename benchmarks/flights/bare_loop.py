"""The floor: what the best transport does alone, without Prefect, ledger, retries or checks.

aiohttp: a stream of statuses for each request, the result, the download into a file and its hash.
A second floor sends the POSTs as this package must, over httpx's own transport, which knows what
was sent: that much no engine and no ledger can save. A third one also writes down all that this
package does before it goes on, as plainly as it can be done: see `journal`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import aiohttp
import anyio

from benchmarks.flights import one_loop
from benchmarks.flights.flight import WORTHLESS_KEY, Flight, Wanted
from benchmarks.flights.journal import Forgetful, Journal, Keeper
from prefect_hailuo.engine.loop import POSTS_AT_ONCE
from prefect_hailuo.fal.transport import FRESH, open_http

HEADERS = {"Authorization": f"Key {WORTHLESS_KEY}"}
NO_TIMEOUT = aiohttp.ClientTimeout(total=None)

Ticket = dict[str, str]
BeforeSending = Callable[[], Awaitable[None]]
Submit = Callable[[str, BeforeSending], Awaitable[Ticket]]
"""Sends a prompt, after something was done."""


def fly(flight: Flight, wanted: Wanted) -> int:
    """All at once; a socket each."""
    return _fly(flight, wanted, _over_aiohttp, Forgetful)


def fly_over_httpx(flight: Flight, wanted: Wanted) -> int:
    """The same, but that the POSTs go as this package's do: each on a connection of its own."""
    return _fly(flight, wanted, _over_httpx, Forgetful)


def fly_durably(flight: Flight, wanted: Wanted) -> int:
    """The same, but that nothing is lost by a power cut."""
    return _fly(flight, wanted, _over_httpx, Journal)


def _fly(
    flight: Flight,
    wanted: Wanted,
    submitting: Callable[[str], AbstractAsyncContextManager[Submit]],
    keeping: Callable[[Path], Keeper],
) -> int:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def all_of_them() -> int:
        keeper = keeping(flight.videos)
        async with _session() as session, submitting(f"{flight.url}/{wanted.endpoint}") as submit:
            made = (
                _one(session, submit, prompt, keeper, f"{wanted.endpoint}/{number}")
                for number, prompt in enumerate(wanted.prompts)
            )
            return sum(await asyncio.gather(*made))

    return one_loop.run(all_of_them())


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=NO_TIMEOUT)


@asynccontextmanager
async def _over_aiohttp(url: str) -> AsyncIterator[Submit]:
    async with _session() as session:

        async def submit(prompt: str, before_sending: BeforeSending) -> Ticket:
            await before_sending()
            async with session.post(url, json={"prompt": prompt}, headers=HEADERS) as response:
                return cast(Ticket, await response.json())

        yield submit


@asynccontextmanager
async def _over_httpx(url: str) -> AsyncIterator[Submit]:
    turns = anyio.Semaphore(POSTS_AT_ONCE)  # httpcore's pool is slow with more
    async with open_http(FRESH) as http:

        async def submit(prompt: str, before_sending: BeforeSending) -> Ticket:
            async with turns:
                await before_sending()
                response = await http.post(url, json={"prompt": prompt}, headers=HEADERS)
            return cast(Ticket, response.json())

        yield submit


async def _one(
    session: aiohttp.ClientSession, submit: Submit, prompt: str, keeper: Keeper, key: str
) -> bool:
    await keeper.note(key, "intended", prompt)
    ticket = await submit(prompt, partial(keeper.note, key, "sending", prompt))
    await keeper.note(key, "submitted", json.dumps(ticket))
    async with session.get(f"{ticket['status_url']}/stream", headers=HEADERS) as stream:
        async for line in stream.content:
            if line.startswith(b"data: ") and json.loads(line[6:])["status"] == "COMPLETED":
                break
    async with session.get(ticket["response_url"], headers=HEADERS) as response:
        video = (await response.json())["video"]
    await keeper.note(key, "succeeded", json.dumps(video))
    async with session.get(video["url"]) as response:
        content = await response.read()
    record = json.dumps({**video, "sha256": hashlib.sha256(content).hexdigest()})
    await keeper.keep(key, content, record)
    await keeper.note(key, "stored", record)
    return response.status == 200
