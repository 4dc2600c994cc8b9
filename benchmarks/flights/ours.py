"""This package: the batch lane without Prefect, in a Prefect flow, and a task run each."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

from prefect import flow

from benchmarks.flights import one_loop
from benchmarks.flights.flight import Flight, Wanted
from prefect_hailuo import (
    FalCredentials,
    Video,
    agenerate_video,
    agenerate_videos,
)
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.models.catalogue import VideoInput, find_input_class
from prefect_hailuo.runs.execution import batching
from prefect_hailuo.runs.orders import make_orders


def plain(flight: Flight, wanted: Wanted) -> int:
    """The batch lane without Prefect; the ledger is on."""
    orders = make_orders(_inputs(wanted), **_options(flight))
    outcomes = process_loop().run(batching(orders).job)
    return _arrived(outcome.video or outcome.failure for outcome in outcomes)


def batch(flight: Flight, wanted: Wanted) -> int:
    """The batch lane, one task in a flow."""

    @flow
    async def catalogue() -> int:
        outcomes = await agenerate_videos(_inputs(wanted), **_options(flight))
        return _arrived(outcome.video or outcome.failure for outcome in outcomes)

    return one_loop.run(catalogue())


def tasks(flight: Flight, wanted: Wanted) -> int:
    """A task run each, gathered."""
    options = _options(flight)

    @flow
    async def clips() -> int:
        each = (agenerate_video(input, **options) for input in _inputs(wanted))
        return _arrived(await asyncio.gather(*each, return_exceptions=True))

    return one_loop.run(clips())


def _options(flight: Flight) -> dict[str, Any]:
    credentials = FalCredentials.for_emulator(flight.url)
    return {"credentials": credentials, "storage": str(flight.videos)}


def _inputs(wanted: Wanted) -> list[VideoInput]:
    made = find_input_class(wanted.endpoint)
    return [made.model_validate({"prompt": prompt}) for prompt in wanted.prompts]


def _arrived(made: Iterable[object]) -> int:
    """How many videos are there as files; why others are not goes where complaints go."""
    count = 0
    for each in made:
        if isinstance(each, Video) and each.path is not None and each.path.is_file():
            count += 1
        else:
            sys.stderr.write(f"{each!r}\n")
    return count
