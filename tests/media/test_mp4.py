"""Whether a file is a complete MP4, told from its boxes."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_hailuo.errors import Billed, DownloadError
from prefect_hailuo.media.mp4 import MOST_BOXES, MOST_MOOV_BYTES, examine_mp4

INDEX_LAST, INDEX_FIRST = "", "faststart"
ONE_FRAGMENT, MANY_FRAGMENTS = "frag_keyframe+empty_moov", "frag_every_frame"

Check = Callable[[bytes], None]


def check_file(path: Path) -> None:
    """Check a file on the disk."""
    with path.open("rb") as file:
        examine_mp4(file)


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Writes bytes to a file, and checks that."""
    path = tmp_path_factory.mktemp("mp4") / "clip.mp4"

    def write_and_check(content: bytes) -> None:
        path.write_bytes(content)
        check_file(path)

    return write_and_check


@cache
def clip(movflags: str, media: str = "video") -> bytes:
    """A small real clip, as FFmpeg writes it."""
    with TemporaryDirectory() as folder:
        path, options = Path(folder, "clip.mp4"), {"movflags": movflags} if movflags else {}
        with av.open(str(path), "w", options=options) as container:
            streams: list[tuple[Any, list[Any]]] = []
            if "video" in media:
                streams.append((container.add_stream("libx264", rate=24), greys()))
            if "audio" in media:
                streams.append((container.add_stream("aac", rate=8000), [silence()]))
            for stream, frames in streams:
                for frame in [*frames, None]:
                    container.mux(stream.encode(frame))
        return path.read_bytes()


def greys() -> list[av.VideoFrame]:
    frames = [av.VideoFrame(640, 480, "yuv420p") for _ in range(5)]
    for shade, frame in enumerate(frames):
        for plane in frame.planes:
            plane.update(bytes([50 * shade]) * plane.buffer_size)
    return frames


def silence() -> av.AudioFrame:
    frame = av.AudioFrame("fltp", "stereo", 1024)
    frame.sample_rate = 8000
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def box(kind: str, *payload: bytes) -> bytes:
    content = b"".join(payload)
    return struct.pack(">I", 8 + len(content)) + kind.encode() + content


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


FTYP = box("ftyp", b"isom", numbers(0))
MEDIA_AT = len(FTYP) + 8


def movie(*tables: bytes, media: bytes = bytes(100), handler: bytes = b"vide") -> bytes:
    """The smallest file with these tables; its media begins at byte 24."""
    minf = box("minf", box("stbl", *tables))
    mdia = box("mdia", box("hdlr", numbers(0, 0), handler), minf)
    return FTYP + box("mdat", media) + box("moov", box("trak", mdia))


def stco(*offsets: int) -> bytes:
    return box("stco", numbers(0, len(offsets), *offsets))


def stsz(*sizes: int) -> bytes:
    return box("stsz", numbers(0, 0, len(sizes), *sizes))


def stsc(*runs: tuple[int, int]) -> bytes:
    entries = (numbers(first, samples, 1) for first, samples in runs)
    return box("stsc", numbers(0, len(runs)), *entries)


TABLES = (stco(MEDIA_AT), stsz(100), stsc((1, 1)))


def accepted_cuts(content: bytes, folder: Path) -> list[int]:
    """After which of its bytes a file can be cut, and is still taken for complete."""
    path, cuts = folder / "cut.mp4", []
    path.write_bytes(content)
    for length in reversed(range(len(content))):
        os.truncate(path, length)
        try:
            check_file(path)
        except DownloadError:
            continue
        cuts.append(length)
    return sorted(cuts)


def with_open_end(content: bytes) -> bytes:
    """The file with its last `mdat` box said to run to the end."""
    at = content.rindex(b"mdat") - 4
    assert at + int.from_bytes(content[at : at + 4], "big") == len(content)
    return content[:at] + numbers(0) + content[at + 4 :]


@pytest.mark.parametrize("media", ["video", "video and audio"])
@pytest.mark.parametrize("movflags", [INDEX_LAST, INDEX_FIRST, ONE_FRAGMENT, MANY_FRAGMENTS])
def test_a_complete_file_is_accepted(check: Check, movflags: str, media: str) -> None:
    """A whole file passes, however FFmpeg arranged it."""
    check(clip(movflags, media))


