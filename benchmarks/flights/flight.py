"""One run of one contender: what it is told, and what it tells."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from typing_extensions import Self

ENDPOINT = "fal-ai/minimax/hailuo-02/pro/text-to-video"
FIRST_ENDPOINT = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"
"""Of the first pair: a contender that learns how long an endpoint takes learns nothing from it."""

WORTHLESS_KEY = "emulator:no-real-key"

READY = "ready"
"""What a contender's process says when it has imported everything and made its first videos."""


@dataclass(frozen=True)
class Flight:
    """What a contender is told.

    Args:
        contender: Which of `CONTENDERS`.
        count: How many videos.
        url: The server.
        folder: Where it may write.
        profile: The file for a profile of its CPU time; empty for none.
    """

    contender: str
    count: int
    url: str
    folder: str
    profile: str = ""

    @property
    def videos(self) -> Path:
        """Where videos go."""
        return Path(self.folder) / "videos"

    def as_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `as_json` made."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Wanted:
    """What is to be generated.

    Args:
        endpoint: fal's id of it.
        prompts: All different.
    """

    endpoint: str
    prompts: list[str]

    @classmethod
    def of(cls, count: int, endpoint: str) -> Self:
        """So many videos."""
        return cls(endpoint, [f"Shot {n}: a red fox crosses a snowy field." for n in range(count)])


@dataclass(frozen=True)
class Landing:
    """What a contender tells at the end.

    Args:
        arrived: How many videos (or results, where nobody wanted files) it has.
        wall_seconds: From the start signal until it had all of them.
        cpu_seconds: Of its process, all threads, in that time and until Prefect's events were sent.
        memory_mb: The most that its process ever had in memory.
        prefect_calls: Requests that it sent to Prefect's API.
        prefect_events: Events that it sent to Prefect.
    """

    arrived: int
    wall_seconds: float
    cpu_seconds: float
    memory_mb: float
    prefect_calls: int
    prefect_events: int
