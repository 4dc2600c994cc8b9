"""New videos made of videos: joined one after the other, or played side by side.

Joining copies the coded pictures as they are where that is possible. Otherwise they are coded once
more, which takes time and costs a little quality. Only one picture after the other is in memory,
however long the videos are.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prefect_hailuo.errors import DownloadError, StorageError
from prefect_hailuo.media.filters import chain, pulled
from prefect_hailuo.media.probe import BT709, UNSPECIFIED, opened, require_media
from prefect_hailuo.media.sound import sound_track

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.filter import FilterContext, Graph
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

ENCODER = {"preset": "veryfast", "crf": "18"}
"""By x264's guide, 18 can hardly be told from the original."""

HD_LINES = 720
"""From this height on, players take a video for HD if it does not say how its colours are coded."""

WIDTH = 1920
"""Pixels of the side-by-side video: every screen shows it, and every player plays it."""

NAME_SHARE = 0.08
"""Height of a name, as a share of the picture below it."""

LETTER_SHARE = 0.6
"""Size of its letters, as a share of the name's height."""

SMALLEST_LETTER = 8
"""Pixels; smaller letters cannot be read."""

PAPER, INK = (18, 20, 28), (238, 238, 232)


def join_files(parts: Sequence[Path], target: Path) -> str | None:
    """Join MP4 files into one, with their sound.

    Where none of them has sound, the new one has none. Where all are coded alike, it is copied;
    else it is coded once more, in AAC, with silence for those that have none.

    The coded pictures are copied as they are where codec, its parameters, size, rate and time base
    agree, as they do for videos of one model. Otherwise all are coded once more, in H.264, with the
    first one's size and rate; a video of another shape gets bars.

    Args:
        parts: The files, in their order.
        target: The file to make; nobody should read it before this returns.

    Returns:
        Why the pictures had to be coded once more; None where they were copied.

    Raises:
        DownloadError: One of them cannot be read as a video.
        MissingExtraError: PyAV is not installed.
        StorageError: The target cannot be written.
        ValueError: There are no parts.

    Example:
        >>> import av, tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with av.open(str(folder / "a.mp4"), "w") as container:
        ...     stream = container.add_stream("libx264", rate=24)
        ...     stream.width, stream.height = 64, 48
        ...     container.mux(stream.encode(av.VideoFrame(64, 48)) + stream.encode())
        >>> print(join_files([folder / "a.mp4"] * 3, folder / "joined.mp4"))
        None
        >>> av.open(str(folder / "joined.mp4")).streams.video[0].frames
        3
    """
    require_media()
    if not parts:
        raise ValueError("There is nothing to join.")
    try:
        _check_forms(parts)
        _copy(parts, target)
    except UncopyableError as why:
        _code(parts, target)
        return str(why)
    return None


class UncopyableError(Exception):
    """Coded pictures cannot be copied as they are; the message says why."""


class Form(NamedTuple):
    """What must agree for coded pictures to stand in one track.

    Args:
        codec: How they are coded, in FFmpeg's words.
        parameters: The codec's parameters, which the decoder needs first.
        width: Pixels.
        height: Pixels.
        colours: The format of a pixel, such as `yuv420p`.
        pixel_shape: Width of a pixel by its height.
        rate: Pictures a second.
        tick: Seconds; the unit of times.
    """

    codec: str
    parameters: bytes
    width: int
    height: int
    colours: str
    pixel_shape: Fraction
    rate: Fraction
    tick: Fraction


def form_of(path: Path) -> Form:
    """What must agree with the other files for this one's pictures to be copied."""
    with opened(path) as (_, stream):
        context = stream.codec_context
        return Form(
            context.codec.name,
            bytes(context.extradata or b""),
            stream.width,
            stream.height,
            context.pix_fmt or "",
            Fraction(stream.sample_aspect_ratio or 1),
            rate_of(stream),
            Fraction(stream.time_base or 0),
        )


