"""Several videos in one picture, side by side, each below its name."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_hailuo.coding import Canvas, Coder, blaming, chain, even, fit, pulled, written
from prefect_hailuo.media import opened, require_media

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.filter import FilterContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

WIDTH = 1920
"""Pixels of the whole: every screen shows it, and every player plays it."""

NAME_SHARE = 0.08
"""Height of a name by the height of the picture below it."""

LETTER_SHARE = 0.6
"""Size of its letters by its own height."""

SMALLEST_LETTER = 8
"""Pixels, below which nobody can read it."""

PAPER, INK = (18, 20, 28), (238, 238, 232)


def place_side_by_side(parts: Sequence[Path], names: Sequence[str], target: Path) -> None:
    """Play MP4 files beside each other in one: in a row, or in rows where there are many.

    All cells are of one size; what is of another shape gets bars. It plays at the quickest one's
    rate for as long as the longest one lasts; of the others the last picture stays. Their sound is
    left out: Hailuo makes none.

    Args:
        parts: The files, from left to right, two at the least.
        names: What to write above each.
        target: The file to make; nobody should see it before this returns.

    Raises:
        DownloadError: One of them cannot be read as a video.
        MissingExtraError: PyAV or Pillow is not installed.
        StorageError: The target cannot be written.
        ValueError: There are fewer than two, or not as many names.

    Example:
        >>> import av, tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with av.open(str(folder / "a.mp4"), "w") as container:
        ...     stream = container.add_stream("libx264", rate=24)
        ...     stream.width, stream.height = 640, 480
        ...     container.mux(stream.encode(av.VideoFrame(640, 480)) + stream.encode())
        >>> place_side_by_side([folder / "a.mp4"] * 2, ["left", "right"], folder / "both.mp4")
        >>> av.open(str(folder / "both.mp4")).streams.video[0].width
        1920
    """
    require_media()
    if len(parts) < 2 or len(parts) != len(names):
        raise ValueError("It takes two files at the least, and a name for each.")
    with ExitStack() as stack:
        opens = [stack.enter_context(opened(path)) for path in parts]
        screen = _Screen([stream for _, stream in opens], names)
        with written(target, opens[0][0].metadata.get("comment")) as output:
            coder = Coder(output, screen.canvas)
            for frame in screen.show([container for container, _ in opens]):
                with blaming(target):
                    coder.add(frame)
            with blaming(target):
                coder.finish()


def columns_for(number: int) -> int:
    """How many of them stand in a row.

    Example:
        >>> [columns_for(number) for number in (2, 3, 4, 5, 6, 9, 10)]
        [2, 3, 2, 3, 3, 3, 4]
    """
    return number if number <= 3 else math.ceil(math.sqrt(number))


class _Screen:
    """A graph of filters that takes videos and gives pictures of them all.

    Args:
        streams: The videos.
        names: What to write above each.
    """

    def __init__(self, streams: Sequence[VideoStream], names: Sequence[str]) -> None:
        from av.filter import Graph

        columns = columns_for(len(streams))
        cell = _cell(streams, columns)
        name_height = even(cell.height * NAME_SHARE)
        places = [divmod(number, columns) for number in range(len(streams))]
        height = cell.height + name_height
        rows = places[-1][0] + 1
        self.canvas = replace(cell, width=cell.width * columns, height=height * rows)
        self._graph = Graph()
        self._begins = [self._graph.add_buffer(template=stream) for stream in streams]
        self._names = [_frame(draw_name(name, cell.width, name_height)) for name in names]
        self._name_begins = [self._add_picture(name) for name in self._names]
        cells = [self._cell(n, cell, name_height) for n in range(len(streams))]
        layout = "|".join(f"{column * cell.width}_{row * height}" for row, column in places)
        stack = self._graph.add("xstack", f"inputs={len(cells)}:layout={layout}:fill=black")
        for number, each in enumerate(cells):
            each.link_to(stack, 0, number)
        self._sink = chain(self._graph, stack, ("buffersink", ""))
        self._graph.configure()

    def show(self, containers: Sequence[InputContainer]) -> Iterator[VideoFrame]:
        """All of their pictures, in as many as the longest one has."""
        for begin, name in zip(self._name_begins, self._names, strict=True):
            begin.push(name)
            begin.push(None)
        timed = [_timed(number, each) for number, each in enumerate(containers)]
        # By time, for what comes ahead of the others waits in the graph.
        for _, number, frame in heapq.merge(*timed, key=itemgetter(0, 1)):
            self._begins[number].push(frame)
            yield from pulled(self._sink)

    def _add_picture(self, picture: VideoFrame) -> FilterContext:
        tick = Fraction(1, 1000)
        size = (picture.width, picture.height)
        return self._graph.add_buffer(None, *size, format=picture.format, time_base=tick)

    def _cell(self, number: int, cell: Canvas, name_height: int) -> FilterContext:
        """A video on its canvas, with its name above, which stays though it is one picture."""
        below = ("pad", f"{cell.width}:{cell.height + name_height}:0:{name_height}")
        named = self._graph.add("overlay", "0:0:eof_action=repeat")
        chain(self._graph, fit(self._graph, self._begins[number], cell), below).link_to(named)
        self._name_begins[number].link_to(named, 0, 1)
        return named


def _timed(
    number: int, container: InputContainer
) -> Iterator[tuple[float, int, VideoFrame | None]]:
    """A video's pictures with their times, and None at the end."""
    time = 0.0
    for frame in container.decode(video=0):
        time = frame.time or 0.0
        yield time, number, frame
    yield time, number, None


def _cell(streams: Sequence[VideoStream], columns: int) -> Canvas:
    """What one of them measures: as wide as there is room for, and as high as the highest."""
    own = [Canvas.like(stream) for stream in streams]
    width = even(WIDTH / columns)
    height = even(max(width * each.height / each.width for each in own))
    return Canvas(width, height, max(each.rate for each in own), any(each.is_hd for each in own))


def draw_name(name: str, width: int, height: int) -> Image:
    """A name on a strip, as large as it fits.

    Args:
        name: The name.
        width: Pixels.
        height: Pixels.
    """
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(strip)
    size = height * LETTER_SHARE
    while draw.textlength(name, ImageFont.load_default(size)) > width and size > SMALLEST_LETTER:
        size *= 0.9
    font = ImageFont.load_default(size)
    draw.text((width / 2, height / 2), name, font=font, fill=INK, anchor="mm")
    return strip


def _frame(strip: Image) -> VideoFrame:
    import av
    from av.video.reformatter import VideoReformatter

    drawn = av.VideoFrame.from_image(strip)  # type: ignore[no-untyped-call]
    # One of our own: from PyAV 19 on, the frame's has threads, which hang a forked child.
    frame = VideoReformatter().reformat(drawn, format="yuv420p")
    frame.pts = 0
    return frame
