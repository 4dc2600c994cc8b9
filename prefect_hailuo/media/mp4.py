"""Whether a file is a complete MP4, and what it measures, told from its boxes without decoding.

An MP4 is a row of boxes, each a size, a type of four characters and a payload (ISO/IEC 14496-12,
section 4.2). `moov` describes the tracks; its tables say at which byte of the file every chunk of
pictures or sound begins; `mdat` holds the chunks. The file is complete when no box runs past its
end, no required box is missing, and every chunk that the tables name lies inside it. No size is
believed: a box must fit into its holder, and the number of boxes is limited.

Boxes cannot tell whether a byte within them was changed (the download's length and hash are for
that), nor whether a fragmented file (`moof`) was cut between two of its fragments.

The measures (`Probe`) are those that PyAV reads, in a tenth of the time and without the extra
`media`. Where the boxes do not say them plainly there are none, and PyAV may be asked.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice, pairwise, repeat
from typing import Any, BinaryIO, NamedTuple

from prefect_hailuo.errors import DownloadError

MOST_BOXES = 100_000
"""How many boxes of a file are looked at, so that a hostile file cannot keep the walk going."""

BLOCK_BYTES = 64 * 1024
"""How much of a table is held in memory at a time."""

MICROSECONDS = 1_000_000
"""In a second; FFmpeg rounds lengths to microseconds."""

CODECS = {
    "avc1": "h264",
    "avc3": "h264",
    "hvc1": "hevc",
    "hev1": "hevc",
    "av01": "av1",
    "vp09": "vp9",
}
"""Codecs as a file names them, and as FFmpeg does."""

AUDIO_CODECS = {"mp4a": "aac", "ac-3": "ac3", "ec-3": "eac3", "Opus": "opus", "fLaC": "flac"}
"""The same of sound. MP4 has other sound by the name `mp4a`, too; no model makes that."""

C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""How the `uuid` box of a C2PA manifest begins, which tells where a file comes from (C2PA
specification 2.1, section A.5)."""

CHANNELS_AT, RATE_AT = 24, 32
"""Where the entry of `stsd` holds a sound's channels and rate, in bytes (ISO/IEC 14496-12, section
12.2.3)."""

WIDTH_AT, HEIGHT_AT = 32, 34
"""Where the entry of `stsd` holds a picture's size, in bytes (ISO/IEC 14496-12, section 12.1.3)."""

MOST_MOOV_BYTES = 64 * 1024 * 1024
"""The longest `moov` that is walked; a six-second video's has some kilobytes."""

PADDING = frozenset({"free", "skip", "wide"})
"""Boxes that mean nothing; some writers put one before `ftyp`."""


@dataclass(frozen=True)
class Probe:
    """A video's measures, as its file states them.

    Args:
        width: Pixels.
        height: Pixels.
        duration_seconds: Seconds; 0 when the file does not say.
        frames_per_second: Frames per second, on average; 0 when the file does not say.
        codec: How the pictures are coded, in FFmpeg's words: `h264`, `hevc`, `av1`.
        audio_codec: The same of the sound: `aac`; None without a sound track.
        audio_channels: Its channels; 0 without a sound track.
        audio_hz: Its samples a second; 0 without a sound track.
        frames: How many pictures there are; 0 when the file does not say.

    Example:
        >>> Probe(1920, 1080, 6.0, 24.0, "h264").codec
        'h264'
    """

    width: int
    height: int
    duration_seconds: float
    frames_per_second: float
    codec: str
    audio_codec: str | None = None
    audio_channels: int = 0
    audio_hz: int = 0
    frames: int = field(default=0, compare=False, repr=False)


def measures(probe: Probe) -> dict[str, Any]:
    """A video's measures as they are recorded.

    Example:
        >>> measures(Probe(1920, 1080, 6.0, 24.0, "h264"))["audio_channels"] is None
        True
    """
    told = {name: each for name, each in vars(probe).items() if name != "frames"}
    return told | {name: told[name] or None for name in ("audio_channels", "audio_hz")}