@pytest.mark.parametrize("media", ["video", "video and audio"])
@pytest.mark.parametrize("movflags", [INDEX_LAST, INDEX_FIRST])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, movflags: str, media: str) -> None:
    """Wherever a file is cut, between boxes too, it is refused."""
    assert accepted_cuts(clip(movflags, media), tmp_path) == []


def test_a_file_whose_media_has_no_size_is_held_against_its_index(
    check: Check, tmp_path: Path
) -> None:
    """Where `mdat` runs "to the end", the index still says where that is."""
    content = with_open_end(clip(INDEX_FIRST))
    check(content)
    assert accepted_cuts(content, tmp_path) == []
    with pytest.raises(DownloadError, match=f"has {len(content) - 1:,} of the {len(content):,}"):
        check(content[:-1])


def test_a_fragment_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """Of a file in one fragment, only the optional index at the very end can be missing."""
    content = clip(ONE_FRAGMENT)
    assert accepted_cuts(content, tmp_path) == [content.rindex(b"mfra") - 4]


def test_a_cut_between_fragments_is_beyond_what_boxes_tell(tmp_path: Path) -> None:
    """A file in many fragments is a whole file after each: the download's length must tell."""
    content = clip(MANY_FRAGMENTS)
    fragments = content.split(b"moof")
    ends = [sum(map(len, fragments[: n + 1])) + 4 * n - 4 for n in range(len(fragments))]
    assert accepted_cuts(content, tmp_path) == [*ends[:-1], content.rindex(b"mfra") - 4]


def test_the_message_says_how_much_is_there(check: Check) -> None:
    """A broken download is told by the box that it broke off in, and by how much is there."""
    content = FTYP + box("mdat", bytes(4_999_992))
    with pytest.raises(DownloadError) as caught:
        check(content[: len(FTYP) + 1_048_576])
    there = "1,048,576 of 5,000,000 bytes are there"
    assert caught.value.message == f"The file ends inside its 'mdat' box: {there}."
    assert caught.value.billed is Billed.YES
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>502 Bad Gateway</title>", "not an MP4: it begins with b'<!DOC"),
        (b'{"detail": "Not found"}', "not an MP4: it begins with"),
        (b"ok", "not an MP4: it begins with b'ok'"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not an MP4"),
        (bytes(5000), "not an MP4"),
        (clip(INDEX_LAST)[32:], "byte 8 stands where the 'ftyp' box belongs"),
        (box("free", bytes(8)) + TABLES[0], "'stco' box at byte 16 stands where"),
        (FTYP, "no 'moov' box"),
        (FTYP + box("mdat", b"x"), "no 'moov' box"),
        (FTYP + box("moov"), "no 'mdat' box"),
        (FTYP + box("moov") + box("mdat"), "no 'mdat' box with anything in it"),
        (FTYP + box("moov") + box("mdat", b"x"), "'moov' box at byte 16 describes no video"),
        (FTYP + box("mdat", b"x") + box("moov", numbers(0) + b"mdat"), "impossible size: 0 bytes"),
        (clip(INDEX_FIRST, "audio"), "describes no video track"),
        (clip(INDEX_LAST) * 2, "'moov' box at byte .* is the second"),
        (movie(*TABLES) + box("moof"), "ends before the 'mdat' box of its last fragment"),
        (movie(*TABLES) + box("moof") + numbers(0) + b"mdat", "size of the file's last 'mdat'"),
    ],
)
def test_what_is_no_whole_video_is_refused(check: Check, content: bytes, message: str) -> None:
    """Error pages, other formats and files without one of the parts are called what they are."""
    with pytest.raises(DownloadError, match=message):
        check(content)


