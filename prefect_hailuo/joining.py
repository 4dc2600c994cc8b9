"""Videos joined into one, one after the other: their pictures copied as they are where that can be.

What is not copied is coded once more, which takes time and a little of the picture, and it is said
why. Either way one picture after the other passes through, however long the videos are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prefect_hailuo.coding import Canvas, Coder, blaming, fitted, rate_of, written
from prefect_hailuo.media import opened, require_media

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream


class Form(NamedTuple):
    """What has to agree for coded pictures to stand in one track.

    Args:
        codec: How they are coded, in FFmpeg's words.
        parameters: What the decoder is told before the first of them.
        width: Pixels.
        height: Pixels.
        colours: The format of a pixel, such as `yuv420p`.
        pixel_shape: Width of a pixel by its height.
        rate: Pictures a second.
        tick: Seconds, in which times are counted.
    """

    codec: str
    parameters: bytes
    width: int
    height: int
    colours: str
    pixel_shape: Fraction
    rate: Fraction
    tick: Fraction


class UncopyableError(Exception):
    """Why pictures cannot be copied as they are."""


def join_files(parts: Sequence[Path], target: Path) -> str | None:
    """Join MP4 files into one. Their sound is left out: Hailuo makes none.

    The coded pictures are copied as they are where codec, its parameters, size, rate and time base
    agree, as they do for videos of one model. Otherwise all are coded once more, in H.264, with the
    first one's size and rate; what is of another shape gets bars.

    Args:
        parts: The files, in their order.
        target: The file to make; nobody should see it before this returns.

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


def form_of(path: Path) -> Form:
    """What has to agree with the others for a file's pictures to be copied."""
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
        for packet in _in_a_row(parts):
            packet.stream = track
            with blaming(target):
                output.mux(packet)


def _in_a_row(parts: Sequence[Path]) -> Iterator[Packet[VideoStream]]:
    """The parts' coded pictures, each part's times after the ones before."""
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
            yield packet


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
    """Show all of them on a canvas of the first one's size, at its rate."""
    with opened(parts[0]) as (source, stream):
        canvas, comment = Canvas.like(stream), _comment(source)
    with written(target, comment) as output:
        coder = Coder(output, canvas)
        for path in parts:
            for frame in fitted(path, canvas):
                with blaming(target):
                    coder.add(frame)
        with blaming(target):
            coder.finish()


def _comment(source: InputContainer) -> str | None:
    """What a file says of itself; the emulator's say that no model made them."""
    return source.metadata.get("comment")
