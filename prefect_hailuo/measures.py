"""A video's measures, read from the boxes that describe it.

It takes a tenth of the time that PyAV does, which looks at pictures too, and needs no extra. What
comes out is the same; where it might not be, nothing does, and PyAV may be asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from prefect_hailuo.boxes import Box, Reader, boxes, child, entries, find
from prefect_hailuo.errors import DownloadError

MICROSECONDS = 1_000_000
"""In a second; FFmpeg rounds lengths to these."""

CODECS = {
    "avc1": "h264",
    "avc3": "h264",
    "hvc1": "hevc",
    "hev1": "hevc",
    "av01": "av1",
    "vp09": "vp9",
}
"""Kinds of pictures as a file names them, and as FFmpeg does."""

WIDTH_AT, HEIGHT_AT = 32, 34
"""Where the entry of `stsd` holds a picture's size, in bytes (ISO/IEC 14496-12, section 12.1.3)."""


@dataclass(frozen=True)
class Probe:
    """What a video file says of itself.

    Args:
        width: Pixels.
        height: Pixels.
        duration_seconds: Seconds; 0 when the file does not say.
        frames_per_second: Frames per second, on average; 0 when the file does not say.
        codec: How the pictures are coded, in FFmpeg's words: `h264`, `hevc`, `av1`.

    Example:
        >>> Probe(1920, 1080, 6.0, 24.0, "h264").codec
        'h264'
    """

    width: int
    height: int
    duration_seconds: float
    frames_per_second: float
    codec: str


def read_measures(reader: Reader, moov: Box) -> Probe | None:
    """The measures of a file's first video track.

    Args:
        reader: The file.
        moov: Its description.

    Returns:
        None where the boxes do not say them plainly.
    """
    try:
        return _read_measures(reader, moov)
    except DownloadError:
        return None  # what is not needed to show the video may be missing


def _read_measures(reader: Reader, moov: Box) -> Probe | None:
    parts = list(boxes(reader, moov))
    if any(part.type == "mvex" for part in parts):
        return None  # its length is the fragments'
    movie = _times(reader, find(moov, parts, "mvhd"))
    for part in parts:
        if part.type == "trak":
            mdia = child(reader, part, "mdia")
            if reader.read(child(reader, mdia, "hdlr").body + 8, 4) == b"vide":
                return _measures(reader, mdia, movie, _shown(reader, part))
    return None


def _measures(reader: Reader, mdia: Box, movie: _Times, shown: int | None) -> Probe | None:
    stbl = child(reader, child(reader, mdia, "minf"), "stbl")
    stsd = child(reader, stbl, "stsd")
    timescale = _times(reader, child(reader, mdia, "mdhd")).timescale
    frames, ticks = _frames(reader, child(reader, stbl, "stts"))
    entry = stsd.body + 8
    codec = CODECS.get(reader.read(entry + 4, 4).decode("latin-1"))
    width = reader.number(stsd, entry + WIDTH_AT, 2)
    height = reader.number(stsd, entry + HEIGHT_AT, 2)
    several = reader.number(stsd, stsd.body + 4) != 1
    if several or not (codec and width and height and ticks and timescale and movie.timescale):
        return None
    most = ticks if shown is None else shown * timescale // movie.timescale
    seconds = _seconds(movie, _Times(timescale, ticks), most)
    return Probe(width, height, seconds, timescale * frames / ticks, codec)


class _Times(NamedTuple):
    """A length, and how many of its ticks make a second."""

    timescale: int
    ticks: int

    @property
    def seconds(self) -> float:
        """The length, rounded as FFmpeg does."""
        doubled = 2 * self.ticks * MICROSECONDS + self.timescale
        return doubled // (2 * self.timescale) / MICROSECONDS


def _seconds(movie: _Times, pictures: _Times, most: int) -> float:
    """How long it lasts: as long as its pictures, unless its sound is longer.

    The whole is measured in coarse ticks, the pictures in fine ones, of which `most` are shown:
    the edit list may end inside the last picture.
    """
    if movie.seconds > pictures.seconds + 1 / movie.timescale:
        return movie.seconds
    return pictures._replace(ticks=min(pictures.ticks, most)).seconds


def _times(reader: Reader, header: Box) -> _Times:
    """What `mvhd` or `mdhd` says."""
    wide = reader.number(header, header.body, 1) == 1
    at = header.body + (20 if wide else 12)
    return _Times(reader.number(header, at), reader.number(header, at + 4, 8 if wide else 4))


def _shown(reader: Reader, trak: Box) -> int | None:
    """How much of a track is shown, in the movie's ticks; None where all of it is.

    Raises:
        DownloadError: It is shown in several pieces.
    """
    edts = [box for box in boxes(reader, trak) if box.type == "edts"]
    if not edts:
        return None
    elst = child(reader, edts[0], "elst")
    if reader.number(elst, elst.body + 4) != 1:
        raise DownloadError(f"{elst.name} has several edits.")
    wide = reader.number(elst, elst.body, 1) == 1
    return reader.number(elst, elst.body + 8, 8 if wide else 4)


def _frames(reader: Reader, stts: Box) -> tuple[int, int]:
    """How many frames a track has, and how many ticks they last."""
    frames = ticks = 0
    for count, each in entries(reader, stts, stts.body + 8, ">II"):
        frames += count
        ticks += count * each
    return frames, ticks
