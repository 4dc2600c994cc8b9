"""The boxes that an MP4 is made of: a size, a type of four characters, and a payload.

So says ISO/IEC 14496-12, section 4.2. Reading them never believes a size: no box may run past
what holds it, and no file has boxes without end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from prefect_hailuo.errors import DownloadError

MOST_BOXES = 100_000
"""How many boxes are looked at in one file, so that a hostile one cannot hold the walk up."""

BLOCK_BYTES = 64 * 1024
"""How much of a table is held in memory at a time, at most."""


class Box(NamedTuple):
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
class Reader:
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

    def number(self, box: Box, at: int, count: int = 4) -> int:
        """The unsigned number of `count` bytes at byte `at`, which `box` must hold."""
        if at + count > box.end:
            raise DownloadError(f"{box.name} is too short for what belongs in it.")
        return int.from_bytes(self.read(at, count), "big")


def boxes(reader: Reader, holder: Box) -> Iterator[Box]:
    """The row of boxes inside `holder`, which they must fill exactly."""
    at = holder.body
    while at < holder.end:
        reader.boxes_left -= 1
        if reader.boxes_left < 0:
            raise DownloadError(f"The file has more than {MOST_BOXES:,} boxes; no video has.")
        box = _box(reader, holder, at)
        yield box
        at = box.end


def _box(reader: Reader, holder: Box, at: int) -> Box:
    """The box at byte `at`, which `holder` must hold whole."""
    size, kind = _header(reader, holder, at)
    body = at + 8
    if size == 1:
        size, body = reader.number(holder, at + 8, 8), at + 16
    # ISO/IEC 14496-12 lets the last box of a file run to its end; only `mdat` makes use of it.
    open_ended = size == 0 and kind == "mdat" and not holder.type
    box = Box(kind, at, body, holder.end if open_ended else at + size, open_ended)
    if box.end < box.body:
        raise DownloadError(f"{box.name} has an impossible size: {size:,} bytes.")
    if box.end > holder.end:
        there = f"{holder.end - at:,} of {size:,} bytes are there"
        raise DownloadError(f"{holder.name} ends inside its {kind!r} box: {there}.")
    return box


def _header(reader: Reader, holder: Box, at: int) -> tuple[int, str]:
    """The size and the type of the box at byte `at`, if it is one at all."""
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
    """A table's entries, which begin at byte `at`, right behind their number, block by block."""
    entry, count = struct.Struct(layout), reader.number(table, at - 4)
    if at + count * entry.size > table.end:
        raise DownloadError(f"{table.name} is too short for its {count:,} entries.")
    block = BLOCK_BYTES // entry.size
    for first in range(0, count, block):
        some = min(block, count - first) * entry.size
        yield from entry.iter_unpack(reader.read(at + first * entry.size, some))
