"""The files that the emulator serves: public, in ranges too."""

from __future__ import annotations

import json
import re

from fastapi import APIRouter, Request
from starlette.responses import Response

from prefect_hailuo.emulator.emulation import Emulation, MediaRequest
from prefect_hailuo.emulator.generations import Generation, State
from prefect_hailuo.emulator.incoming import TheEmulation
from prefect_hailuo.emulator.replies import JSON
from prefect_hailuo.emulator.results import VIDEO_FILE_NAME

router = APIRouter(prefix="/files")

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@router.api_route("/{request_id}/{file_name}", methods=["GET", "HEAD"])
async def media(
    request: Request, request_id: str, file_name: str, emulation: TheEmulation
) -> Response:
    """A generation's video. No key is needed, and whether one was sent is noted."""
    asked_range = request.headers.get("range")
    authorized = "authorization" in request.headers
    seen = MediaRequest(request_id, request.method, authorized, asked_range)
    emulation.media_requests.append(seen)
    generation = emulation.find_any(request_id)
    if generation is None or file_name != VIDEO_FILE_NAME or not _is_served(generation, emulation):
        return JSON({"detail": "Not Found"}, 404)
    return _ranged(await emulation.video(generation), asked_range)


def _is_served(generation: Generation, emulation: Emulation) -> bool:
    if generation.state is not State.COMPLETED or not generation.outcome.is_video:
        return False
    lifetime = lifetime_seconds(generation.headers.get("x-fal-object-lifecycle-preference"))
    if lifetime is None or generation.ended_at is None:
        return True
    return emulation.clock.now() <= generation.ended_at + emulation.kept_seconds(lifetime)


def lifetime_seconds(preference: str | None) -> float | None:
    """How long a file is to be served, by a header of its request; None: for ever."""
    try:
        seconds = json.loads(preference or "{}")["expiration_duration_seconds"]
        return None if seconds is None else float(seconds)
    except (ValueError, TypeError, KeyError):
        return None


def _ranged(video: bytes, asked: str | None) -> Response:
    headers = {"accept-ranges": "bytes"}
    match = _RANGE.fullmatch(asked) if asked else None
    if match is None or match.groups() == ("", ""):
        return Response(video, 200, headers, "video/mp4")
    start, end = _bounds(match[1], match[2], len(video))
    if start >= end:
        return Response(status_code=416, headers={"content-range": f"bytes */{len(video)}"})
    headers["content-range"] = f"bytes {start}-{end - 1}/{len(video)}"
    return Response(video[start:end], 206, headers, "video/mp4")


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1 if last else size)
