"""What PyAV and Pillow tell of a video."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import pytest
from av.video.stream import VideoStream
from PIL import Image

from prefect_hailuo.errors import DownloadError
from prefect_hailuo.media.mp4 import Probe
from prefect_hailuo.media.probe import poster, poster_data_uri, probe, require_media

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}


def clip(
    path: Path,
    pictures: Sequence[Image.Image | av.VideoFrame],
    *,
    codec: str = "libx264",
    rate: int = 24,
    pixel_shape: Fraction | None = None,
    options: dict[str, str] | None = None,
    coding: dict[str, str] | None = None,
) -> Path:
    """Make a video that shows these pictures one after the other."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate, options=dict(coding or {}))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = pictures[0].width, pictures[0].height
        if pixel_shape:
            stream.codec_context.sample_aspect_ratio = pixel_shape
        for picture in pictures:
            frame = coded(picture) if isinstance(picture, Image.Image) else picture
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def coded(picture: Image.Image, *, hd: bool = False) -> av.VideoFrame:
    """The picture as a video has it, in the colours of HD or of what was before."""
    frame: av.VideoFrame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
    return frame.reformat(format="yuv420p", dst_colorspace="ITU709" if hd else "ITU601")


def greys(count: int, size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    """Pictures of one grey each, each ten shades lighter than the one before."""
    return [Image.new("RGB", size, (40 + 10 * n,) * 3) for n in range(count)]


def opened(jpeg: bytes) -> Image.Image:
    picture = Image.open(BytesIO(jpeg))
    assert picture.format == "JPEG"
    return picture.convert("RGB")


def shade(jpeg: bytes) -> int:
    """The grey of a poster, to the nearest ten."""
    red = opened(jpeg).getpixel((5, 5))
    assert isinstance(red, tuple)
    return round(red[0] / 10) * 10


LOOK = """
import json, pathlib, sys
sys.modules.update(av=None, PIL=None)  # which makes importing them fail
from prefect_hailuo import errors
from prefect_hailuo.media import probe as media

def look():
    for face in (media.probe, media.poster, media.poster_data_uri):
        try:
            yield str(face(pathlib.Path(sys.argv[1])))
        except errors.MissingExtraError as error:
            yield str(error)

def available():
    try:
        media.require_media()
    except errors.MissingExtraError:
        return False
    return True

neither = [available(), *look()]
del sys.modules["av"]
print(json.dumps([neither, [available(), *look()]]))
"""
"""Looks at a video without PyAV and Pillow, then without Pillow only."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[list[str | bool]]:
    """What `require_media`, `probe`, `poster` and `poster_data_uri` say in a fresh Python."""
    path = clip(tmp_path_factory.mktemp("media") / "clip.mp4", greys(12))
    command = [sys.executable, "-c", LOOK, str(path)]
    done = subprocess.run(command, capture_output=True, check=True)
    found: list[list[str | bool]] = json.loads(done.stdout)
    return found


def test_probe_tells_size_length_rate_and_codec(tmp_path: Path) -> None:
    """A probe tells what the file says of itself."""
    path = clip(tmp_path / "clip.mp4", greys(12), rate=24)
    assert probe(path) == Probe(64, 48, 0.5, 24.0, "h264")


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}, FRAGMENTED])
def test_probe_reads_every_arrangement_of_a_file(tmp_path: Path, options: dict[str, str]) -> None:
    """Where the file's index stands makes no difference to a probe."""
    path = clip(tmp_path / "clip.mp4", greys(12), options=options)
    assert probe(path).duration_seconds == 0.5
    assert probe(path).frames_per_second == 24.0


def test_probe_names_the_codec_not_the_decoder(tmp_path: Path) -> None:
    """The codec of an odd-sized MPEG-4 video is called mpeg4, and its size is its own."""
    path = clip(tmp_path / "clip.mp4", greys(5, (65, 47)), codec="mpeg4", rate=10)
    assert probe(path) == Probe(65, 47, 0.5, 10.0, "mpeg4")


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html>", b"#EXTM3U\n/etc/passwd\n", b"\0" * 64]
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is no video is refused by name, by probe and poster alike."""
    path = tmp_path / "page.mp4"
    path.write_bytes(content)
    for look in (probe, poster, poster_data_uri):
        with pytest.raises(DownloadError, match=r"page\.mp4 cannot be read as a video"):
            look(path)


def test_only_mp4_is_read(tmp_path: Path) -> None:
    """Other formats are refused: some, such as playlists, make FFmpeg follow addresses."""
    path = clip(tmp_path / "clip.mkv", greys(2))
    with pytest.raises(DownloadError, match=r"clip\.mkv cannot be read as a video"):
        probe(path)


def test_a_title_in_another_encoding_does_no_harm(tmp_path: Path) -> None:
    """What the file is called inside has no say in whether it can be read."""
    path = clip(tmp_path / "clip.mp4", greys(12))
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"L\xe4vf"))
    assert probe(path).duration_seconds == 0.5


def test_a_video_in_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    """A file whose codec PyAV does not know is refused, not stumbled over."""
    path = clip(tmp_path / "clip.mp4", greys(2))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(DownloadError, match="codec"):
        probe(path)


def test_a_damaged_video_is_never_anything_but_an_error_of_ours(tmp_path: Path) -> None:
    """Wherever the file's index is wrong, the answer is a probe or a DownloadError."""
    path = tmp_path / "damaged.mp4"
    whole = clip(tmp_path / "clip.mp4", greys(2), options={"movflags": "faststart"}).read_bytes()
    for at in range(0, whole.index(b"mdat"), 3):
        path.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        try:
            assert isinstance(probe(path), Probe)
            assert poster(path)
        except DownloadError as error:
            assert "damaged.mp4" in error.message


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """That a file is not there is no fault of the video's."""
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "nowhere.mp4")


