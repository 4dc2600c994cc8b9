"""What Prefect's UI shows of a generation."""

from __future__ import annotations

import base64
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest
from PIL import Image
from prefect import flow
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from raw_server import ENDPOINT

from prefect_hailuo import (
    Hailuo23ProTextToVideo,
    ahailuo_23_pro_text_to_video,
    hailuo_23_pro_text_to_video,
    submit_video,
)
from prefect_hailuo.clock import SystemClock
from prefect_hailuo.emulator import FalEmulator, drop_after_accepting
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.wait import PROGRESS_SECONDS
from prefect_hailuo.fal.follow import CROWD
from prefect_hailuo.runs.cards import card
from prefect_hailuo.runs.markdown import escape
from prefect_hailuo.ticket import Ticket

pytestmark = pytest.mark.usefixtures("prefect_server")

PROMPT = "A <b>red</b> fox | and ![x](http://example.org/x.png) `code`."


def artifacts_of(run_id: str) -> dict[str, dict[str, Any]]:
    """A flow run's artifacts by type."""
    api = get_current_settings().api.url
    chosen = {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
    answer = httpx.post(f"{api}/artifacts/filter", json=chosen).raise_for_status()
    return {each["type"]: each for each in answer.json()}


def make_one(emulator: FalEmulator, storage: Path, prompt: str = PROMPT) -> tuple[Any, str]:
    """A video made in a flow run, and that run's id."""

    @flow
    def clip() -> tuple[Any, str]:
        options: dict[str, Any] = {"credentials": emulator.credentials(), "storage": storage}
        return hailuo_23_pro_text_to_video(prompt, **options), str(flow_run.id)

    return clip()


def test_a_run_has_a_card_a_poster_and_its_progress(emulator: FalEmulator, tmp_path: Path) -> None:
    """One of each, the progress complete."""
    video, run_id = make_one(emulator, tmp_path)
    shown = artifacts_of(run_id)
    assert set(shown) == {"markdown", "image", "progress"}
    assert shown["markdown"]["data"] == card(video)
    assert shown["progress"]["data"] == 100.0
    for each in (shown["markdown"], shown["image"]):  # which Prefect shows as Markdown
        assert each["description"].endswith(f": {escape(PROMPT)}")
    assert {each["key"] for each in shown.values()} == {
        f"hailuo-{video.key[:16]}{ending}" for ending in ("", "-poster", "-progress")
    }


async def test_an_asynchronous_task_shows_the_same(emulator: FalEmulator, tmp_path: Path) -> None:
    """The twin publishes its artifacts too."""

    @flow
    async def clip() -> str:
        options: dict[str, Any] = {"credentials": emulator.credentials(), "storage": tmp_path}
        await ahailuo_23_pro_text_to_video(PROMPT, **options)
        return str(flow_run.id)

    assert set(artifacts_of(await clip())) == {"markdown", "image", "progress"}


def test_the_card_says_all_there_is_to_say(emulator: FalEmulator, tmp_path: Path) -> None:
    """Prompt, model, link, request id, price, times, hash; and that the emulator made it."""
    video, _ = make_one(emulator, tmp_path)
    text = card(video)
    assert text.startswith("**Made by the emulator")
    for said in ("Hailuo 2.3 Pro", video.url, video.request_id, "$0.49", video.sha256, "1920"):
        assert said in text
    for moment in (video.submitted_at, video.completed_at, video.stored_at):
        assert f"{moment:%H:%M:%S}" in text


def test_a_prompt_is_shown_as_it_is() -> None:
    """No prompt becomes markup, a picture, or the end of a table."""
    assert escape(PROMPT) == (
        r"A \<b\>red\</b\> fox \| and \!\[x\]\(http\://example.org/x.png\) \`code\`."
    )
    assert escape("one\n\n# two") == r"one \# two"


def test_the_poster_is_a_small_picture(emulator: FalEmulator, tmp_path: Path) -> None:
    """It needs no file server, and is small, for Prefect's UI prints its address below it."""
    _, run_id = make_one(emulator, tmp_path)
    uri = str(artifacts_of(run_id)["image"]["data"])
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(BytesIO(base64.b64decode(body))).size == (480, 270)
    assert len(uri) < 40_000


def test_the_models_log_is_in_the_runs_log(
    emulator: FalEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """fal's lines, each once, the request id from the start, and the file at the end."""
    with caplog.at_level(logging.INFO, logger="prefect.task_runs"):
        video, _ = make_one(emulator, tmp_path)
    lines = [record.getMessage() for record in caplog.records if "task_runs" in record.name]
    said = [line for line in lines if line.startswith("fal: ")]
    assert len(said) == len(set(said)) > 3
    assert any(video.request_id in line and "Submitted" in line for line in lines)
    assert any(str(video.path) in line for line in lines)


def test_a_video_without_a_poster_has_a_card(tiny: FalEmulator, tmp_path: Path) -> None:
    """A new one and one that was there already: no picture can be made of this emulator's."""
    _, new = make_one(tiny, tmp_path / "here")
    _, copied = make_one(tiny, tmp_path / "there")
    assert set(artifacts_of(new)) == {"markdown", "progress"}
    assert set(artifacts_of(copied)) == {"markdown"}
    assert tiny.charged == 1


def test_a_request_that_was_there_is_told(
    tiny: FalEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that goes on with another's request says so, and names it."""
    ticket = submit_video(Hailuo23ProTextToVideo(prompt=PROMPT), credentials=tiny.credentials())
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="prefect.task_runs"):
        make_one(tiny, tmp_path)
    assert f"Going on with request {ticket.request_id}." in caplog.messages
    assert not any(message.startswith("Submitted") for message in caplog.messages)


def test_a_search_and_what_it_found_is_told(
    tiny: FalEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A lost answer is a warning, and the request that was found for it is named."""
    tiny.faults.add(drop_after_accepting("submit"))
    with caplog.at_level(logging.INFO, logger="prefect.task_runs"):
        video, _ = make_one(tiny, tmp_path)
    [warning] = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert video.key[:16] in warning and "looking for it in fal's request history" in warning
    assert f"Found as request {tiny.submissions[0].request_id}." in caplog.messages


def test_artifacts_can_be_turned_off(
    emulator: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One setting, and a run publishes none."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_ARTIFACTS", "false")
    _, run_id = make_one(emulator, tmp_path)
    assert artifacts_of(run_id) == {}


def test_waiting_is_shown(tmp_path: Path) -> None:
    """While it waits, the progress artifact says where the request stands and how long it took."""
    seconds = 2.5 * PROGRESS_SECONDS
    with FalEmulator(durations=seconds, concurrency=1, clip="plain", speed=2) as emulator:
        _, run_id = make_one(emulator, tmp_path)
    shown = artifacts_of(run_id)["progress"]
    assert shown["updated"] > shown["created"]


def test_one_of_many_has_nothing_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where more wait than anybody looks at, Prefect is told of none of them apart."""

    made, done = threading.Event(), threading.Event()

    async def crowd(connections: Connections, emit: Emit) -> None:
        access, ticket = emulator.credentials().access(), Ticket(endpoint=ENDPOINT, request_id="r")
        with ExitStack() as seats:
            for _ in range(CROWD + 1):
                seats.enter_context(connections.supervisor.seat(access, ticket, SystemClock(), 0.0))
            made.set()
            await anyio.to_thread.run_sync(done.wait)

    with FalEmulator(speed=1000, clip="plain") as emulator, ThreadPoolExecutor() as threads:
        waiting = threads.submit(process_loop().run, crowd)
        made.wait()
        with caplog.at_level(logging.INFO):
            _, run_id = make_one(emulator, tmp_path)
        done.set()
        waiting.result()
    assert artifacts_of(run_id) == {}
    assert sum(text.startswith(f"More than {CROWD} videos") for text in caplog.messages) == 1
    assert not process_loop().crowded  # whoever comes next is not one of them
