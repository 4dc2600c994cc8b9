"""This package: the batch lane without Prefect, in a Prefect flow, and a task run each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache

from prefect import flow, task

from benchmarks.flights import one_loop
from benchmarks.flights.flight import Flight, Wanted
from prefect_hailuo import FalCredentials, Video, agenerate_video
from prefect_hailuo.endpoints import VideoInput, find_input_class
from prefect_hailuo.loop import process_loop
from prefect_hailuo.order import Order
from prefect_hailuo.orders import make_order
from prefect_hailuo.steps import generating


@cache
def _credentials(url: str) -> FalCredentials:
    return FalCredentials.for_emulator(url)


def _inputs(wanted: Wanted) -> list[VideoInput]:
    made = find_input_class(wanted.endpoint)
    return [made.model_validate({"prompt": prompt}) for prompt in wanted.prompts]


def _orders(flight: Flight, wanted: Wanted) -> list[Order]:
    credentials, folder = _credentials(flight.url), str(flight.videos)
    inputs = _inputs(wanted)
    return [make_order(each, credentials=credentials, storage=folder) for each in inputs]


async def _all(orders: Sequence[Order]) -> list[Video]:
    """All videos of a batch, without Prefect."""
    roads = (process_loop().arun(generating(order).job) for order in orders)
    return await asyncio.gather(*roads)


def plain(flight: Flight, wanted: Wanted) -> int:
    """The batch lane without Prefect; the ledger is on."""
    return _arrived(one_loop.run(_all(_orders(flight, wanted))))


def batch(flight: Flight, wanted: Wanted) -> int:
    """The batch lane, a task in a flow."""

    @task
    async def lane() -> list[Video]:
        return await _all(_orders(flight, wanted))

    @flow
    async def catalogue() -> int:
        return _arrived(await lane())

    return one_loop.run(catalogue())


def tasks(flight: Flight, wanted: Wanted) -> int:
    """A task run each, gathered."""
    credentials, folder = _credentials(flight.url), str(flight.videos)

    async def one(input: VideoInput) -> Video:
        return await agenerate_video(input, credentials=credentials, storage=folder)

    @flow
    async def clips() -> int:
        return _arrived(await asyncio.gather(*map(one, _inputs(wanted))))

    return one_loop.run(clips())


def _arrived(videos: Sequence[Video]) -> int:
    return sum(video.path is not None and video.path.is_file() for video in videos)