@pytest.mark.parametrize("movflags", [INDEX_LAST, INDEX_FIRST])
@pytest.mark.parametrize(
    ("garbage", "message"),
    [
        (b"\n", "too few bytes for a box"),
        (bytes(4), "too few bytes for a box"),
        (bytes(1000), r"no box at byte \d,\d+, but b'\\x00"),
        (b"hello, world\n" * 9, "ends inside its 'o, w' box"),
        (numbers(0) + b"free", "impossible size: 0 bytes"),
        (numbers(7) + b"free", "impossible size: 7 bytes"),
        (numbers(1) + b"free" + bytes(4), "is too short"),
        (numbers(1) + b"free" + numbers(0, 15), "impossible size: 15 bytes"),
        (numbers(1) + b"free" + numbers(2**32 - 1, 16), "ends inside its 'free' box: 16 of 18,446"),
    ],
)
def test_what_follows_a_file_must_be_boxes(
    check: Check, movflags: str, garbage: bytes, message: str
) -> None:
    """Stray bytes and boxes of absurd sizes behind a whole file are refused."""
    with pytest.raises(DownloadError, match=message):
        check(clip(movflags) + garbage)


@pytest.mark.parametrize("extra", [box("free", bytes(9)), box("uuid", bytes(40)), box("\xa9xy")])
def test_other_boxes_are_passed_over(check: Check, extra: bytes) -> None:
    """Boxes that this package knows nothing of are nobody's fault."""
    check(clip(INDEX_LAST) + extra)
    check(box("free") + clip(INDEX_LAST)[:32] + extra + movie(*TABLES, media=bytes(300))[16:])


@pytest.mark.parametrize("kind", ["trak", "mdia", "minf", "stbl", "stsz"])
@pytest.mark.parametrize("size", [0, 7, 5_000_000])
def test_boxes_inside_boxes_must_fit(check: Check, kind: str, size: int) -> None:
    """A box that is smaller than its header, or overlaps what follows its holder, is refused."""
    content = bytearray(clip(INDEX_FIRST))
    at = content.index(kind.encode()) - 4
    content[at : at + 4] = numbers(size)
    with pytest.raises(DownloadError, match=r"impossible size|ends inside its"):
        check(bytes(content))


@pytest.mark.parametrize("missing", ["mdia", "hdlr", "minf", "stbl", "stsz", "stsc", "stco"])
def test_a_track_needs_all_its_parts(check: Check, missing: str) -> None:
    """A track without one of its boxes is refused by that box's name."""
    content = clip(INDEX_FIRST).replace(missing.encode(), b"free")
    with pytest.raises(DownloadError, match=f"has no '{missing}' box"):
        check(content)


def test_sizes_of_64_bits_are_read(check: Check, tmp_path: Path) -> None:
    """A box of more than 4 GiB has its size in another place; a small one may have, too."""
    content = clip(INDEX_LAST)
    free = content.index(numbers(8) + b"free")
    size = int.from_bytes(content[free + 8 : free + 12], "big")
    wide = numbers(1) + b"mdat" + struct.pack(">Q", 8 + size)
    content = content[:free] + wide + content[free + 16 :]
    check(content)
    assert accepted_cuts(content, tmp_path) == []


