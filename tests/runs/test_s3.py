"""`prefect-aws`'s `S3Bucket` on a real S3 server: videos are kept, found, copied, mended."""

from __future__ import annotations

import hashlib
import os
import traceback
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from file_server import smallest_video
from prefect import flow
from roads import hurried
from s3_servers import KEY_ID, SECRET, Bucket, make_bucket

from prefect_hailuo import (
    FalCredentials,
    Hailuo02ProTextToVideo,
    Video,
    ahailuo_02_pro_text_to_video,
    hailuo_02_pro_text_to_video,
)
from prefect_hailuo.emulator import FalEmulator, expire_file
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.errors import Billed, StorageError, VideoExpiredError
from prefect_hailuo.runs.execution import generating
from prefect_hailuo.runs.orders import make_order
from prefect_hailuo.runs.storage import MARKER, Storage, StorageBlock

FOX = Hailuo02ProTextToVideo(prompt="A red fox crosses a snowy field.")

LARGE = 64 * 1024 * 1024


def generate(credentials: FalCredentials, storage: Storage) -> Video:
    """The fox's video, from its place or a new one."""
    order = make_order(FOX, credentials=credentials, storage=storage)
    return process_loop().run(generating(order).job)


@flow
def clip(credentials: FalCredentials, storage: str) -> Video:
    """The fox's video, as a task of a flow."""
    return hailuo_02_pro_text_to_video(FOX.prompt, credentials=credentials, storage=storage)


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_keeps_a_video_in_a_saved_bucket(bucket: Bucket) -> None:
    """Of three megabytes, by the block's name; a second run finds it in the bucket."""
    bucket.block(folder="clips").save(bucket.name)
    place, clip_bytes = f"block:s3-bucket/{bucket.name}", smallest_video(bytes(3_000_000))

    with FalEmulator(speed=1000, clip=clip_bytes) as emulator:
        video = clip(emulator.credentials(), place)
        assert clip(emulator.credentials(), place) == video
        assert emulator.charged == 1
    assert (video.storage, video.path, video.size) == (place, None, len(clip_bytes))
    assert bucket.names()[f"clips/{video.storage_key}"] == video.size
    stored = bucket.client().get_object(Bucket=bucket.name, Key=f"clips/{video.storage_key}")
    assert hashlib.sha256(stored["Body"].read()).hexdigest() == video.sha256


@pytest.mark.usefixtures("prefect_server")
def test_a_bucket_that_was_made_anew_is_filled_again(
    bucket: Bucket, emulator: FalEmulator, credentials: FalCredentials
) -> None:
    """What Prefect's cache remembers of the old one is no answer, and no error."""
    bucket.block().save(bucket.name)
    clip(credentials, f"block:s3-bucket/{bucket.name}")
    anew = make_bucket(bucket.url)
    anew.block().save(bucket.name, overwrite=True)
    video = clip(credentials, f"block:s3-bucket/{bucket.name}")
    assert (anew.names()[video.storage_key], emulator.charged) == (video.size, 1)


@pytest.mark.usefixtures("prefect_server")
async def test_an_asynchronous_flow_does_too(
    bucket: Bucket, emulator: FalEmulator, credentials: FalCredentials
) -> None:
    """The block's methods have two colours, by who calls; ours wait for either."""

    @flow
    async def aclip() -> Video:
        return await ahailuo_02_pro_text_to_video(
            FOX.prompt, credentials=credentials, storage=bucket.block()
        )

    video = await aclip()
    assert bucket.names()[video.storage_key] == video.size
    assert (await aclip(), emulator.charged) == (video, 1)


def test_what_is_harmed_or_deleted_is_downloaded_again(
    bucket: Bucket, emulator: FalEmulator, credentials: FalCredentials
) -> None:
    """For as long as fal serves it, it costs a download and no other video."""
    video, client = generate(credentials, bucket.block()), bucket.client()
    client.put_object(Bucket=bucket.name, Key=video.storage_key, Body=b"half")
    assert generate(credentials, bucket.block()) == video
    assert bucket.names()[video.storage_key] == video.size
    client.delete_object(Bucket=bucket.name, Key=video.storage_key)
    assert generate(credentials, bucket.block()) == video
    assert (bucket.names()[video.storage_key], emulator.charged) == (video.size, 1)