def _check_forms(parts: Sequence[Path]) -> None:
    first = form_of(parts[0])
    for path in parts[1:]:
        other = form_of(path)
        names = (name.replace("_", " ") for name in Form._fields)
        differing = [n for n, a, b in zip(names, first, other, strict=True) if a != b]
        if differing:
            raise UncopyableError(
                f"{path.name} differs from {parts[0].name} in {', '.join(differing)}"
            )


def _copy(parts: Sequence[Path], target: Path) -> None:
    with opened(parts[0]) as (source, model), written(target, _comment(source)) as output:
        track = output.add_stream_from_template(model)
        sound = sound_track(output, parts, one_by_one=True)
        tick, end = float(model.time_base or 0), 0
        for packet, begins in _in_a_row(parts):
            with storage_errors(target):
                if begins is not None:
                    sound.play([begins], end * tick)
                end = max(end, (packet.pts or 0) + (packet.duration or 0))
                sound.write_until((packet.dts or 0) * tick)
                packet.stream = track
                output.mux(packet)
        with storage_errors(target):
            sound.finish(end * tick)


def _in_a_row(parts: Sequence[Path]) -> Iterator[tuple[Packet[VideoStream], Path | None]]:
    """The parts' coded pictures; the times of each part go on from the part before. With the first
    of a part comes its path."""
    end, last = 0, None
    for path in parts:
        begin = end
        for number, (packet, pts, dts) in enumerate(_packets(path)):
            if number == 0 and not packet.is_keyframe:
                raise UncopyableError(f"{path.name} does not begin with a whole picture")
            packet.pts, packet.dts = pts + begin, dts + begin
            if last is not None and packet.dts <= last:
                raise UncopyableError(f"{path.name} would be decoded before what it follows")
            last = packet.dts
            end = max(end, packet.pts + (packet.duration or 0))
            yield packet, None if number else path


def _packets(path: Path) -> Iterator[tuple[Packet[VideoStream], int, int]]:
    """A file's coded pictures and their times, from 0 on."""
    with opened(path) as (container, stream):
        start = stream.start_time or 0
        for packet in container.demux(stream):
            if not packet.size:
                continue  # the end
            if packet.pts is None or packet.dts is None or packet.is_discard:
                raise UncopyableError(f"{path.name} holds pictures that are not shown")
            yield packet, packet.pts - start, packet.dts - start


def _code(parts: Sequence[Path], target: Path) -> None:
    """Code all of them on a canvas of the first one's size, at its rate."""
    with opened(parts[0]) as (source, stream):
        canvas, comment = Canvas.like(stream), _comment(source)
    with written(target, comment) as output:
        coder = Coder(output, canvas)
        sound = sound_track(output, parts, one_by_one=True)
        for path in parts:
            sound.play([path], coder.seconds)
            for frame in fitted(path, canvas):
                with storage_errors(target):
                    coder.add(frame)
                    sound.write_until(coder.seconds)
        with storage_errors(target):
            coder.finish()
            sound.finish(coder.seconds)


def _comment(source: InputContainer) -> str | None:
    """A file's comment; in the emulator's files it says that no model made them."""
    return source.metadata.get("comment")


