"""The floor: what the best transport does alone, without Prefect, ledger, retries or checks.

aiohttp, a stream of statuses for each request, the result, the download into a file with its hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
from pathlib import Path

import aiohttp

from benchmarks.flights import one_loop
from benchmarks.flights.flight import WORTHLESS_KEY, Flight, Wanted

HEADERS = {"Authorization": f"Key {WORTHLESS_KEY}"}
NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


def fly(flight: Flight, wanted: Wanted) -> int:
    """All at once; a socket each."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return one_loop.run(_all(flight, wanted))


async def _all(flight: Flight, wanted: Wanted) -> int:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=NO_TIMEOUT) as session:
        submit_url = f"{flight.url}/{wanted.endpoint}"
        made = (
            _one(session, submit_url, prompt, flight.videos / f"{number}.mp4")
            for number, prompt in enumerate(wanted.prompts)
        )
        return sum(await asyncio.gather(*made))


async def _one(session: aiohttp.ClientSession, submit_url: str, prompt: str, path: Path) -> bool:
    async with session.post(submit_url, json={"prompt": prompt}, headers=HEADERS) as response:
        ticket = await response.json()
    async with session.get(f"{ticket['status_url']}/stream", headers=HEADERS) as stream:
        async for line in stream.content:
            if line.startswith(b"data: ") and json.loads(line[6:])["status"] == "COMPLETED":
                break
    async with session.get(ticket["response_url"], headers=HEADERS) as response:
        video = (await response.json())["video"]
    return await _downloaded(session, video["url"], path)


async def _downloaded(session: aiohttp.ClientSession, url: str, path: Path) -> bool:
    digest = hashlib.sha256()
    async with session.get(url) as response:
        with path.open("wb") as file:
            async for chunk in response.content.iter_chunked(1 << 16):
                digest.update(chunk)
                file.write(chunk)
    return response.status == 200