def examine_mp4(file: BinaryIO) -> Probe | None:
    """Refuse a file that is not a complete MP4 video.

    Only boxes and tables are read, a block at a time, so no file takes much memory. Call it from a
    worker thread: it waits for the disk.

    Args:
        file: The open file.

    Returns:
        Its measures; None where its boxes do not say them plainly.

    Raises:
        DownloadError: It is no MP4, or part of it is missing; the message says what is wrong and at
            which byte.
        OSError: The file cannot be read.

    Example:
        >>> from io import BytesIO
        >>> try:
        ...     examine_mp4(BytesIO(b"<!DOCTYPE html><title>502 Bad Gateway</title>"))
        ... except DownloadError as error:
        ...     print(error.message)
        The file is not an MP4: it begins with b'<!DOCTYPE html><'.
    """
    reader = Reader(file, file.seek(0, os.SEEK_END))
    _check_beginning(reader)
    contents = _Contents()
    for box in boxes(reader, Box("", 0, 0, reader.size)):
        contents.note(box)
    moov = contents.complete_moov()
    _check_movie(reader, moov, fragmented=contents.fragmented)
    return None if contents.fragmented else read_measures(reader, moov)


def has_manifest(file: BinaryIO) -> bool:
    """Whether a file carries a C2PA manifest. What the manifest says is not looked at.

    Args:
        file: The open file, an MP4.

    Raises:
        DownloadError: It is no MP4, or part of it is missing.
        OSError: The file cannot be read.
    """
    reader = Reader(file, file.seek(0, os.SEEK_END))
    top = boxes(reader, Box("", 0, 0, reader.size))
    return any(
        box.type == "uuid" and box.end - box.body >= 16 and reader.read(box.body, 16) == C2PA
        for box in top
    )


def _check_beginning(reader: Reader) -> None:
    # Before any size is believed: that of an error page would be nonsense.
    if not reader.size:
        raise DownloadError("The file is empty.")
    beginning = reader.read(0, min(16, reader.size))
    if beginning[4:8].decode("latin-1") not in PADDING | {"ftyp"}:
        raise DownloadError(f"The file is not an MP4: it begins with {beginning!r}.")


@dataclass
class _Contents:
    """What the boxes at the top level of a file amount to."""

    branded: bool = False
    moov: Box | None = None
    media_bytes: int = 0
    open_ended: bool = False
    fragmented: bool = False
    bare_fragment: bool = False

    def note(self, box: Box) -> None:
        """Note the next box."""
        match box.type:
            case "ftyp":
                self.branded = True
            case "moov":
                self._note_moov(box)
            case "moof":
                self.fragmented = self.bare_fragment = True
            case "mdat":
                self.media_bytes += box.end - box.body
                self.open_ended = box.open_ended
                self.bare_fragment = False
        if not self.branded and box.type not in PADDING:
            raise DownloadError(f"{box.name} stands where the 'ftyp' box belongs.")

    def _note_moov(self, box: Box) -> None:
        if self.moov:
            raise DownloadError(f"{box.name} is the second of its kind.")
        if box.end - box.start > MOST_MOOV_BYTES:
            raise DownloadError(f"{box.name} has more than {MOST_MOOV_BYTES:,} bytes.")
        self.moov = box

    def complete_moov(self) -> Box:
        """The `moov`, if nothing else is missing."""
        if not self.moov:
            raise DownloadError("The file has no 'moov' box, which describes its tracks.")
        if not self.media_bytes:
            raise DownloadError("The file has no 'mdat' box with anything in it.")
        if self.bare_fragment:
            raise DownloadError("The file ends before the 'mdat' box of its last fragment.")
        if self.fragmented and self.open_ended:
            raise DownloadError("The size of the file's last 'mdat' box is not given.")
        return self.moov


def _check_movie(reader: Reader, moov: Box, *, fragmented: bool) -> None:
    """Check every track; at least one must show pictures."""
    tracks = [_check_track(reader, box) for box in boxes(reader, moov) if box.type == "trak"]
    pictures = [samples for handler, samples in tracks if handler == b"vide"]
    if not pictures:
        raise DownloadError(f"{moov.name} describes no video track.")
    if not any(pictures) and not fragmented:
        raise DownloadError("The video track has no pictures.")


def _check_track(reader: Reader, track: Box) -> tuple[bytes, int]:
    """Check that all of a track is in the file; return its handler and its number of samples."""
    mdia = find(track, list(boxes(reader, track)), "mdia")
    parts = list(boxes(reader, mdia))
    hdlr, minf = find(mdia, parts, "hdlr"), find(mdia, parts, "minf")
    handler = reader.number(hdlr, hdlr.body + 8).to_bytes(4, "big")
    return handler, _check_chunks(reader, find(minf, list(boxes(reader, minf)), "stbl"))


