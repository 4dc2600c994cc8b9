"""What Prefect itself costs: as many task runs, gathered, in which nothing happens."""

from __future__ import annotations

import asyncio

from prefect import flow, task

from benchmarks.flights import one_loop
from benchmarks.flights.flight import Flight, Wanted


@task
async def nothing(prompt: str) -> bool:
    """A task run."""
    return True


@task(persist_result=True, result_serializer="json")
async def nothing_kept(prompt: str) -> bool:
    """A task run whose result is kept, as that of a paid video should be."""
    return True


def fly(flight: Flight, wanted: Wanted) -> int:
    """Empty tasks."""

    @flow
    async def emptiness() -> int:
        return sum(await asyncio.gather(*(nothing(prompt) for prompt in wanted.prompts)))

    return one_loop.run(emptiness())


def fly_persisted(flight: Flight, wanted: Wanted) -> int:
    """Empty tasks with a persisted result."""

    @flow
    async def emptiness() -> int:
        return sum(await asyncio.gather(*(nothing_kept(prompt) for prompt in wanted.prompts)))

    return one_loop.run(emptiness())
