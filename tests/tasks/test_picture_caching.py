"""Pictures in Prefect's tasks, jobs and batches: cached by what they show."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync
from happenings import events_of
from picture_ground import PictureServer, Served, Shot, declare, plain_picture, serving_pictures
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from prefect_hailuo import HailuoVideoJob, agenerate_video, generate_video, generate_videos
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import ImageError
from prefect_hailuo.models.catalogue import CATALOGUE
from prefect_hailuo.models.video import Video

PATIENCE_SECONDS = 60

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    declare()
    yield
    del CATALOGUE[Shot.endpoint.id]


@pytest.fixture
def server() -> Iterator[PictureServer]:
    """A web server of pictures."""
    with serving_pictures() as started:
        yield started


def in_a_flow(call: Callable[[], Any]) -> Any:
    """What a call returns, made in a flow run of its own."""
    returned: list[Any] = []

    @flow
    def around() -> None:
        returned.append(call())

    around()
    return returned[0]


def state_of(emulator: FalEmulator, folder: Path, picture: str | Path | bytes) -> State[Video]:
    """The final state of the task that makes a picture's video."""
    options: Any = {"credentials": emulator.credentials(), "storage": folder / "videos"}
    given = Shot(prompt="It moves.", image_url=picture)
    state: State[Video] = in_a_flow(lambda: generate_video(given, return_state=True, **options))
    return state


def test_the_cache_follows_the_content(tmp_path: Path, tiny: FalEmulator) -> None:
    """The same picture elsewhere is Cached; another picture in the same place is not."""
    path, content = tmp_path / "still.png", plain_picture()
    path.write_bytes(content)
    assert state_of(tiny, tmp_path, path).name == "Completed"
    assert state_of(tiny, tmp_path, path).name == "Cached"
    assert state_of(tiny, tmp_path, content).name == "Cached"
    path.write_bytes(plain_picture(shade=1))
    assert state_of(tiny, tmp_path, path).name == "Completed"
    assert tiny.charged == 2


def test_a_slow_url_does_not_hold_up_the_callers_loop(
    tmp_path: Path, tiny: FalEmulator, server: PictureServer
) -> None:
    """Prefect asks for the cache key on the loop; what else runs there goes on all the same."""
    asked, released = threading.Event(), threading.Event()

    waited: list[bool] = []

    def wait() -> None:
        asked.set()
        waited.append(released.wait(PATIENCE_SECONDS))

    server.files["/still.png"] = Served(plain_picture(), wait=wait)
    given = Shot(prompt="It moves.", image_url=f"{server.url}/still.png")

    async def release_when_asked() -> None:
        await run_sync(asked.wait)
        released.set()

    @flow
    async def around() -> Any:
        releasing = asyncio.create_task(release_when_asked())
        options: Any = {"credentials": tiny.credentials(), "storage": tmp_path / "videos"}
        video = await agenerate_video(given, **options)
        await releasing
        return video

    assert asyncio.run(around()).path
    assert all(waited)  # the loop went on while the server was silent
    assert tiny.charged == 1


def test_a_job_takes_a_picture(tmp_path: Path, tiny: FalEmulator) -> None:
    """As an input object, and as the JSON of a saved block; both are one video."""
    path = tmp_path / "still.png"
    path.write_bytes(plain_picture())
    options: Any = {"credentials": tiny.credentials(), "storage": str(tmp_path / "videos")}
    given: Any = Shot(prompt="It moves.", image_url=path)
    first = HailuoVideoJob(input=given, **options).trigger().fetch_result()
    written: Any = {"prompt": "It moves.", "image_url": str(path)}
    job = HailuoVideoJob(endpoint=Shot.endpoint.name, input=written, **options)
    assert job.trigger().fetch_result() == first
    assert tiny.charged == 1


def test_a_batch_takes_pictures(tmp_path: Path, tiny: FalEmulator) -> None:
    """Paths, bytes and URLs side by side; its outcomes name the inputs as they were given."""
    path = tmp_path / "still.png"
    path.write_bytes(plain_picture())
    inputs = [
        Shot(prompt="It moves.", image_url=path),
        Shot(prompt="It moves.", image_url=plain_picture(shade=1)),
        Shot(prompt="It moves.", image_url=tmp_path / "none.png"),
    ]
    options: Any = {"credentials": tiny.credentials(), "storage": tmp_path / "videos"}
    outcomes = in_a_flow(lambda: generate_videos(inputs, **options))
    assert (len(outcomes.videos), tiny.charged) == (2, 2)
    [failed] = outcomes.failed
    assert failed.input == inputs[2] and failed.failure.kind == "ImageError"


def test_events_name_the_video_by_its_key(tmp_path: Path, tiny: FalEmulator) -> None:
    """It is known once the picture was read; of one that cannot be read, the failure is told."""
    path = tmp_path / "still.png"
    path.write_bytes(plain_picture())
    options: Any = {"credentials": tiny.credentials(), "storage": tmp_path / "videos"}
    made: list[Video] = []

    @flow
    def around() -> str:
        made.append(generate_video(Shot(prompt="It moves.", image_url=path), **options))
        with pytest.raises(ImageError):
            generate_video(Shot(prompt="It moves.", image_url=tmp_path / "none.png"), **options)
        return str(flow_run.id)

    names = [f"prefect-hailuo.video.{name}" for name in ("submitted", "completed", "failed")]
    told = {event["event"]: event for event in events_of(around(), *names)}
    for name in names[:2]:
        resource = told[name]["resource"]["prefect.resource.id"]
        assert resource == f"prefect-hailuo.video.{made[0].key}"
    assert told[names[2]]["payload"]["error"] == "ImageError"
