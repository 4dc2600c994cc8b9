"""Pictures coded into a new file, one after the other, and brought onto its canvas before that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_hailuo.errors import DownloadError, StorageError
from prefect_hailuo.media import BT709, UNSPECIFIED, opened

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.filter import FilterContext, Graph
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

ENCODER = {"preset": "veryfast", "crf": "18"}
"""By x264's guide, 18 is close to what cannot be told from the original."""


HD_LINES = 720
"""From this height on, players take for HD what does not say how its colours are coded."""


@dataclass(frozen=True)
class Canvas:
    """What a new video's pictures measure.

    Args:
        width: Pixels, even.
        height: Pixels, even.
        rate: Pictures a second.
        is_hd: Whether colours are coded as for HD. At another size players would guess otherwise.
    """

    width: int
    height: int
    rate: Fraction
    is_hd: bool

    @classmethod
    def like(cls, stream: VideoStream) -> Canvas:
        """A canvas for a video's own pictures."""
        shape = float(stream.sample_aspect_ratio or 1)
        return cls(even(stream.width * shape), even(stream.height), rate_of(stream), is_hd(stream))


def even(pixels: float) -> int:
    """The nearest size that H.264 can code in its usual format.

    Example:
        >>> even(65), even(0.5)
        (64, 2)
    """
    return max(2, round(pixels / 2 - 0.01) * 2)


def rate_of(stream: VideoStream) -> Fraction:
    """A video's pictures a second.

    Raises:
        DownloadError: The file does not say.
    """
    rate = stream.average_rate or stream.guessed_rate
    if not rate:
        raise DownloadError("The file does not say how many pictures a second it has.")
    return Fraction(rate)


def is_hd(stream: VideoStream) -> bool:
    """Whether a video's colours are coded as for HD: it says so, or says nothing and is large."""
    matrix = stream.codec_context.colorspace
    return matrix == BT709 or (matrix == UNSPECIFIED and stream.height >= HD_LINES)


class Coder:
    """Codes pictures in H.264 into a file that is being written.

    Args:
        output: The file.
        canvas: What its pictures measure.
    """

    def __init__(self, output: OutputContainer, canvas: Canvas) -> None:
        self._output = output
        self._tick = 1 / canvas.rate
        self._stream = output.add_stream("libx264", rate=canvas.rate, options=dict(ENCODER))
        self._stream.width, self._stream.height = canvas.width, canvas.height
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._tick
        if canvas.is_hd:
            context.colorspace = context.color_primaries = context.color_trc = BT709
        self._count = 0

    def add(self, frame: VideoFrame) -> None:
        """Code the next picture."""
        frame.pts, frame.time_base = self._count, self._tick
        frame.pict_type = 0  # not what it was in another video
        self._output.mux(self._stream.encode(frame))
        self._count += 1

    def finish(self) -> None:
        """Code what the coder held back."""
        self._output.mux(self._stream.encode(None))


def fit(graph: Graph, begin: FilterContext, canvas: Canvas) -> FilterContext:
    """Filters that bring a video's pictures onto a canvas, with bars where need be.

    Args:
        graph: The graph.
        begin: Where the pictures come from.
        canvas: What they are to measure.

    Returns:
        The last filter.
    """
    size = f"{canvas.width}:{canvas.height}"
    return chain(
        graph,
        begin,
        ("fps", str(canvas.rate)),
        ("scale", "iw*sar:ih"),
        ("scale", f"{size}:force_original_aspect_ratio=decrease:force_divisible_by=2"),
        ("pad", f"{size}:(ow-iw)/2:(oh-ih)/2"),
        ("setsar", "1"),
        ("format", "yuv420p"),
    )


def chain(graph: Graph, begin: FilterContext, *filters: tuple[str, str]) -> FilterContext:
    """Link filters one behind the other; returns the last."""
    for name, arguments in filters:
        following = graph.add(name, arguments)
        begin.link_to(following)
        begin = following
    return begin


def pulled(sink: FilterContext) -> Iterator[VideoFrame]:
    """What has come out of a graph by now."""
    import av

    with suppress(av.BlockingIOError, av.EOFError):
        while True:
            yield sink.pull()  # type: ignore[misc]


def fitted(path: Path, canvas: Canvas) -> Iterator[VideoFrame]:
    """A file's pictures on a canvas, at its rate.

    Raises:
        DownloadError: The file cannot be read as a video.
    """
    import av.filter

    with opened(path) as (container, stream):
        graph = av.filter.Graph()
        end = fit(graph, graph.add_buffer(template=stream), canvas)
        sink = chain(graph, end, ("buffersink", ""))
        graph.configure()
        for frame in container.decode(video=0):
            graph.push(frame)
            yield from pulled(sink)
        graph.push(None)
        yield from pulled(sink)


@contextmanager
def written(target: Path, comment: str | None = None) -> Iterator[OutputContainer]:
    """An MP4 file to write, whose index is put in front at the end.

    Raises:
        StorageError: It cannot be written.
    """
    import av

    with blaming(target):
        output = av.open(str(target), "w", format="mp4", options={"movflags": "faststart"})
    try:
        if comment:
            output.metadata["comment"] = comment
        yield output
    except BaseException:
        with suppress(Exception):
            output.close()
        raise
    with blaming(target):
        output.close()


@contextmanager
def blaming(target: Path) -> Iterator[None]:
    """Let what FFmpeg raises over a file that it writes become our error."""
    import av

    try:
        yield
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"{target} cannot be written: {reason}.") from error