def test_what_is_nowhere_any_more_is_not_bought_again_unasked(
    bucket: Bucket, fal: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the object, and the cures."""
    monkeypatch.setattr("prefect_hailuo.storage.download.KEPT_SECONDS", 0.0)
    video = generate(fal.credentials(), bucket.block())
    bucket.client().delete_object(Bucket=bucket.name, Key=video.storage_key)
    fal.faults.add(expire_file(count=None))
    with pytest.raises(VideoExpiredError, match="put the file back") as caught:
        hurried(fal, bucket.block())
    assert video.storage_key in caught.value.message
    assert fal.charged == 1


def archive(bucket: Bucket) -> dict[str, int]:
    """Move everything but the marker into Glacier; what is there then."""
    client = bucket.client()
    for name in bucket.names().keys() - {MARKER}:
        body = client.get_object(Bucket=bucket.name, Key=name)["Body"].read()
        client.put_object(Bucket=bucket.name, Key=name, Body=body, StorageClass="GLACIER")
    return bucket.names()


def test_an_archived_video_is_neither_bought_again_nor_written_over(
    bucket: Bucket, fal: FalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is allowed, and whether or not fal serves it."""
    monkeypatch.setattr("prefect_hailuo.storage.download.KEPT_SECONDS", 0.0)
    generate(fal.credentials(), bucket.block())
    before = archive(bucket)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"cannot be told .*InvalidObjectState"):
            hurried(fal, bucket.block(), on_lost="resubmit")
        fal.faults.add(expire_file(count=None))
    assert (bucket.names(), fal.charged, fal.requests["media"]) == (before, 1, 1)


def test_an_archived_record_buys_nothing_in_a_new_ledger(
    bucket: Bucket, fal: FalEmulator, lose_ledger: Callable[[], None]
) -> None:
    """It was bought once, and stays as it is."""
    generate(fal.credentials(), bucket.block())
    before = archive(bucket)
    lose_ledger()
    with pytest.raises(StorageError, match=r"cannot be told .*InvalidObjectState"):
        generate(fal.credentials(), bucket.block())
    assert (bucket.names(), fal.charged) == (before, 1)


@pytest.mark.usefixtures("prefect_server")
def test_a_copy_goes_from_bucket_to_directory_and_back(
    bucket: Bucket, emulator: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """Another place asked for is a verified copy, never a purchase."""
    bucket.block().save(bucket.name)
    here = generate(credentials, f"block:s3-bucket/{bucket.name}")
    there = generate(credentials, tmp_path)
    assert there.path is not None
    assert hashlib.sha256(there.path.read_bytes()).hexdigest() == here.sha256
    again = generate(credentials, bucket.block(folder="copies"))
    assert bucket.names()[f"copies/{again.storage_key}"] == here.size
    assert emulator.charged == 1


def test_names_follow_the_template(
    bucket: Bucket, credentials: FalCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders are what S3 makes of slashes; the rerun finds it there."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_NAME_TEMPLATE", "{model}/{slug}-{key}.mp4")
    video = generate(credentials, bucket.block(folder="clips"))
    assert video.storage_key.startswith("hailuo-02-pro/a-red-fox")
    assert bucket.names()[f"clips/{video.storage_key}"] == video.size
    assert generate(credentials, bucket.block(folder="clips")) == video


async def test_of_many_writers_one_gets_the_name(bucket: Bucket, tmp_path: Path) -> None:
    """The put is on the condition that there is no such object, in a folder, too."""
    place, written = StorageBlock(bucket.block(folder="clips")), list[bytes]()

    async def write(number: int) -> None:
        content, file = bytes([number]) * 1000, tmp_path / str(number)
        file.write_bytes(content)
        if number % 2:
            done = await place.keep(file, "a/fox.mp4", over=False)
        else:
            done = await place.write("a/fox.mp4", content, over=False)
        if done:
            written.append(content)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(write, number)
    assert len(written) == 1 and await place.read("a/fox.mp4") == written[0]
    assert bucket.names() == {"clips/a/fox.mp4": 1000}


async def test_a_large_video_is_never_in_memory_as_a_whole(bucket: Bucket, tmp_path: Path) -> None:
    """Neither when it is stored, nor when it is fetched, to be verified or copied."""
    large, place = tmp_path / "large.mp4", StorageBlock(bucket.block())
    large.write_bytes(content := os.urandom(LARGE))
    sha256 = hashlib.sha256(content).hexdigest()
    del content
    tracemalloc.start()
    try:
        await place.keep(large, "large.mp4")
        assert await place.fetch("large.mp4", sha256, tmp_path / "copy.mp4")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < LARGE  # read at once, it would be there twice


def test_a_bucket_that_is_not_there_buys_nothing(
    s3_url: str, emulator: FalEmulator, credentials: FalCredentials
) -> None:
    """It is written to before anything is bought, and the error shows no credentials."""
    with pytest.raises(StorageError, match="nothing was bought") as caught:
        generate(credentials, Bucket(s3_url, "no-such-bucket").block())
    shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert "NoSuchBucket" in shown and SECRET not in shown and KEY_ID not in shown
    assert (caught.value.billed, emulator.requests["submit"]) == (Billed.NO, 0)


def test_no_credentials_are_in_what_is_kept(bucket: Bucket, credentials: FalCredentials) -> None:
    """Neither in the label of an unsaved block, nor in the record, nor in the ledger's row."""
    video = generate(credentials, bucket.block())
    objects = [
        bucket.client().get_object(Bucket=bucket.name, Key=name)["Body"].read()
        for name in bucket.names()
        if name == MARKER or name.endswith(".json")
    ]
    kept = repr(video) + repr(objects)
    assert len(objects) == 2
    assert SECRET not in kept and KEY_ID not in kept
