"""Stored videos as Prefect's assets, for those who switch that on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batches import shots
from happenings import events_of, roles_of
from prefect import flow
from prefect.assets import materialize
from prefect.filesystems import RemoteFileSystem
from prefect.runtime import flow_run
from roads import FOX
from s3_servers import Bucket

from prefect_hailuo import Video, generate_video, generate_videos
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.runs.events import asset_key
from prefect_hailuo.runs.storage import StorageBlock

pytestmark = pytest.mark.usefixtures("prefect_server")

MATERIALIZED = "prefect.asset.materialization.succeeded"


@pytest.fixture(autouse=True)
def assets(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are switched on."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_ASSETS", "true")


@flow
def clip(emulator: FalEmulator, folder: Any) -> tuple[Video, str]:
    """One video, and the flow run's id."""
    video = generate_video(FOX, credentials=emulator.credentials(), storage=folder)
    return video, str(flow_run.id)


def test_a_stored_video_is_an_asset(tiny: FalEmulator, tmp_path: Path) -> None:
    """Its key is the file's address; its metadata hold no link of fal's."""
    video, run_id = clip(tiny, tmp_path)
    [event] = events_of(run_id, MATERIALIZED, prefix="prefect.asset.")
    assert event["resource"]["prefect.resource.id"] == f"file://{video.path}"
    assert {"task-run", "flow-run", "asset-materialized-by"} <= roles_of(event)
    assert event["payload"]["sha256"] == video.sha256
    assert video.url not in str(event)


def test_it_is_the_source_of_what_is_made_of_it(tiny: FalEmulator, tmp_path: Path) -> None:
    """A later task that takes the video, and makes an asset, has it as its source."""

    @materialize(f"file://{tmp_path}/cut.txt")
    def cut(video: Any) -> None:
        """Makes something of it."""

    @flow
    def clip_and_cut() -> tuple[Video, str]:
        future = generate_video.submit(FOX, credentials=tiny.credentials(), storage=tmp_path)
        cut(future)
        return future.result(), str(flow_run.id)

    video, run_id = clip_and_cut()
    events = events_of(run_id, "prefect.asset.referenced", MATERIALIZED, prefix="prefect.asset.")
    [referenced] = [each for each in events if each["event"] == "prefect.asset.referenced"]
    assert referenced["resource"]["prefect.resource.id"] == asset_key(video)


def test_so_is_each_new_video_of_a_batch(tiny: FalEmulator, tmp_path: Path) -> None:
    """A rerun materializes nothing."""

    @flow
    def batch() -> str:
        generate_videos(shots(3), credentials=tiny.credentials(), storage=tmp_path)
        return str(flow_run.id)

    first, again = batch(), batch()
    events_of(again, "prefect-hailuo.batch.ended")
    assert len(events_of(first, MATERIALIZED, prefix="prefect.asset.")) == 3
    assert events_of(again, prefix="prefect.asset.") == []


def test_by_default_it_is_none(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those who ask for assets have them."""
    monkeypatch.delenv("PREFECT_INTEGRATIONS_HAILUO_ASSETS")
    _, run_id = clip(tiny, tmp_path)
    events_of(run_id, "prefect-hailuo.video.completed")
    assert events_of(run_id, prefix="prefect.asset.") == []


def test_in_a_block_its_address_is_the_blocks(tiny: FalEmulator) -> None:
    """Such as a bucket's, whether the block was saved or not."""
    block = RemoteFileSystem(basepath="memory://assets/clips")
    video, run_id = clip(tiny, block)
    [event] = events_of(run_id, MATERIALIZED, prefix="prefect.asset.")
    expected = f"memory://assets/clips/{video.storage_key}"
    assert event["resource"]["prefect.resource.id"] == expected


def test_a_login_is_in_no_address(tiny: FalEmulator, tmp_path: Path) -> None:
    """Whoever sees the asset would have it."""
    video = clip(tiny, tmp_path)[0].model_copy(update={"path": None})
    for login in ("", "me:hush-hush@"):
        place = StorageBlock(RemoteFileSystem(basepath=f"memory://{login}assets/clips/"))
        assert asset_key(video, place) == f"memory://assets/clips/{video.storage_key}"


def test_what_prefect_does_not_take_in_a_key_is_a_dash(tiny: FalEmulator, tmp_path: Path) -> None:
    """A blank in a directory's name, say; too long an address is refused."""
    video, run_id = clip(tiny, tmp_path / "my videos [1]")
    [event] = events_of(run_id, MATERIALIZED, prefix="prefect.asset.")
    assert "/my-videos--1-/" in event["resource"]["prefect.resource.id"]
    far = video.model_copy(update={"path": tmp_path / ("d" * 600)})
    with pytest.raises(ConfigurationError, match="more than 512"):
        asset_key(far)


def test_in_a_bucket_its_address_is_the_objects(tiny: FalEmulator, bucket: Bucket) -> None:
    """`s3://`, the bucket, and the object's whole key; of a saved block, without being told."""
    bucket.block(folder="clips").save(bucket.name)
    video, run_id = clip(tiny, f"block:s3-bucket/{bucket.name}")
    [event] = events_of(run_id, MATERIALIZED, prefix="prefect.asset.")
    [name] = [each for each in bucket.names() if each.endswith(".mp4")]
    assert event["resource"]["prefect.resource.id"] == f"s3://{bucket.name}/{name}"
    assert asset_key(video) == f"s3://{bucket.name}/{name}"
