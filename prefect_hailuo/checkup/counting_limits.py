"""What the system allows this process, and what the settings do."""

from __future__ import annotations

from prefect_hailuo.checkup.findings import Finding, Surroundings, ok, warning
from prefect_hailuo.fal.supervising import (
    KEPT_DESCRIPTORS,
    MOST_STREAMS,
    affordable_streams,
    descriptors,
)
from prefect_hailuo.settings import current_settings


def check_limits(surroundings: Surroundings) -> list[Finding]:
    """Open files, of which each request that is listened to takes one; and requests a second."""
    rate = current_settings().requests_per_second
    said = "no limit" if rate is None else f"{rate:g}"
    return [
        _files(),
        ok("limits", f"requests to fal in a second: {said}", requests_per_second=rate),
    ]


def _files() -> Finding:
    files, streams = descriptors(), affordable_streams()
    says = f"{files:g} open files, so {streams} requests can be listened to at once"
    facts = {"open_files": None if files == float("inf") else int(files), "streams": streams}
    if files >= KEPT_DESCRIPTORS + MOST_STREAMS:
        return ok("limits", says, **facts)
    wanted = KEPT_DESCRIPTORS + MOST_STREAMS
    cure = f"For large batches: ulimit -n {wanted}, or more, before the worker starts."
    return warning("limits", says, cure, **facts)