def place_side_by_side(parts: Sequence[Path], names: Sequence[str], target: Path) -> None:
    """Make one video that plays MP4 files beside each other, in one row or several.

    All cells have one size; a video of another shape gets bars. The rate is that of the quickest
    one, the length that of the longest; the others keep showing their last picture. Their sounds
    are heard all at once, in AAC.

    Args:
        parts: The files, from left to right; at least two.
        names: The text above each.
        target: The file to make; nobody should read it before this returns.

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
        raise ValueError("It takes at least two files, and a name for each.")
    with ExitStack() as stack:
        opens = [stack.enter_context(opened(path)) for path in parts]
        screen = _Screen([stream for _, stream in opens], names)
        with written(target, opens[0][0].metadata.get("comment")) as output:
            coder = Coder(output, screen.canvas)
            sound = sound_track(output, parts, one_by_one=False)
            sound.play(parts, 0.0)
            for frame in screen.show([container for container, _ in opens]):
                with storage_errors(target):
                    coder.add(frame)
                    sound.write_until(coder.seconds)
            with storage_errors(target):
                coder.finish()
                sound.finish(coder.seconds)


def columns_for(number: int) -> int:
    """How many of some pictures stand in a row.

    Example:
        >>> [columns_for(number) for number in (2, 3, 4, 5, 6, 9, 10)]
        [2, 3, 2, 3, 3, 3, 4]
    """
    return number if number <= 3 else math.ceil(math.sqrt(number))


class _Screen:
    """A graph of filters that takes videos and gives pictures that show all of them.

    Args:
        streams: The videos.
        names: The text above each.
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
        """The pictures, as many as the longest video has."""
        for begin, name in zip(self._name_begins, self._names, strict=True):
            begin.push(name)
            begin.push(None)
        timed = [_timed(number, each) for number, each in enumerate(containers)]
        # By time, because the graph holds back pictures that are ahead of the others.
        for _, number, frame in heapq.merge(*timed, key=itemgetter(0, 1)):
            self._begins[number].push(frame)
            yield from pulled(self._sink)

    def _add_picture(self, picture: VideoFrame) -> FilterContext:
        tick = Fraction(1, 1000)
        size = (picture.width, picture.height)
        return self._graph.add_buffer(None, *size, format=picture.format, time_base=tick)

    def _cell(self, number: int, cell: Canvas, name_height: int) -> FilterContext:
        """A video on its canvas, with its name above; the name's one picture stays."""
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
    """The canvas of one video: as wide as there is room, and as high as the highest needs."""
    own = [Canvas.like(stream) for stream in streams]
    width = even(WIDTH / columns)
    height = even(max(width * each.height / each.width for each in own))
    return Canvas(width, height, max(each.rate for each in own), any(each.is_hd for each in own))


def draw_name(name: str, width: int, height: int) -> Image:
    """A name on a strip, in letters as large as fit.

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
    # Not the frame's own: from PyAV 19 on, it has threads, and they hang a forked child.
    frame = VideoReformatter().reformat(drawn, format="yuv420p")
    frame.pts = 0
    return frame


@dataclass(frozen=True)
class Canvas:
    """The size, rate and colours of a new video's pictures.

    Args:
        width: Pixels, even.
        height: Pixels, even.
        rate: Pictures a second.
        is_hd: Whether colours are coded as for HD. From another size, players would guess wrong.
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
    """The nearest size that H.264 can code in its usual format: an even number.

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
        canvas: The size and rate of its pictures.
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

    @property
    def seconds(self) -> float:
        """How long it is by now."""
        return float(self._count * self._tick)

    def add(self, frame: VideoFrame) -> None:
        """Code the next picture."""
        frame.pts, frame.time_base = self._count, self._tick
        frame.pict_type = 0  # the kind that it had in another video does not count
        self._output.mux(self._stream.encode(frame))
        self._count += 1

    def finish(self) -> None:
        """Code the pictures that the coder held back."""
        self._output.mux(self._stream.encode(None))


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


def fit(graph: Graph, begin: FilterContext, canvas: Canvas) -> FilterContext:
    """Add filters that bring a video's pictures onto a canvas, with bars where needed.

    Args:
        graph: The graph.
        begin: Where the pictures come from.
        canvas: Their new size and rate.

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


@contextmanager
def written(target: Path, comment: str | None = None) -> Iterator[OutputContainer]:
    """An MP4 file to write; at the end, its index is moved to the front.

    Raises:
        StorageError: It cannot be written.
    """
    import av

    with storage_errors(target):
        output = av.open(str(target), "w", format="mp4", options={"movflags": "faststart"})
    try:
        if comment:
            output.metadata["comment"] = comment
        yield output
    except BaseException:
        with suppress(Exception):
            output.close()
        raise
    with storage_errors(target):
        output.close()


@contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn FFmpeg's errors about a file that it writes into a StorageError."""
    import av

    try:
        yield
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"{target} cannot be written: {reason}.") from error
