"""The last picture of a video."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from test_media import clip, coded, greys

from prefect_hailuo.errors import DownloadError
from prefect_hailuo.media.frames import last_picture

AGAIN = """
import pathlib, sys
from prefect_hailuo.media.frames import last_picture
sys.stdout.buffer.write(last_picture(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.parametrize("count", [1, 3, 20])
def test_it_is_the_last_one(tmp_path: Path, count: int) -> None:
    """However long the video is, and however many pictures are held back by its coding."""
    path = clip(tmp_path / "clip.mp4", greys(count), rate=6, coding={"bf": "3"})
    picture = Image.open(BytesIO(last_picture(path)))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (64, 48), "RGB")
    pixel = picture.getpixel((30, 20))
    assert isinstance(pixel, tuple)
    assert abs(pixel[0] - (40 + 10 * (count - 1))) <= 3


def test_another_process_makes_the_same_bytes(tmp_path: Path) -> None:
    """A generation that goes on from it is found again, for it is keyed by these bytes."""
    pictures = [Image.effect_mandelbrot((320, 240), (-2, -1, 1, 1), 90).convert("RGB")] * 4
    path = clip(tmp_path / "clip.mp4", pictures)
    command = [sys.executable, "-c", AGAIN, str(path)]
    other = subprocess.run(command, capture_output=True, check=True).stdout
    assert other == last_picture(path)


def test_hd_keeps_its_colours(tmp_path: Path) -> None:
    """A large video that does not say how its colours are coded is read as players do."""
    red = coded(Image.new("RGB", (1280, 720), (200, 30, 30)), hd=True)
    picture = Image.open(BytesIO(last_picture(clip(tmp_path / "clip.mp4", [red]))))
    pixel = picture.getpixel((600, 300))
    assert isinstance(pixel, tuple)
    assert all(abs(a - b) <= 6 for a, b in zip(pixel, (200, 30, 30), strict=True)), pixel


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    """A page in place of a video is named."""
    path = tmp_path / "page.mp4"
    path.write_text("<html>")
    with pytest.raises(DownloadError, match=r"page\.mp4 cannot be read"):
        last_picture(path)
