"""A video's measures and its poster, by PyAV and Pillow.

They are the extra `media`, and are imported when they are first used: the rest of the package works
without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_hailuo.errors import DownloadError, MissingExtraError
from prefect_hailuo.media.mp4 import MICROSECONDS, Probe
from prefect_hailuo.models.image import data_uri

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

POSTER_AT_SECONDS = 1.0
"""Late enough for a fade-in to be over."""

POSTER_WIDTH = 480
"""Pixels: sharp enough in Prefect's UI, and 10 to 20 KB at the quality below."""

POSTER_QUALITY = 70
"""JPEG quality, of 95; Pillow's own default is 75."""

MOST_JPEG_BYTES = 60_000
"""Limit of an artifact's picture: below it, Prefect's UI prints its data URI."""

JPEG_QUALITIES = (75, 60, 45, 30, 15)
"""Tried in this order, until the picture is small enough."""

ROUNDING_MICROSECONDS = 10
"""How far rounding may move a time; a picture lasts a thousand times as long."""

BT709, UNSPECIFIED = 1, 2
"""How colours are coded: the matrix of HD, and "not said", by ITU-T H.273, table 4."""


def require_media() -> None:
    """Check that the extra `media` is installed.

    Raises:
        MissingExtraError: PyAV or Pillow is not installed.
    """
    _require("av", "PIL")


def probe(path: Path) -> Probe:
    """Read a video's measures from its headers, without decoding it.

    Args:
        path: An MP4 file.

    Raises:
        MissingExtraError: PyAV is not installed.
        DownloadError: The file cannot be read as a video.
        OSError: The file cannot be opened.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "clip.mp4")
        >>> _ = path.write_text("502 Bad Gateway")
        >>> try:
        ...     probe(path)
        ... except DownloadError as error:
        ...     print(error.message)
        clip.mp4 cannot be read as a video: Invalid data found when processing input.
    """
    _require("av")
    with opened(path) as (container, stream):
        codec = stream.codec_context.codec
        sounds = container.streams.audio
        sound = sounds[0].codec_context if sounds else None
        return Probe(
            width=stream.width,
            height=stream.height,
            duration_seconds=(container.duration or 0) / MICROSECONDS,
            frames_per_second=float(stream.average_rate or stream.guessed_rate or 0),
            # A decoder has its own name (libdav1d for av1); older PyAV knows only that one.
            codec=getattr(codec, "canonical_name", codec.name),
            audio_codec=sound.name if sound else None,
            audio_channels=sound.channels if sound else 0,
            audio_hz=sound.sample_rate if sound else 0,
            frames=stream.frames,
        )


def poster(
    path: Path,
    *,
    at_seconds: float = POSTER_AT_SECONDS,
    width: int = POSTER_WIDTH,
    quality: int = POSTER_QUALITY,
) -> bytes:
    """One picture of a video, as a small JPEG.

    Args:
        path: An MP4 file.
        at_seconds: Seconds from the beginning; a shorter video gives its last picture.
        width: Pixels; the height follows. A narrower video keeps its own width.
        quality: JPEG quality, 1 to 95.

    Raises:
        MissingExtraError: PyAV or Pillow is not installed.
        DownloadError: The file cannot be read as a video.
        OSError: The file cannot be opened.
        ValueError: The width is less than a pixel.

    Example:
        >>> import av, tempfile
        >>> path = Path(tempfile.mkdtemp(), "clip.mp4")
        >>> with av.open(str(path), "w") as container:
        ...     stream = container.add_stream("mpeg4", rate=24)
        ...     container.mux(stream.encode(av.VideoFrame(640, 480)) + stream.encode())
        >>> poster(path, width=320)[:2]  # the mark of a JPEG
        b'\\xff\\xd8'
    """
    _require("av", "PIL")
    from av.video.reformatter import VideoReformatter

    if width < 1:
        raise ValueError(f"a poster cannot be {width} pixels wide")
    with opened(path) as (container, stream):
        frame = _frame_at(container, path, at_seconds)
        # Not the frame's own: from PyAV 19 on, it has threads, and they hang a forked child.
        shown = VideoReformatter().reformat(
            frame,
            format="rgb24",
            **_fitting(frame, float(stream.sample_aspect_ratio or 1), width),
            **_colours(frame.colorspace, frame.height),
            interpolation="BICUBIC",
        )
        picture = shown.to_image()  # type: ignore[no-untyped-call]
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
    return file.getvalue()