def _check_chunks(reader: Reader, stbl: Box) -> int:
    """Check that every chunk of a track ends inside the file; return their number of samples."""
    tables = list(boxes(reader, stbl))
    samples = _samples(reader, find(stbl, tables, "stsz", "stz2"))
    offsets = _offsets(reader, find(stbl, tables, "stco", "co64"))
    counts = _samples_per_chunk(reader, find(stbl, tables, "stsc"))
    sample_count = samples.left
    for offset, count in zip(offsets, counts, strict=False):
        end = offset + samples.take(count)
        if end > reader.size:
            raise DownloadError(f"The file has {reader.size:,} of the {end:,} bytes it speaks of.")
    if samples.left:
        raise DownloadError(f"{stbl.name} has no place for its last {samples.left:,} samples.")
    return sample_count


def _offsets(reader: Reader, table: Box) -> Iterator[int]:
    """Where each chunk begins, in bytes from the beginning of the file."""
    layout = ">I" if table.type == "stco" else ">Q"
    return chain.from_iterable(entries(reader, table, table.body + 8, layout))


def _samples_per_chunk(reader: Reader, stsc: Box) -> Iterator[int]:
    """How many samples each chunk has. The table names the chunks at which that changes."""
    runs = entries(reader, stsc, stsc.body + 8, ">III")
    beyond = (2**32, 0, 0)
    for (first, samples, _), (following, _, _) in pairwise(chain(runs, [beyond])):
        yield from repeat(samples, following - first)


@dataclass
class _Samples:
    """The sizes of a track's samples, taken in order; all are alike if there is no list."""

    table: Box
    left: int
    each: int
    sizes: Iterator[int] | None = None

    def take(self, count: int) -> int:
        """How many bytes the next `count` samples have together."""
        if count > self.left:
            raise DownloadError(f"{self.table.name} has fewer samples than the chunks need.")
        self.left -= count
        return count * self.each if self.sizes is None else sum(islice(self.sizes, count))


def _samples(reader: Reader, table: Box) -> _Samples:
    first = table.body + 12
    each, count = reader.number(table, first - 8), reader.number(table, first - 4)
    if table.type == "stz2":
        # The rare table with sizes of 4 to 16 bits: only where the chunks begin is checked.
        return _Samples(table, count, 0)
    sizes = None if each else chain.from_iterable(entries(reader, table, first, ">I"))
    return _Samples(table, count, each, sizes)


def read_measures(reader: Reader, moov: Box) -> Probe | None:
    """The measures of a file's first video track.

    Args:
        reader: The file.
        moov: Its description.

    Returns:
        None if the boxes do not say them plainly.
    """
    try:
        return _read_measures(reader, moov)
    except DownloadError:
        return None  # a box that is not needed to show the video may be missing


def _read_measures(reader: Reader, moov: Box) -> Probe | None:
    parts = list(boxes(reader, moov))
    if any(part.type == "mvex" for part in parts):
        return None  # only the fragments tell its length
    movie = _times(reader, find(moov, parts, "mvhd"))
    tracks: dict[bytes, tuple[Box, Box]] = {}
    for part in parts:
        if part.type == "trak":
            mdia = child(reader, part, "mdia")
            handler = reader.read(child(reader, mdia, "hdlr").body + 8, 4)
            tracks.setdefault(handler, (part, mdia))
    if b"vide" not in tracks:
        return None
    track, mdia = tracks[b"vide"]
    seen = _measures(reader, mdia, movie, _shown(reader, track))
    if seen is None or b"soun" not in tracks:
        return seen
    return replace(seen, **_sound(reader, tracks[b"soun"][1]))


def _sound(reader: Reader, mdia: Box) -> dict[str, Any]:
    """How a track's sound is coded."""
    stsd = child(reader, child(reader, child(reader, mdia, "minf"), "stbl"), "stsd")
    entry = stsd.body + 8
    name = reader.read(entry + 4, 4).decode("latin-1")
    return {
        "audio_codec": AUDIO_CODECS.get(name, name),
        "audio_channels": reader.number(stsd, entry + CHANNELS_AT, 2),
        "audio_hz": reader.number(stsd, entry + RATE_AT, 4) >> 16,
    }


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
    rate = timescale * frames / ticks
    return Probe(width, height, seconds, rate, codec, frames=frames)


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
    """How long the video lasts: as long as its pictures, unless its sound is longer.

    The movie is measured in coarse ticks, the pictures in fine ones. `most` fine ticks are shown:
    the edit list may end inside the last picture.
    """
    if movie.seconds > pictures.seconds + 1 / movie.timescale:
        return movie.seconds
    return pictures._replace(ticks=min(pictures.ticks, most)).seconds


