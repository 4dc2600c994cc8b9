"""Whether a file is a complete MP4, told from its boxes and without decoding.

An MP4 is a row of boxes, each a size, a type of four characters and a payload
(ISO/IEC 14496-12, section 4.2). `moov` describes the tracks, its tables say at
which byte of the file every chunk of pictures or sound begins, and `mdat` holds
them. The file is complete when no box runs past its end, none that is needed is
missing, and every chunk that the tables name lies inside it.

What boxes cannot tell: whether a byte within them was changed (the download's
length and hash are for that), and whether a fragmented file (`moof`) was cut
between two of its fragments.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise, repeat
from pathlib import Path
from typing import BinaryIO, NamedTuple

from prefect_hailuo.errors import DownloadError

MOST_MOOV_BYTES = 64 * 1024 * 1024
"""The longest `moov` that is walked; that of a six-second video has some kilobytes."""

MOST_BOXES = 100_000
"""How many boxes are looked at in one file, so that a hostile one cannot hold the walk up."""

BLOCK_BYTES = 64 * 1024
"""How much of a table is held in memory at a time, at most."""

PADDING = frozenset({"free", "skip", "wide"})
"""Boxes that mean nothing; some writers put one before `ftyp`."""


def check_mp4(path: Path) -> None:
    """Refuse a file that is not a complete MP4 video.

    It reads boxes and tables only, a block at a time: no file takes much memory. Call it from a
    worker thread, for it waits for the disk.

    Args:
        path: The file.

    Raises:
        DownloadError: It is no MP4, or not all of it is there; the message says what is wrong
            and at which byte.
        OSError: The file cannot be opened or read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "clip.mp4")
        >>> _ = path.write_text("<!DOCTYPE html><title>502 Bad Gateway</title>")
        >>> try:
        ...     check_mp4(path)
        ... except DownloadError as error:
        ...     print(error.message)
        The file is not an MP4: it begins with b'<!DOCTYPE html><'.
    """
    with path.open("rb") as file:
        reader = _Reader(file, file.seek(0, os.SEEK_END))
        _check_beginning(reader)
        contents = _Contents()
        for box in _boxes(reader, _Box("", 0, 0, reader.size)):
            contents.note(box)
        _check_movie(reader, contents.complete_moov(), fragmented=contents.fragmented)


class _Box(NamedTuple):
    """One box; its positions are bytes from the beginning of the file."""

    type: str
    start: int
    body: int
    end: int
    open_ended: bool = False

    @property
    def name(self) -> str:
        """What a message calls it, at the beginning of a sentence."""
        return f"The {self.type!r} box at byte {self.start:,}" if self.type else "The file"


@dataclass
class _Reader:
    """The file, and how many more boxes it may have."""

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

    def number(self, box: _Box, at: int, count: int = 4) -> int:
        """The unsigned number of `count` bytes at byte `at`, which `box` must hold."""
        if at + count > box.end:
            raise DownloadError(f"{box.name} is too short for what belongs in it.")
        return int.from_bytes(self.read(at, count), "big")


def _check_beginning(reader: _Reader) -> None:
    # Before any size is believed: that of an error page would be nonsense.
    if not reader.size:
        raise DownloadError("The file is empty.")
    beginning = reader.read(0, min(16, reader.size))
    if beginning[4:8].decode("latin-1") not in PADDING | {"ftyp"}:
        raise DownloadError(f"The file is not an MP4: it begins with {beginning!r}.")


def _boxes(reader: _Reader, holder: _Box) -> Iterator[_Box]:
    """The row of boxes inside `holder`, which they must fill exactly."""
    at = holder.body
    while at < holder.end:
        reader.boxes_left -= 1
        if reader.boxes_left < 0:
            raise DownloadError(f"The file has more than {MOST_BOXES:,} boxes; no video has.")
        box = _box(reader, holder, at)
        yield box
        at = box.end


def _box(reader: _Reader, holder: _Box, at: int) -> _Box:
    """The box at byte `at`, which `holder` must hold whole."""
    kind = _type(reader, holder, at)
    size, body = reader.number(holder, at), at + 8
    if size == 1:
        size, body = reader.number(holder, at + 8, 8), at + 16
    # ISO/IEC 14496-12 lets the last box of a file run to its end; only `mdat` makes use of it.
    open_ended = size == 0 and kind == "mdat" and not holder.type
    box = _Box(kind, at, body, holder.end if open_ended else at + size, open_ended)
    if box.end < box.body:
        raise DownloadError(f"{box.name} has an impossible size: {size:,} bytes.")
    if box.end > holder.end:
        there = f"{holder.end - at:,} of {size:,} bytes are there"
        raise DownloadError(f"{holder.name} ends inside its {kind!r} box: {there}.")
    return box


def _type(reader: _Reader, holder: _Box, at: int) -> str:
    """The type of the box at byte `at`, if it is one at all."""
    if holder.end - at < 8:
        raise DownloadError(f"{holder.name} has too few bytes for a box from byte {at:,} on.")
    header = reader.read(at, 8)
    kind = header[4:].decode("latin-1")
    if not kind.isprintable():
        raise DownloadError(f"{holder.name} has no box at byte {at:,}, but {header!r}.")
    return kind


@dataclass
class _Contents:
    """What the row of a file's own boxes amounts to."""

    branded: bool = False
    moov: _Box | None = None
    media_bytes: int = 0
    open_ended: bool = False
    fragmented: bool = False
    bare_fragment: bool = False

    def note(self, box: _Box) -> None:
        """Take the next box in."""
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

    def _note_moov(self, box: _Box) -> None:
        if self.moov:
            raise DownloadError(f"{box.name} is the second of its kind.")
        if box.end - box.start > MOST_MOOV_BYTES:
            raise DownloadError(f"{box.name} has more than {MOST_MOOV_BYTES:,} bytes.")
        self.moov = box

    def complete_moov(self) -> _Box:
        """The `moov`, if nothing is missing beside it."""
        if not self.moov:
            raise DownloadError("The file has no 'moov' box, which describes its tracks.")
        if not self.media_bytes:
            raise DownloadError("The file has no 'mdat' box with anything in it.")
        if self.bare_fragment:
            raise DownloadError("The file ends before the 'mdat' box of its last fragment.")
        if self.fragmented and self.open_ended:
            raise DownloadError("The size of the file's last 'mdat' box is not given.")
        return self.moov


