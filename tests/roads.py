"""What the tests of the road share: two inputs, and the way from an order to a video."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from prefect_hailuo import Hailuo02ProTextToVideo, Hailuo23ProTextToVideo, Video
from prefect_hailuo.clock import Clock
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine import road
from prefect_hailuo.engine.loop import Connections, Emit, Job, ignore, process_loop
from prefect_hailuo.engine.order import Order
from prefect_hailuo.engine.session import Session
from prefect_hailuo.models.catalogue import VideoInput
from prefect_hailuo.runs.execution import generating
from prefect_hailuo.runs.orders import make_order
from prefect_hailuo.runs.storage import Storage

FOX = Hailuo02ProTextToVideo(prompt="A red fox crosses a snowy field.")
OWL = Hailuo23ProTextToVideo(prompt="An owl lands.", prompt_optimizer=False)

Handle = Callable[[object], None]


class Hundredfold:
    """A clock that runs a hundred times as fast as the machine's."""

    def now(self) -> float:
        """A hundred times the machine's seconds."""
        return time.monotonic() * 100

    async def sleep(self, seconds: float) -> None:
        """Let a hundredth of the seconds pass."""
        await anyio.sleep(seconds / 100)


class Leaping:
    """A clock whose pauses take no time to speak of, however long they are."""

    def __init__(self) -> None:
        self._leapt = 0.0

    def now(self) -> float:
        """The machine's seconds, and all pauses so far."""
        return time.monotonic() + self._leapt

    async def sleep(self, seconds: float) -> None:
        """Leap over the seconds."""
        self._leapt += seconds
        await anyio.sleep(0.002)


def order_of(
    emulator: FalEmulator, storage: Storage, input: VideoInput = FOX, **options: Any
) -> Order:
    """An order for this emulator."""
    return make_order(input, credentials=emulator.credentials(), storage=storage, **options)


def generate(
    emulator: FalEmulator,
    storage: Storage,
    input: VideoInput = FOX,
    handle: Handle = ignore,
    **options: Any,
) -> Video:
    """A video from its place, or a new one of this emulator's."""
    order = order_of(emulator, storage, input, **options)
    return process_loop().run(generating(order).job, handle)


def timed(order: Order, clock: Clock) -> Job[Video]:
    """The whole road, on another clock."""

    async def job(connections: Connections, emit: Emit) -> Video:
        return await road.generate(
            order, Session(order.access, order.ledger, connections, emit, clock)
        )

    return job


def hurried(emulator: FalEmulator, storage: Storage, **options: Any) -> Video:
    """The same, without waiting between two attempts to download it."""
    order = order_of(emulator, storage, timeout_seconds=1e7, **options)
    return process_loop().run(timed(order, Leaping()))


def path_of(video: Video) -> Path:
    """Where a video is."""
    assert video.path
    return video.path


def record_of(video: Video) -> Path:
    """Where its record is."""
    return path_of(video).with_suffix(".json")


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())
