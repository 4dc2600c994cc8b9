"""What comes out of a generation: the model's own answer."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from prefect_hailuo.emulator.emulation import Emulation
from prefect_hailuo.emulator.generations import Generation
from prefect_hailuo.emulator.replies import JSON

VIDEO_FILE_NAME = "output.mp4"


async def result_of(generation: Generation, emulation: Emulation) -> Response:
    """The model's answer to a request that is completed.

    Raises:
        MissingExtraError: The video has to be drawn, and PyAV or Pillow is not installed.
    """
    outcome = generation.outcome
    body = await video_output(generation, emulation) if outcome.is_video else outcome.body
    headers = {
        "x-fal-request-id": generation.request_id,
        "x-fal-billable-units": f"{generation.billable_units:f}",
    }
    return JSON(body, outcome.status, {**headers, **outcome.headers()})


async def video_output(generation: Generation, emulation: Emulation) -> dict[str, Any]:
    """The output of a generation that went well."""
    size = len(await emulation.video(generation))
    video = {
        "url": video_url(generation, emulation.url),
        "content_type": "video/mp4",
        "file_name": VIDEO_FILE_NAME,
        "file_size": size,
    }
    return {"video": video}


def video_url(generation: Generation, url: str) -> str:
    """Where a generation's video is."""
    return f"{url}/files/{generation.request_id}/{VIDEO_FILE_NAME}"
