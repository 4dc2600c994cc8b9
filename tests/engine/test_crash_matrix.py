"""Kill a process at any point, run again: it is charged once, and the video is there.

Real processes, a real SIGKILL, SQLite and PostgreSQL. After storing and before Prefect records the
result, see `test_crash_prefect.py`; frozen processes, `test_crash_frozen.py`; a history that keeps
silent, `test_crash_silence.py`.
"""

from __future__ import annotations

import pytest
from crash_points import CRASH_POINTS, CrashPoint
from scenes import Scene

FOUND = {name: point for name, point in CRASH_POINTS.items() if point.is_found}


@pytest.mark.parametrize("point", FOUND.values(), ids=list(FOUND))
def test_killed_at_any_point_it_is_charged_once_and_the_video_is_there(
    point: CrashPoint, scene: Scene
) -> None:
    """What is known at the moment of death proves the point; a rerun then gets the video."""
    with point.stand(scene) as worker:
        assert scene.evidence() == point.evidence
        worker.kill()
    assert scene.got(scene.rerun())
    fates, *counts = scene.evidence()
    assert (fates[-1], counts) == ("stored", [1, 1, 1, 1])


def test_a_post_that_reached_nobody_is_parked(scene: Scene) -> None:
    """From here it looks like one that was bought, so that it is never bought again unasked."""
    point = CRASH_POINTS["with_bytes_that_reach_nobody"]
    with point.stand(scene) as worker:
        assert scene.evidence() == point.evidence
        worker.kill()
    assert [scene.rerun().error, scene.rerun().error] == ["ParkedError", "ParkedError"]
    assert (scene.gate.count("POST"), scene.emulator.charged) == (0, 0)
