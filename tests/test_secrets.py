"""The API key is nowhere but in requests to fal's API."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import httpx
import pytest
from prefect import flow
from prefect.settings import get_current_settings

from prefect_hailuo import FalCredentials, Video, hailuo_23_pro_text_to_video
from prefect_hailuo.emulator import FalEmulator

KEY = "5ec3e7-1d5a:7h15-15-7h3-53cr37-p4r7"

pytestmark = pytest.mark.usefixtures("prefect_server")


def everything_the_server_knows() -> str:
    """All flow runs, task runs, artifacts and logs, as the API gives them."""
    api = get_current_settings().api.url
    kinds = ("flow_runs", "task_runs", "artifacts", "logs")
    answers = [httpx.post(f"{api}/{kind}/filter", json={"limit": 200}) for kind in kinds]
    assert all(answer.is_success for answer in answers)
    return json.dumps([answer.json() for answer in answers])


def test_a_run_leaves_no_trace_of_the_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the server's records, the result, the files, the logs, nor with the media."""

    @flow
    def clip(credentials: FalCredentials) -> Video:
        return hailuo_23_pro_text_to_video("A fox.", credentials=credentials, storage=tmp_path)

    with FalEmulator(speed=1000, clip="plain", api_key=KEY) as emulator:
        with caplog.at_level(logging.DEBUG):
            video = clip(emulator.credentials())
        media = emulator.media_requests
    stored = get_current_settings().results.local_storage_path
    files = [p for top in (tmp_path, Path(stored)) for p in top.rglob("*") if p.is_file()]
    texts = [everything_the_server_knows(), caplog.text, video.model_dump_json()]
    texts += [path.read_bytes().decode(errors="replace") for path in files]
    texts += [str(path) for path in files]
    assert not [text for text in texts for part in KEY.split(":") if part in text]
    assert media
    assert not any(request.authorized for request in media)
    assert KEY not in str(os.environ)
