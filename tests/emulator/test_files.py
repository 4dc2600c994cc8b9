"""The files that the emulator serves."""

from __future__ import annotations

import httpx
import pytest

from prefect_hailuo.emulator import FalEmulator, ManualClock

from .asking import Asking


@pytest.fixture
def url(fal: Asking, clock: ManualClock) -> str:
    """Where a video is."""
    request_id = fal.buy()
    clock.advance(100)
    return fal.video_url(request_id)


def test_a_video_is_served_without_a_key(url: str, emulator: FalEmulator) -> None:
    """It arrives whole, with its length, and it is noted that no key was sent along."""
    reply = httpx.get(url)
    assert reply.headers["content-type"] == "video/mp4"
    assert int(reply.headers["content-length"]) == len(reply.content) > 10_000
    assert [seen.authorized for seen in emulator.media_requests] == [False]


def test_a_key_that_is_sent_along_is_noted(fal: Asking, url: str, emulator: FalEmulator) -> None:
    """A test can prove that the key never goes to the host of the files."""
    fal.http.get(url)
    assert [seen.authorized for seen in emulator.media_requests] == [True]


def test_head_tells_the_length(url: str) -> None:
    """HEAD has the headers of GET, and no body."""
    assert httpx.head(url).headers["content-length"] == str(len(httpx.get(url).content))


@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=0-9", slice(0, 10)), ("bytes=100-", slice(100, None)), ("bytes=-7", slice(-7, None))],
)
def test_ranges(asked: str, part: slice, url: str) -> None:
    """Parts are served as 206, so that a download can be resumed."""
    whole, reply = httpx.get(url).content, httpx.get(url, headers={"Range": asked})
    start = part.indices(len(whole))[0]
    assert (reply.status_code, reply.content) == (206, whole[part])
    assert reply.headers["content-range"].startswith(f"bytes {start}-")


def test_a_range_beyond_the_end(url: str) -> None:
    """416 with the length."""
    reply = httpx.get(url, headers={"Range": "bytes=999999999-"})
    assert (reply.status_code, reply.headers["content-range"][:8]) == (416, "bytes */")


def test_nothing_is_served_before_completion(fal: Asking, emulator: FalEmulator) -> None:
    """A video is not there before it is made."""
    reply = httpx.get(f"{emulator.url}/files/{fal.buy()}/output.mp4")
    assert reply.status_code == 404


def test_files_can_be_given_a_lifetime(fal: Asking, clock: ManualClock) -> None:
    """fal's lifecycle header is heeded: a file is gone after its lifetime."""
    preference = '{"expiration_duration_seconds": 60}'
    request_id = fal.buy(headers={"X-Fal-Object-Lifecycle-Preference": preference})
    clock.advance(100)
    url = fal.video_url(request_id)
    assert httpx.head(url).status_code == 200
    clock.advance(61)
    assert httpx.head(url).status_code == 404


def test_given_bytes_are_served_as_they_are(clock: ManualClock) -> None:
    """`clip=bytes` serves exactly these."""
    with FalEmulator(clip=b"my own video", clock=clock, durations=1) as emulator:
        fal = Asking(emulator)
        with fal.http:
            request_id = fal.buy()
            clock.advance(1)
            assert httpx.get(fal.video_url(request_id)).content == b"my own video"
            assert fal.result(request_id).json()["video"]["file_size"] == 12
