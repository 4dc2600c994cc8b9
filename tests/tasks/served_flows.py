"""Flows that buy in every way that Prefect has; run as a script, it serves them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from prefect import flow, serve
from prefect.task_runners import ThreadPoolTaskRunner

from prefect_hailuo import (
    Hailuo02ProTextToVideo,
    agenerate_video,
    cancel_generations,
    generate_video,
)

MAP_AT_ONCE = 3
"""How many of `.map()`'s tasks run at once: the others have submitted nothing yet."""


def always(*_: Any) -> bool:
    """Whatever went wrong, try again: the rashest that a user can ask of Prefect."""
    return True


buy = generate_video.with_options(retries=2, retry_condition_fn=always)
abuy = agenerate_video.with_options(retries=2, retry_condition_fn=always)


def clip(prompt: str) -> Hailuo02ProTextToVideo:
    """An input."""
    return Hailuo02ProTextToVideo(prompt=prompt)


def leave_pid(folder: str, name: str) -> None:
    """Say which process this is, for it to be killed."""
    Path(folder, f"{name}.pid").write_text(str(os.getpid()))


@flow
def called(prompts: list[str], folder: str, name: str) -> list[str | None]:
    """Calls the task."""
    leave_pid(folder, name)
    return [buy(clip(each), storage=folder).prompt for each in prompts]


@flow(on_cancellation=[cancel_generations])
def hooked(prompts: list[str], folder: str, name: str) -> list[str | None]:
    """Calls the task, and has the hook."""
    leave_pid(folder, name)
    return [buy(clip(each), storage=folder).prompt for each in prompts]


@flow
def in_a_subflow(prompts: list[str], folder: str, name: str) -> list[str | None]:
    """Calls a flow that calls the task."""
    return called(prompts, folder, name)


@flow
def submitted(prompts: list[str], folder: str, name: str) -> list[str | None]:
    """Submits the task."""
    leave_pid(folder, name)
    futures = [buy.submit(clip(each), storage=folder) for each in prompts]
    return [each.result().prompt for each in futures]


@flow(task_runner=ThreadPoolTaskRunner(max_workers=MAP_AT_ONCE))  # type: ignore[arg-type]
def mapped(prompts: list[str], folder: str, name: str) -> list[str | None]:
    """Maps the task, a few at once."""
    leave_pid(folder, name)
    return [
        each.prompt for each in buy.map([clip(each) for each in prompts], storage=folder).result()
    ]


@flow
async def awaited(prompts: list[str], folder: str, name: str) -> list[str | None]:
    """Awaits the task."""
    leave_pid(folder, name)
    return [(await abuy(clip(each), storage=folder)).prompt for each in prompts]


@flow
async def gathered(prompts: list[str], folder: str, name: str) -> list[str | None]:
    """Gathers several of the task."""
    leave_pid(folder, name)
    videos = await asyncio.gather(*(abuy(clip(each), storage=folder) for each in prompts))
    return [each.prompt for each in videos]


FLOWS = (called, hooked, in_a_subflow, submitted, mapped, awaited, gathered)

if __name__ == "__main__":
    deployments = [each.to_deployment("served") for each in FLOWS]
    serve(*deployments, called.to_deployment("healed"), limit=20)  # type: ignore[arg-type]
