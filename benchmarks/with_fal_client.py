"""What people do today, at its best: a Prefect task around fal's own client, with retries.

The paid call and the download are tasks of their own, and Prefect keeps the paid call's result, so
that a later run that asks for the same prompt finds it in Prefect's cache.
"""

import sys
from pathlib import Path

import fal_client
import httpx
from prefect import flow, task
from prefect.cache_policies import INPUTS

ENDPOINT = "fal-ai/minimax/hailuo-02/pro/text-to-video"


@task(retries=3, persist_result=True, cache_policy=INPUTS)
def generate(prompt: str) -> str:
    """Buy a video, wait for it, and return its address."""
    result = fal_client.subscribe(ENDPOINT, arguments={"prompt": prompt})
    return str(result["video"]["url"])


@task(retries=3)
def download(url: str, path: Path) -> None:
    """Write the video to a file."""
    with httpx.stream("GET", url, timeout=60) as response, path.open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_bytes():
            file.write(chunk)


@flow
def clip(prompt: str, folder: Path) -> None:
    """One video."""
    download(generate(prompt), folder / "clip.mp4")


if __name__ == "__main__":
    clip(sys.argv[1], Path(sys.argv[2]))