def poster_data_uri(path: Path) -> str:
    """The poster as a `data:` URI, for a page or an artifact.

    Args:
        path: An MP4 file.

    Raises:
        MissingExtraError: PyAV or Pillow is not installed.
        DownloadError: The file cannot be read as a video.
        OSError: The file cannot be opened.

    Example:
        >>> import av, tempfile
        >>> path = Path(tempfile.mkdtemp(), "clip.mp4")
        >>> with av.open(str(path), "w") as container:
        ...     stream = container.add_stream("mpeg4", rate=24)
        ...     container.mux(stream.encode(av.VideoFrame(640, 480)) + stream.encode())
        >>> poster_data_uri(path)[:23]
        'data:image/jpeg;base64,'
    """
    return data_uri(poster(path), "image/jpeg")


def small_jpeg(picture: Image) -> bytes:
    """A picture for an artifact, as good as `MOST_JPEG_BYTES` allow.

    If it is too large at the lowest quality, its size is halved.

    Args:
        picture: In a mode that JPEG knows, such as RGB.

    Example:
        >>> from PIL import Image
        >>> small_jpeg(Image.new("RGB", (64, 48)))[:2]
        b'\xff\xd8'
    """
    for quality in JPEG_QUALITIES:
        file = BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
        if file.tell() <= MOST_JPEG_BYTES:
            return file.getvalue()
    return small_jpeg(picture.reduce(2))


def _require(*modules: str) -> None:
    for module in modules:
        if find_spec(module) is None:
            product = {"av": "PyAV", "PIL": "Pillow"}[module]
            raise MissingExtraError(f"This needs {product}, which is not installed.")


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file's container and first video stream; PyAV's errors become a DownloadError."""
    import av

    # An open file, and as MP4 only: FFmpeg would follow the addresses in a playlist.
    with path.open("rb") as file:
        try:
            with av.open(file, "r", format="mp4", **_leniency(av.__version__)) as container:
                if not container.streams.video:
                    raise DownloadError(f"{path.name} has no video track.")
                stream = container.streams.video[0]
                if not stream.codec_context:
                    raise DownloadError(f"{path.name} is in a codec that PyAV does not know.")
                yield container, stream
        except (av.FFmpegError, OSError, ValueError, ArithmeticError) as error:
            # A damaged file also makes PyAV seek to nowhere and compute with nonsense.
            reason = getattr(error, "strerror", None) or error
            raise DownloadError(f"{path.name} cannot be read as a video: {reason}.") from error


def _leniency(version: str) -> dict[str, Any]:
    """The option to accept a title in another encoding; from 19 on, PyAV always does."""
    return {"metadata_errors": "replace"} if int(version.partition(".")[0]) < 19 else {}


def _frame_at(container: InputContainer, path: Path, at_seconds: float) -> VideoFrame:
    """The picture that is shown at a time; in a shorter video, the last one."""
    length, start = (container.duration or 0), (container.start_time or 0)
    at = start + min(round(at_seconds * MICROSECONDS), length)  # no seeking beyond the end
    container.seek(at)
    shown = None
    for frame in container.decode(video=0):
        if shown and (frame.time or 0) * MICROSECONDS > at + ROUNDING_MICROSECONDS:
            break
        shown = frame
    if not shown:
        raise DownloadError(f"{path.name} has no picture.")
    return shown


def _fitting(frame: VideoFrame, pixel_shape: float, width: int) -> dict[str, int]:
    """The poster's size: the shape of the video, and no larger."""
    shown_width = frame.width * pixel_shape
    scale = min(1, width / shown_width)
    return {
        "width": max(1, round(shown_width * scale)),
        "height": max(1, round(frame.height * scale)),
    }


def _colours(matrix: int, height: int) -> dict[str, Any]:
    """Read HD as players do. FFmpeg takes a video that does not say for SD; reds turn dull."""
    if matrix == BT709 or (matrix == UNSPECIFIED and height >= 720):
        # Both: older PyAV ignores the source's if the destination's is the same.
        return {"src_colorspace": "ITU709", "dst_colorspace": "ITU601"}
    return {}
