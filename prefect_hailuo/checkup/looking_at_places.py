"""Where the videos go: whether files can be put there, and how much room is left."""

from __future__ import annotations

import shutil
from pathlib import Path

from prefect_hailuo.checkup.findings import Finding, Surroundings, ok, problem, warning
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.loop import process_loop
from prefect_hailuo.places import Place
from prefect_hailuo.storage import resolve_storage

VIDEO_BYTES = 10_000_000
"""About what a video of six seconds at 1080p takes."""

LOW_BYTES = 100 * VIDEO_BYTES

OUT_BYTES = 5 * VIDEO_BYTES


def check_storage(surroundings: Surroundings) -> list[Finding]:
    """Whether the place takes files: a small one is written, and taken away or left to the next."""
    try:
        place = resolve_storage(surroundings.storage, surroundings.credentials.realm)
        process_loop().run(lambda connections, emit: _try_out(place))
    except HailuoError as error:
        cure = error.cure
        if "directory" not in cure:
            cure = f"{cure} The setting PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY names it."
        return [problem("storage", error.message, cure)]
    path = place.path_of("video.mp4")
    return [_room(path.parent) if path else ok("storage", f"{place.label} takes files")]


async def _try_out(place: Place) -> None:
    await place.check()


def _room(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    says = f"{directory} takes files; {free / 1e9:.1f} GB are free"
    facts = {"directory": str(directory), "free_bytes": free}
    cure = (
        "Free some space, or name another place with PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY."
    )
    if free < OUT_BYTES:
        return problem("storage", says, cure, **facts)
    if free < LOW_BYTES:
        return warning("storage", f"{says}: about {free // VIDEO_BYTES} videos", cure, **facts)
    return ok("storage", says, **facts)