@pytest.mark.parametrize(
    "tables",
    [
        (stco(MEDIA_AT, MEDIA_AT + 60), stsz(10, 20, 30, 40), stsc((1, 3), (2, 1))),
        (stco(MEDIA_AT, MEDIA_AT + 50), box("stsz", numbers(0, 25, 4)), stsc((1, 2))),
        (box("co64", numbers(0, 1, 0, MEDIA_AT)), stsz(50, 50), stsc((1, 2))),
        (stco(MEDIA_AT), box("stz2", numbers(0, 8, 2), bytes([50, 50])), stsc((1, 2))),
    ],
)
def test_every_kind_of_table_is_read(check: Check, tables: tuple[bytes, ...]) -> None:
    """Chunks may have their places and sizes in several kinds of tables."""
    check(movie(*tables))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ((stco(9000), stsz(1), stsc((1, 1))), "of the 9,001 bytes"),
        ((stco(MEDIA_AT), stsz(1, 9000), stsc((1, 2))), "of the 9,025 bytes"),
        ((stco(24, 24), stsz(1, 1, 9000), stsc((1, 1), (2, 2))), "of the 9,025 bytes"),
        ((stco(24), box("stsz", numbers(0, 5000, 2)), stsc((1, 2))), "of the 10,024 bytes"),
        ((box("co64", numbers(0, 1, 2, 0)), stsz(1), stsc((1, 1))), "of the 8,589,934,593 bytes"),
        ((stco(9000), box("stz2", numbers(0, 8, 1), b"1"), stsc((1, 1))), "of the 9,000 bytes"),
        ((stco(24), stsz(1), stsc((1, 2))), "'stsz' box at byte .* has fewer samples"),
        ((stco(24), stsz(1, 1), stsc((1, 1))), "no place for its last 1 samples"),
        ((stco(24), stsz(1, 1), stsc()), "no place for its last 2 samples"),
        ((stco(), stsz(), stsc()), "has no pictures"),
        ((box("stco", numbers(0, 9)), stsz(1), stsc((1, 1))), "too short for its 9 entries"),
        ((box("stco", numbers(0)), stsz(1), stsc((1, 1))), "is too short for what belongs"),
    ],
)
def test_tables_that_point_nowhere_are_refused(
    check: Check, tables: tuple[bytes, ...], message: str
) -> None:
    """Every chunk must end inside the file, and the tables must agree on what there is."""
    with pytest.raises(DownloadError, match=message):
        check(movie(*tables))


@given(at=st.integers(0, len(clip(INDEX_FIRST)) - 1), damage=st.binary(min_size=1, max_size=12))
def test_damage_is_refused_or_passes_never_anything_else(
    check: Check, at: int, damage: bytes
) -> None:
    """Whatever the bytes, the answer is yes or a DownloadError with a message."""
    whole = clip(INDEX_FIRST)
    try:
        check(whole[:at] + damage + whole[at + len(damage) :])
    except DownloadError as error:
        assert error.message


def endless_tables() -> bytes:
    """A video of four billion samples, in a few bytes."""
    everything = 2**32 - 1
    return movie(stco(24), box("stz2", numbers(0, 8, everything)), stsc((1, everything)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FTYP + box("free") * (MOST_BOXES + 1), "more than 100,000 boxes"),
        (FTYP + box("mdat", b"x") + box("moov", box("free") * MOST_BOXES), "100,000 boxes"),
        (FTYP + box("mdat", b"x") + box("moov", box("trak", TABLES[0] * 99_000)), "no 'mdia'"),
        (endless_tables(), None),
    ],
)
def test_a_hostile_file_holds_nothing_up(check: Check, content: bytes, message: str | None) -> None:
    """However many boxes or samples a file claims, the answer comes at once."""
    begun = process_time()
    if message is None:
        check(content)
    else:
        with pytest.raises(DownloadError, match=message):
            check(content)
    assert process_time() - begun < 2


def test_a_moov_without_end_is_refused(tmp_path: Path) -> None:
    """A `moov` of more than 64 MiB is not walked."""
    path = tmp_path / "clip.mp4"
    with path.open("wb") as file:
        file.write(FTYP + numbers(MOST_MOOV_BYTES + 1) + b"moov")
        file.truncate(len(FTYP) + MOST_MOOV_BYTES + 1)
    with pytest.raises(DownloadError, match="'moov' box at byte 16 has more than 67,108,864 bytes"):
        check_file(path)


def test_a_long_file_takes_little_memory(tmp_path: Path) -> None:
    """A file of 5 GiB with a table of 2 MB is walked in half a megabyte of memory."""
    path, samples = tmp_path / "clip.mp4", 500_000
    sizes = box("stsz", numbers(0, 0, samples), numbers(5000) * samples)
    whole = movie(stco(24), sizes, stsc((1, samples)))
    with path.open("wb") as file:
        file.write(FTYP + numbers(1) + b"mdat" + struct.pack(">Q", 5 * 2**30))
        file.seek(len(FTYP) + 5 * 2**30)  # a hole, which takes no room on the disk
        file.write(whole[MEDIA_AT + 100 :])
    del sizes, whole
    tracemalloc.start()
    check_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000
