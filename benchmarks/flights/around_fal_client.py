"""What people write today without Prefect: `gather` over fal's own client.

It fetches no file: fal's client hands back a link. That is less than this package does.
"""

from __future__ import annotations

import asyncio

from benchmarks.flights import one_loop
from benchmarks.flights.fal_client_on_loopback import lead_to
from benchmarks.flights.flight import Flight, Wanted


def gathered(flight: Flight, wanted: Wanted) -> int:
    """`asyncio.gather` of `fal_client.subscribe_async`."""
    lead_to(flight.url)
    import fal_client

    async def one(prompt: str) -> bool:
        result = await fal_client.subscribe_async(wanted.endpoint, arguments={"prompt": prompt})
        return bool(result["video"]["url"])

    async def clips() -> int:
        return sum(await asyncio.gather(*map(one, wanted.prompts)))

    return one_loop.run(clips())