@pytest.mark.parametrize(
    ("at_seconds", "expected"),
    [(0, 40), (0.25, 70), (1 / 3, 80), (0.5, 100), (0.56, 100), (1e15, 210)],
)
@pytest.mark.parametrize("options", [{}, FRAGMENTED])
def test_the_poster_shows_the_moment_asked_for(
    tmp_path: Path, options: dict[str, str], at_seconds: float, expected: int
) -> None:
    """The poster is the picture shown at the time; of a video shorter than that, the last."""
    path = clip(tmp_path / "clip.mp4", greys(18), rate=12, options=options)
    assert shade(poster(path, at_seconds=at_seconds)) == expected


def test_the_default_poster_works_for_a_single_picture(tmp_path: Path) -> None:
    """A video of one picture has that as its poster."""
    assert shade(poster(clip(tmp_path / "clip.mp4", greys(1)))) == 40


@pytest.mark.parametrize(
    ("size", "width", "expected"),
    [((960, 540), 480, (480, 270)), ((101, 57), 50, (50, 28)), ((64, 48), 480, (64, 48))],
)
def test_the_poster_keeps_the_shape(
    tmp_path: Path, size: tuple[int, int], width: int, expected: tuple[int, int]
) -> None:
    """A poster has the width asked for and the video's shape, and is never blown up."""
    path = clip(tmp_path / "clip.mp4", greys(1, size), codec="mpeg4")
    assert opened(poster(path, width=width)).size == expected


def test_the_poster_is_as_wide_as_the_video_is_shown(tmp_path: Path) -> None:
    """Where a video's pixels are wider than high, so is what the poster shows."""
    path = clip(tmp_path / "clip.mp4", greys(1, (64, 64)), pixel_shape=Fraction(2, 1))
    assert opened(poster(path)).size == (128, 64)
    assert opened(poster(path, width=64)).size == (64, 32)


@pytest.mark.parametrize(
    ("size", "matrix"), [((1280, 720), ""), ((320, 240), ""), ((320, 240), "bt709")]
)
def test_the_poster_has_the_colours_of_the_video(
    tmp_path: Path, size: tuple[int, int], matrix: str
) -> None:
    """A red is the same red in the poster, in HD and below, whether or not the file says how."""
    coding = {"x264-params": f"colormatrix={matrix}"} if matrix else {}
    red = coded(Image.new("RGB", size, (200, 40, 40)), hd=matrix == "bt709" or size[1] >= 720)
    path = clip(tmp_path / "clip.mp4", [red], coding=coding)
    assert opened(poster(path)).getpixel((9, 9)) == pytest.approx((200, 40, 40), abs=5)


def test_the_poster_of_a_busy_video_is_small(tmp_path: Path) -> None:
    """The poster of a rich 1080p picture stays below 32 KB, so that it fits in a page."""
    # The Mandelbrot set: detail at every scale, as a landscape has.
    busy = Image.effect_mandelbrot((1920, 1080), (-2.2, -1.2, 1.0, 1.2), 100).convert("RGB")
    path = clip(tmp_path / "clip.mp4", [busy], options={"preset": "ultrafast"})
    uri = poster_data_uri(path)
    jpeg = b64decode(uri.removeprefix("data:image/jpeg;base64,"), validate=True)
    assert opened(jpeg).size == (480, 270)
    assert 2_000 < len(jpeg) < 32_000


def test_a_poster_without_width_is_refused(tmp_path: Path) -> None:
    """Nobody gets a picture of no width, or of full size in its place."""
    with pytest.raises(ValueError, match="0 pixels"):
        poster(clip(tmp_path / "clip.mp4", greys(1)), width=0)


def test_with_the_extra_everything_is_available() -> None:
    """Where PyAV and Pillow are installed, that is what is said."""
    require_media()


def test_without_the_extra_the_cure_is_named(answers: list[list[str | bool]]) -> None:
    """Without PyAV the package still imports, and asking for a look says what to install."""
    available, *messages = answers[0]
    assert not available
    for message in messages:
        assert str(message).startswith("This needs PyAV, which is not installed.")
        assert "pip install 'prefect-hailuo[media]'" in str(message)


def test_probing_needs_no_pillow(answers: list[list[str | bool]]) -> None:
    """PyAV alone is enough for a probe; a poster asks for Pillow by name."""
    available, probed, *messages = answers[1]
    assert not available
    assert probed == str(Probe(64, 48, 0.5, 24.0, "h264"))
    for message in messages:
        assert str(message).startswith("This needs Pillow, which is not installed.")


FORK = """
import os, pathlib, sys, warnings
from prefect_hailuo.emulator.clip import render
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo
from prefect_hailuo.media.probe import poster

warnings.simplefilter("ignore", DeprecationWarning)
path = pathlib.Path(sys.argv[1])
path.write_bytes(render(Hailuo02ProTextToVideo.endpoint, "A fork."))
poster(path)
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_child_forked_after_a_look_can_end(tmp_path: Path) -> None:
    """Nothing that draws or looks leaves threads which a forked child would wait for."""
    command = [sys.executable, "-c", FORK, str(tmp_path / "clip.mp4")]
    subprocess.run(command, check=True, timeout=60)
