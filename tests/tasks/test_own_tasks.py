"""Tasks of people's own, with the cache policy of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task

from prefect_hailuo import (
    FalCredentials,
    GenerationCachePolicy,
    Hailuo23ProTextToVideo,
    Video,
    generate_video,
)
from prefect_hailuo.emulator import FalEmulator

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_a_task_of_ones_own_gets_what_it_asks_for(
    emulator: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """Its cache key is made of its parameters; what it buys is what its body says."""
    options: dict[str, Any] = {"credentials": credentials, "storage": tmp_path}

    @task(cache_policy=GenerationCachePolicy(), persist_result=True, result_serializer="json")
    def another_take(input: Hailuo23ProTextToVideo) -> Video:
        return generate_video.fn(input, take="b-side", labels={"side": "b"}, **options)

    @flow
    def single() -> Video:
        return another_take(Hailuo23ProTextToVideo(prompt="A song."))

    video = single()
    assert (video.take, video.labels, emulator.charged) == ("b-side", {"side": "b"}, 1)
