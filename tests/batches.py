"""What the tests of batches share: catalogues, and batches without Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect_hailuo import Hailuo02ProTextToVideo, VideoOutcomes
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.engine.outcome import BatchProgress
from prefect_hailuo.runs.execution import batching
from prefect_hailuo.runs.orders import Wanted, make_orders


def shots(number: int, word: str = "Shot") -> list[Hailuo02ProTextToVideo]:
    """A catalogue of different inputs."""
    return [Hailuo02ProTextToVideo(prompt=f"{word} {n}.") for n in range(number)]


def carry(emulator: FalEmulator, inputs: list[Wanted] | Any, **options: Any) -> VideoOutcomes:
    """A batch on the package's loop, without Prefect."""
    return follow(emulator, inputs, **options)[0]


def follow(
    emulator: FalEmulator, inputs: list[Wanted] | Any, **options: Any
) -> tuple[VideoOutcomes, list[BatchProgress]]:
    """The same, with all that it told."""
    told: list[BatchProgress] = []
    orders = make_orders(inputs, credentials=emulator.credentials(), **options)
    return process_loop().run(batching(orders).job, told.append), told


def kinds(outcomes: VideoOutcomes) -> list[str]:
    """What became of each: the kind of its error, or `video`."""
    return [each.failure.kind if each.failure else "video" for each in outcomes]


def files(folder: Path) -> int:
    """How many videos a folder holds."""
    return len(list(folder.glob("*.mp4")))