def _times(reader: Reader, header: Box) -> _Times:
    """The length that `mvhd` or `mdhd` states."""
    wide = reader.number(header, header.body, 1) == 1
    at = header.body + (20 if wide else 12)
    return _Times(reader.number(header, at), reader.number(header, at + 4, 8 if wide else 4))


def _shown(reader: Reader, trak: Box) -> int | None:
    """How much of a track is shown, in the movie's ticks; None if all of it is.

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


class Box(NamedTuple):
    """One box; its positions are bytes from the beginning of the file."""

    type: str
    start: int
    body: int
    end: int
    open_ended: bool = False

    @property
    def name(self) -> str:
        """Its name at the beginning of a message."""
        return f"The {self.type!r} box at byte {self.start:,}" if self.type else "The file"


@dataclass
class Reader:
    """Reads the file, and counts how many more boxes it may have."""

    file: BinaryIO
    size: int
    boxes_left: int = MOST_BOXES

    def read(self, at: int, count: int) -> bytes:
        """`count` bytes from byte `at` on, never fewer."""
        self.file.seek(at)
        data = self.file.read(count)
        if len(data) < count:
            raise DownloadError("The file was cut short while it was being read.")
        return data

    def number(self, box: Box, at: int, count: int = 4) -> int:
        """The unsigned number of `count` bytes at byte `at`, which `box` must hold."""
        if at + count > box.end:
            raise DownloadError(f"{box.name} is too short for what belongs in it.")
        return int.from_bytes(self.read(at, count), "big")


def boxes(reader: Reader, holder: Box) -> Iterator[Box]:
    """The row of boxes inside `holder`; they must fill it exactly."""
    at = holder.body
    while at < holder.end:
        reader.boxes_left -= 1
        if reader.boxes_left < 0:
            raise DownloadError(f"The file has more than {MOST_BOXES:,} boxes; no video has.")
        box = _box(reader, holder, at)
        yield box
        at = box.end


def _box(reader: Reader, holder: Box, at: int) -> Box:
    """The box at byte `at`; it must fit into `holder`."""
    size, kind = _header(reader, holder, at)
    body = at + 8
    if size == 1:
        size, body = reader.number(holder, at + 8, 8), at + 16
    # ISO/IEC 14496-12 lets the last box of a file run to its end; only `mdat` does so.
    open_ended = size == 0 and kind == "mdat" and not holder.type
    box = Box(kind, at, body, holder.end if open_ended else at + size, open_ended)
    if box.end < box.body:
        raise DownloadError(f"{box.name} has an impossible size: {size:,} bytes.")
    if box.end > holder.end:
        there = f"{holder.end - at:,} of {size:,} bytes are there"
        raise DownloadError(f"{holder.name} ends inside its {kind!r} box: {there}.")
    return box


def _header(reader: Reader, holder: Box, at: int) -> tuple[int, str]:
    """The size and the type of the box at byte `at`."""
    if holder.end - at < 8:
        raise DownloadError(f"{holder.name} has too few bytes for a box from byte {at:,} on.")
    header = reader.read(at, 8)
    kind = header[4:].decode("latin-1")
    if not kind.isprintable():
        raise DownloadError(f"{holder.name} has no box at byte {at:,}, but {header!r}.")
    return int.from_bytes(header[:4], "big"), kind


def find(holder: Box, among: list[Box], *types: str) -> Box:
    """The first child of one of these types, among the holder's children."""
    for box in among:
        if box.type in types:
            return box
    raise DownloadError(f"{holder.name} has no {types[0]!r} box.")


def child(reader: Reader, holder: Box, kind: str) -> Box:
    """The first child of a type."""
    return find(holder, list(boxes(reader, holder)), kind)


def entries(reader: Reader, table: Box, at: int, layout: str) -> Iterator[tuple[int, ...]]:
    """A table's entries, block by block. They begin at byte `at`, right after their number."""
    entry, count = struct.Struct(layout), reader.number(table, at - 4)
    if at + count * entry.size > table.end:
        raise DownloadError(f"{table.name} is too short for its {count:,} entries.")
    block = BLOCK_BYTES // entry.size
    for first in range(0, count, block):
        some = min(block, count - first) * entry.size
        yield from entry.iter_unpack(reader.read(at + first * entry.size, some))