def _child(reader: _Reader, holder: _Box, *types: str) -> _Box:
    """The child of one of these types."""
    found = [box for box in _boxes(reader, holder) if box.type in types]
    if not found:
        raise DownloadError(f"{holder.name} has no {types[0]!r} box.")
    return found[0]


def _check_movie(reader: _Reader, moov: _Box, *, fragmented: bool) -> None:
    """Check every track; one at least must show pictures."""
    tracks = [_check_track(reader, box) for box in _boxes(reader, moov) if box.type == "trak"]
    pictures = [samples for handler, samples in tracks if handler == b"vide"]
    if not pictures:
        raise DownloadError(f"{moov.name} describes no video track.")
    if not any(pictures) and not fragmented:
        raise DownloadError("The video track has no pictures.")


def _check_track(reader: _Reader, track: _Box) -> tuple[bytes, int]:
    """Check that all of a track is in the file; its handler and how many samples it has."""
    mdia = _child(reader, track, "mdia")
    hdlr, minf = _child(reader, mdia, "hdlr"), _child(reader, mdia, "minf")
    handler = reader.number(hdlr, hdlr.body + 8).to_bytes(4, "big")
    return handler, _check_chunks(reader, _child(reader, minf, "stbl"))


def _check_chunks(reader: _Reader, stbl: _Box) -> int:
    """Check that every chunk of a track ends inside the file; how many samples they have."""
    samples = _samples(reader, _child(reader, stbl, "stsz", "stz2"))
    offsets = _offsets(reader, _child(reader, stbl, "stco", "co64"))
    counts = _samples_per_chunk(reader, _child(reader, stbl, "stsc"))
    sample_count = samples.left
    for offset, count in zip(offsets, counts, strict=False):
        end = offset + samples.take(count)
        if end > reader.size:
            raise DownloadError(f"The file has {reader.size:,} of the {end:,} bytes it speaks of.")
    if samples.left:
        raise DownloadError(f"{stbl.name} has no place for its last {samples.left:,} samples.")
    return sample_count


def _entries(reader: _Reader, table: _Box, at: int, layout: str) -> Iterator[tuple[int, ...]]:
    """A table's entries, which begin at byte `at`, right behind their number, block by block."""
    entry, count = struct.Struct(layout), reader.number(table, at - 4)
    if at + count * entry.size > table.end:
        raise DownloadError(f"{table.name} is too short for its {count:,} entries.")
    block = BLOCK_BYTES // entry.size
    for first in range(0, count, block):
        some = min(block, count - first) * entry.size
        yield from entry.iter_unpack(reader.read(at + first * entry.size, some))


def _offsets(reader: _Reader, table: _Box) -> Iterator[int]:
    """Where each chunk begins, in bytes from the beginning of the file."""
    layout = ">I" if table.type == "stco" else ">Q"
    return chain.from_iterable(_entries(reader, table, table.body + 8, layout))


def _samples_per_chunk(reader: _Reader, stsc: _Box) -> Iterator[int]:
    """How many samples each chunk has: the table names the chunks at which that changes."""
    runs = _entries(reader, stsc, stsc.body + 8, ">III")
    beyond = (2**32, 0, 0)
    for (first, samples, _), (following, _, _) in pairwise(chain(runs, [beyond])):
        yield from repeat(samples, following - first)


@dataclass
class _Samples:
    """The sizes of a track's samples, handed out in order; all alike when there is no list."""

    table: _Box
    left: int
    each: int
    sizes: Iterator[int] | None = None

    def take(self, count: int) -> int:
        """How many bytes the next `count` samples have together."""
        if count > self.left:
            raise DownloadError(f"{self.table.name} has fewer samples than the chunks need.")
        self.left -= count
        return count * self.each if self.sizes is None else sum(islice(self.sizes, count))


def _samples(reader: _Reader, table: _Box) -> _Samples:
    first = table.body + 12
    each, count = reader.number(table, first - 8), reader.number(table, first - 4)
    if table.type == "stz2":
        # The rare table of sizes of 4 to 16 bits: that the chunks begin in the file must do.
        return _Samples(table, count, 0)
    sizes = None if each else chain.from_iterable(_entries(reader, table, first, ">I"))
    return _Samples(table, count, each, sizes)
