"""A video's measures, from its boxes: the same as PyAV's, or none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.stream import VideoStream

from prefect_hailuo.emulator.clip import render
from prefect_hailuo.media.mp4 import Probe, examine_mp4
from prefect_hailuo.media.probe import probe
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}


def clip(
    path: Path,
    *,
    codec: str = "libx264",
    rate: int | Fraction = 24,
    frames: int = 30,
    size: tuple[int, int] = (128, 96),
    options: dict[str, str] | None = None,
    sound: bool = False,
    moving: int = 0,
) -> Path:
    """A real video of so many pictures, with a second of silence if asked for."""
    with av.open(str(path), "w", options=options or {}) as container:
        streams: list[tuple[Any, list[Any]]] = []
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        streams.append((stream, [picture(size, moving * number) for number in range(frames)]))
        if sound:
            streams.append((container.add_stream("aac", rate=8000), [silence()]))
        for each, pictures in streams:
            for frame in [*pictures, None]:
                container.mux(each.encode(frame))
    return path


def picture(size: tuple[int, int], grey: int) -> av.VideoFrame:
    """A plain picture."""
    frame = av.VideoFrame(*size, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([grey % 255]) * plane.buffer_size)
    return frame


def silence() -> av.AudioFrame:
    """A second without sound."""
    frame = av.AudioFrame("fltp", "stereo", 8000)
    frame.sample_rate = 8000
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def measured(path: Path) -> Probe | None:
    """What the boxes say."""
    with path.open("rb") as file:
        return examine_mp4(file)


PLAIN: dict[str, dict[str, Any]] = {
    "24": {},
    "one picture": {"frames": 1},
    "index in front": {"options": {"movflags": "faststart"}},
    "29.97": {"rate": Fraction(30000, 1001)},
    "23.976": {"rate": Fraction(24000, 1001), "frames": 47},
    "10": {"rate": 10},
    "no multiple of 16": {"size": (130, 98)},
    "sound that is longer": {"frames": 7, "sound": True},
    "sound that is shorter": {"frames": 100, "sound": True},
}


@pytest.mark.parametrize("made", PLAIN.values(), ids=list(PLAIN))
def test_boxes_and_pyav_say_the_same(tmp_path: Path, made: dict[str, Any]) -> None:
    """Size, length, rate and codec, to the last digit."""
    path = clip(tmp_path / "clip.mp4", **made)
    assert measured(path) == probe(path)


@pytest.mark.parametrize("moving", [2, 35, 38, 47, 59, 101])
def test_an_edit_list_that_ends_inside_the_last_picture_is_heeded(
    tmp_path: Path, moving: int
) -> None:
    """How pictures refer to each other changes how an encoder rounds the whole."""
    path = clip(tmp_path / "clip.mp4", rate=Fraction(24000, 1001), frames=47, moving=moving)
    assert measured(path) == probe(path)


def test_the_emulators_videos_are_measured(tmp_path: Path) -> None:
    """Their size, rate and length are those of the endpoint's picture."""
    path, picture = tmp_path / "clip.mp4", Hailuo02ProTextToVideo.endpoint.default.picture
    path.write_bytes(render(Hailuo02ProTextToVideo.endpoint, "A red fox."))
    seconds, rate = float(picture.duration_seconds), float(picture.frames_per_second)
    expected = Probe(picture.width, picture.height, seconds, rate, "h264")
    assert measured(path) == probe(path) == expected


@pytest.mark.parametrize(
    "made", [{"codec": "mpeg4"}, {"options": FRAGMENTED}], ids=["another codec", "fragments"]
)
def test_what_boxes_do_not_say_plainly_is_left_to_pyav(
    tmp_path: Path, made: dict[str, Any]
) -> None:
    """A codec with several names, and a length that is spread over the file, are not guessed."""
    path = clip(tmp_path / "clip.mp4", **made)
    assert measured(path) is None
    assert probe(path).duration_seconds > 0


@pytest.mark.parametrize("missing", ["mvhd", "mdhd", "stts", "stsd"])
def test_measures_that_are_missing_make_no_video_incomplete(tmp_path: Path, missing: str) -> None:
    """It was paid for: without a box that shows nothing, it is a video all the same."""
    path = clip(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes().replace(missing.encode(), b"free"))
    assert measured(path) is None
