"""A clip a day, as the README shows it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from prefect_hailuo import Video, hailuo_23_pro_text_to_video
from prefect_hailuo.emulator import FalEmulator

pytestmark = pytest.mark.usefixtures("prefect_server")


def run_scheduled(daily: Any, moment: datetime) -> Video:
    """Run a flow in a run that was scheduled for some moment."""
    with get_client(sync_client=True) as client:
        assert isinstance(client, SyncPrefectClient)
        run = client.create_flow_run(daily, state=Scheduled(scheduled_time=moment))
    video = run_flow(daily, flow_run=run)
    assert isinstance(video, Video)
    return video


def test_each_scheduled_day_is_a_clip_and_a_rerun_costs_nothing(
    emulator: FalEmulator, tmp_path: Path
) -> None:
    """The take is the day that the run was scheduled for, however late it runs."""

    @flow
    def daily() -> Video:
        day = runtime.flow_run.scheduled_start_time.date().isoformat()
        return hailuo_23_pro_text_to_video(
            "The harbour.", take=day, credentials=emulator.credentials(), storage=tmp_path
        )

    monday = datetime(2026, 11, 16, 6, tzinfo=timezone.utc)
    first, rerun = run_scheduled(daily, monday), run_scheduled(daily, monday)
    tuesday = run_scheduled(daily, monday + timedelta(days=1))
    assert (first.take, tuesday.take) == ("2026-11-16", "2026-11-17")
    assert first == rerun
    assert emulator.charged == 2
