"""This package: the batch lane without Prefect, in a Prefect flow, and a task run each."""

from __future__ import annotations

import asyncio
import sys
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


async def _all(orders: Sequence[Order]) -> list[Video | BaseException]:
    """All videos of a batch, or why there is none, without Prefect."""
    roads = (process_loop().arun(generating(order).job) for order in orders)
    return await asyncio.gather(*roads, return_exceptions=True)


def plain(flight: Flight, wanted: Wanted) -> int:
    """The batch lane without Prefect; the ledger is on."""
    return _arrived(one_loop.run(_all(_orders(flight, wanted))))


def batch(flight: Flight, wanted: Wanted) -> int:
    """The batch lane, a task in a flow."""

    @task
    async def lane() -> int:
        return _arrived(await _all(_orders(flight, wanted)))

    @flow
    async def catalogue() -> int:
        return await lane()

    return one_loop.run(catalogue())


def tasks(flight: Flight, wanted: Wanted) -> int:
    """A task run each, gathered."""
    credentials, folder = _credentials(flight.url), str(flight.videos)

    async def one(input: VideoInput) -> Video:
        return await agenerate_video(input, credentials=credentials, storage=folder)

    @flow
    async def clips() -> int:
        videos = await asyncio.gather(*map(one, _inputs(wanted)), return_exceptions=True)
        return _arrived(videos)

    return one_loop.run(clips())


def _arrived(videos: Sequence[Video | BaseException]) -> int:
    """How many are there; why the others are not goes where complaints go."""
    for error in videos:
        if isinstance(error, BaseException):
            sys.stderr.write(f"{error!r}\n")
    paths = (video.path for video in videos if isinstance(video, Video))
    return sum(path is not None and path.is_file() for path in paths)
