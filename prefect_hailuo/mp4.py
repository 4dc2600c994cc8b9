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
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise, repeat
from pathlib import Path
from typing import BinaryIO

from prefect_hailuo.boxes import Box, Reader, boxes, entries, find
from prefect_hailuo.errors import DownloadError
from prefect_hailuo.measures import Probe, read_measures

MOST_MOOV_BYTES = 64 * 1024 * 1024
"""The longest `moov` that is walked; that of a six-second video has some kilobytes."""

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
        examine_mp4(file)


def examine_mp4(file: BinaryIO) -> Probe | None:
    """Refuse an open file that is not a complete MP4 video, as `check_mp4` does.

    Returns:
        Its measures, where its boxes say them plainly.

    Raises:
        DownloadError: It is no MP4, or not all of it is there.
        OSError: The file cannot be read.
    """
    reader = Reader(file, file.seek(0, os.SEEK_END))
    _check_beginning(reader)
    contents = _Contents()
    for box in boxes(reader, Box("", 0, 0, reader.size)):
        contents.note(box)
    moov = contents.complete_moov()
    _check_movie(reader, moov, fragmented=contents.fragmented)
    return None if contents.fragmented else read_measures(reader, moov)


def _check_beginning(reader: Reader) -> None:
    # Before any size is believed: that of an error page would be nonsense.
    if not reader.size:
        raise DownloadError("The file is empty.")
    beginning = reader.read(0, min(16, reader.size))
    if beginning[4:8].decode("latin-1") not in PADDING | {"ftyp"}:
        raise DownloadError(f"The file is not an MP4: it begins with {beginning!r}.")


@dataclass
class _Contents:
    """What the row of a file's own boxes amounts to."""

    branded: bool = False
    moov: Box | None = None
    media_bytes: int = 0
    open_ended: bool = False
    fragmented: bool = False
    bare_fragment: bool = False

    def note(self, box: Box) -> None:
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

    def _note_moov(self, box: Box) -> None:
        if self.moov:
            raise DownloadError(f"{box.name} is the second of its kind.")
        if box.end - box.start > MOST_MOOV_BYTES:
            raise DownloadError(f"{box.name} has more than {MOST_MOOV_BYTES:,} bytes.")
        self.moov = box

    def complete_moov(self) -> Box:
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


def _check_movie(reader: Reader, moov: Box, *, fragmented: bool) -> None:
    """Check every track; one at least must show pictures."""
    tracks = [_check_track(reader, box) for box in boxes(reader, moov) if box.type == "trak"]
    pictures = [samples for handler, samples in tracks if handler == b"vide"]
    if not pictures:
        raise DownloadError(f"{moov.name} describes no video track.")
    if not any(pictures) and not fragmented:
        raise DownloadError("The video track has no pictures.")


def _check_track(reader: Reader, track: Box) -> tuple[bytes, int]:
    """Check that all of a track is in the file; its handler and how many samples it has."""
    mdia = find(track, list(boxes(reader, track)), "mdia")
    parts = list(boxes(reader, mdia))
    hdlr, minf = find(mdia, parts, "hdlr"), find(mdia, parts, "minf")
    handler = reader.number(hdlr, hdlr.body + 8).to_bytes(4, "big")
    return handler, _check_chunks(reader, find(minf, list(boxes(reader, minf)), "stbl"))


def _check_chunks(reader: Reader, stbl: Box) -> int:
    """Check that every chunk of a track ends inside the file; how many samples they have."""
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
    """How many samples each chunk has: the table names the chunks at which that changes."""
    runs = entries(reader, stsc, stsc.body + 8, ">III")
    beyond = (2**32, 0, 0)
    for (first, samples, _), (following, _, _) in pairwise(chain(runs, [beyond])):
        yield from repeat(samples, following - first)


@dataclass
class _Samples:
    """The sizes of a track's samples, handed out in order; all alike when there is no list."""

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
        # The rare table of sizes of 4 to 16 bits: that the chunks begin in the file must do.
        return _Samples(table, count, 0)
    sizes = None if each else chain.from_iterable(entries(reader, table, first, ">I"))
    return _Samples(table, count, each, sizes)
