"""Videos joined into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import pytest
from PIL import Image
from test_media import clip

from prefect_hailuo.errors import DownloadError, StorageError
from prefect_hailuo.media.coding import join_files

RED, GREEN, BLUE = (200, 30, 30), (30, 180, 30), (30, 30, 200)
Colour = tuple[int, int, int]


def shot(
    path: Path,
    colour: Colour,
    *,
    size: tuple[int, int] = (64, 48),
    rate: int = 24,
    frames: int = 12,
    coding: dict[str, str] | None = None,
) -> Path:
    """A short video of one colour."""
    return clip(path, [Image.new("RGB", size, colour)] * frames, rate=rate, coding=coding)


def packets(path: Path) -> list[bytes]:
    """A video's coded pictures."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def pictures(path: Path) -> list[tuple[float, Image.Image]]:
    """A video's pictures, each with the second at which it is shown."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [(round(frame.time or 0, 3), frame.to_image()) for frame in frames]


def colour_at(picture: Image.Image, x: int, y: int) -> Colour | None:
    """Which of the three colours a pixel has."""
    pixel = picture.convert("RGB").getpixel((x, y))
    assert isinstance(pixel, tuple)
    distances = {c: sum(abs(a - b) for a, b in zip(c, pixel, strict=True)) for c in COLOURS}
    nearest = min(distances, key=lambda each: distances[each])
    return nearest if distances[nearest] < 60 else None


COLOURS: Sequence[Colour] = (RED, GREEN, BLUE)


@pytest.mark.parametrize("coding", [{}, {"bf": "0"}, {"bf": "3", "g": "5"}])
def test_pictures_are_copied_as_they_are(tmp_path: Path, coding: dict[str, str]) -> None:
    """Videos of one kind keep every byte of their pictures, and are shown one after the other."""
    parts = [shot(tmp_path / f"{n}.mp4", c, coding=coding) for n, c in enumerate(COLOURS)]
    assert join_files(parts, tmp_path / "joined.mp4") is None
    assert packets(tmp_path / "joined.mp4") == [each for part in parts for each in packets(part)]
    shown = pictures(tmp_path / "joined.mp4")
    assert [time for time, _ in shown] == [round(n / 24, 3) for n in range(36)]
    assert [colour_at(each, 30, 20) for _, each in shown] == [c for c in COLOURS for _ in range(12)]


def test_a_copy_is_made_at_the_videos_own_ticks_and_lasts_as_long(tmp_path: Path) -> None:
    """The joined video's length is the sum, and its time base theirs."""
    parts = [shot(tmp_path / f"{n}.mp4", RED, frames=n) for n in (5, 24, 7)]
    join_files(parts, tmp_path / "joined.mp4")
    with av.open(str(parts[0])) as first, av.open(str(tmp_path / "joined.mp4")) as joined:
        assert joined.streams.video[0].time_base == first.streams.video[0].time_base
        assert joined.duration == 1_500_000


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"size": (96, 48)}, "width"),
        ({"rate": 12}, "rate"),
        ({"coding": {"profile": "baseline"}}, "parameters"),
    ],
)
def test_what_differs_is_coded_once_more(
    tmp_path: Path, other: dict[str, object], why: str
) -> None:
    """Then the joined video has the first one's size and rate, and it is said what differed."""
    first = shot(tmp_path / "first.mp4", RED)
    second = shot(tmp_path / "second.mp4", BLUE, **other)  # type: ignore[arg-type]
    said = join_files([first, second], tmp_path / "joined.mp4")
    assert said and said.startswith("second.mp4 differs from first.mp4") and why in said
    shown = pictures(tmp_path / "joined.mp4")
    seconds = 0.5 + (1.0 if why == "rate" else 0.5)
    assert [time for time, _ in shown] == [round(n / 24, 3) for n in range(round(24 * seconds))]
    assert {each.size for _, each in shown} == {(64, 48)}
    assert [colour_at(each, 30, 24) for _, each in shown] == [RED] * 12 + [BLUE] * (len(shown) - 12)


def test_what_has_another_shape_gets_bars(tmp_path: Path) -> None:
    """Nothing is stretched: a wide picture is black above and below."""
    parts = [shot(tmp_path / "a.mp4", RED), shot(tmp_path / "b.mp4", GREEN, size=(128, 48))]
    join_files(parts, tmp_path / "joined.mp4")
    _, last = pictures(tmp_path / "joined.mp4")[-1]
    black = last.convert("RGB").getpixel((32, 3))
    assert isinstance(black, tuple) and max(black) < 30
    assert colour_at(last, 32, 24) == GREEN


def test_a_video_cut_by_its_edit_list_is_coded_once_more(tmp_path: Path) -> None:
    """Pictures that a file holds and does not show are not shown in the joined one either."""
    whole = shot(tmp_path / "whole.mp4", RED, frames=24)
    part = tmp_path / "part.mp4"
    part.write_bytes(_begun_later(whole.read_bytes(), ticks=12 * 512))
    assert len(pictures(part)) == 12
    why = join_files([shot(tmp_path / "a.mp4", BLUE), part], tmp_path / "joined.mp4")
    assert why and "not shown" in why
    colours = [colour_at(each, 30, 20) for _, each in pictures(tmp_path / "joined.mp4")]
    assert colours == [BLUE] * 12 + [RED] * 12


def _begun_later(content: bytes, ticks: int) -> bytes:
    """The file, with its one edit beginning later in the track."""
    at = content.index(b"elst") + 16
    begin = int.from_bytes(content[at : at + 4], "big") + ticks
    return content[:at] + begin.to_bytes(4, "big") + content[at + 4 :]


def test_what_the_file_says_of_itself_stays(tmp_path: Path) -> None:
    """What the emulator made says so in the joined file too."""
    part = shot(tmp_path / "a.mp4", RED)
    with av.open(str(part)) as source, av.open(str(tmp_path / "b.mp4"), "w") as target:
        target.metadata["comment"] = "Made by the emulator."
        track = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = track
                target.mux(packet)
    join_files([tmp_path / "b.mp4", part], tmp_path / "joined.mp4")
    with av.open(str(tmp_path / "joined.mp4")) as joined:
        assert joined.metadata["comment"] == "Made by the emulator."


def test_errors_name_the_file(tmp_path: Path) -> None:
    """A part that is no video is named, and so is a target that cannot be written."""
    good, page = shot(tmp_path / "a.mp4", RED), tmp_path / "page.mp4"
    page.write_text("<html>")
    with pytest.raises(DownloadError, match=r"page\.mp4 cannot be read"):
        join_files([good, page], tmp_path / "joined.mp4")
    with pytest.raises(StorageError, match=r"joined\.mp4 cannot be written"):
        join_files([good, good], tmp_path / "nowhere" / "joined.mp4")
    with pytest.raises(ValueError, match="nothing to join"):
        join_files([], tmp_path / "joined.mp4")
