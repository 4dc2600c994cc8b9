"""What people write today with Prefect: tasks around fal's own client, which fetch no file."""

from __future__ import annotations

import asyncio

from prefect import flow, task

from benchmarks.flights import one_loop
from benchmarks.flights.fal_client_on_loopback import lead_to
from benchmarks.flights.flight import Flight, Wanted


def mapped(flight: Flight, wanted: Wanted) -> int:
    """A synchronous task around `fal_client.subscribe`, by `.map`: a thread each."""
    lead_to(flight.url)
    import fal_client

    @task
    def one(prompt: str) -> bool:
        return bool(
            fal_client.subscribe(wanted.endpoint, arguments={"prompt": prompt})["video"]["url"]
        )

    @flow
    def clips() -> int:
        return sum(one.map(wanted.prompts).result())

    return clips()


def gathered(flight: Flight, wanted: Wanted) -> int:
    """An asynchronous task around `fal_client.subscribe_async`, gathered."""
    lead_to(flight.url)
    import fal_client

    @task
    async def one(prompt: str) -> bool:
        result = await fal_client.subscribe_async(wanted.endpoint, arguments={"prompt": prompt})
        return bool(result["video"]["url"])

    @flow
    async def clips() -> int:
        return sum(await asyncio.gather(*map(one, wanted.prompts)))

    return one_loop.run(clips())
