"""The emulator's pictures, decoded."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from itertools import islice

import av
import httpx
import pytest
from av.video.frame import VideoFrame
from PIL import Image, ImageChops

from prefect_hailuo.emulator import FalEmulator, ManualClock
from prefect_hailuo.emulator.clip import draw_panel, render
from prefect_hailuo.errors import MissingExtraError
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo, Hailuo23ProTextToVideo

from .asking import Asking

ENDPOINT = Hailuo23ProTextToVideo.endpoint


@dataclass
class Decoded:
    """What a decoder sees in a clip."""

    codec: str
    pixels: str | None
    rate: float
    frames: list[VideoFrame]

    def picture(self, number: int) -> Image.Image:
        """A frame, as an image."""
        image: Image.Image = self.frames[number].to_image()  # type: ignore[no-untyped-call]
        return image


def decode(video: bytes, count: int | None = None) -> Decoded:
    """Decode a clip, or its first frames."""
    with av.open(io.BytesIO(video)) as container:
        stream = container.streams.video[0]
        frames = list(islice(container.decode(stream), count))
        rate = float(stream.average_rate or 0)
        return Decoded(stream.codec_context.name, stream.codec_context.pix_fmt, rate, frames)


def differ(one: Image.Image, other: Image.Image) -> float:
    """By how much two pictures differ, on average, of 255."""
    histogram = ImageChops.difference(one.convert("L"), other.convert("L")).histogram()
    return sum(value * count for value, count in enumerate(histogram)) / sum(histogram)


@pytest.fixture(scope="module")
def video() -> bytes:
    """A clip of the page's own prompt."""
    return render(ENDPOINT, ENDPOINT.example["prompt"])


@pytest.fixture(scope="module")
def decoded(video: bytes) -> Decoded:
    """The same, decoded."""
    return decode(video)


def test_it_is_what_the_endpoint_promises(decoded: Decoded) -> None:
    """H.264, 1920 by 1080, 24 frames a second, 6 seconds: 144 frames."""
    first = decoded.frames[0]
    assert (decoded.codec, decoded.pixels, decoded.rate) == ("h264", "yuv420p", 24)
    assert (first.width, first.height, len(decoded.frames)) == (1920, 1080, 144)


def test_it_moves(decoded: Decoded) -> None:
    """Pictures differ over time: from one to the next, and from beginning to end."""
    assert differ(decoded.picture(0), decoded.picture(1)) > 0.01
    assert differ(decoded.picture(0), decoded.picture(143)) > 5


def test_its_index_is_in_front(video: bytes) -> None:
    """A player can begin before all of it is there."""
    assert video[4:8] == b"ftyp"
    assert video.index(b"moov") < video.index(b"mdat")


def test_the_prompt_is_drawn_into_it(decoded: Decoded) -> None:
    """Another prompt, or another endpoint, gives another picture; its words are bright on dark."""
    words = decoded.picture(0).crop((240, 330, 1680, 860))
    others = [render(ENDPOINT, "Another."), render(Hailuo02ProTextToVideo.endpoint, "Another.")]
    fox, elder = (decode(other, 1).picture(0) for other in others)
    assert words.convert("L").getextrema()[1] > 200  # type: ignore[operator]
    assert differ(decoded.picture(0), fox) > 0.5
    assert differ(fox, elder) > 0.01


@pytest.mark.parametrize(
    "prompt",
    [
        "狐狸穿过雪地" * 300,
        "שועל אדום חוצה שדה מושלג مرحبا بالعالم",
        "🦊👩‍👩‍👧‍👦🇨🇭",
        "\ud83d alone\x00\x07\n\t",
        "W" * 2000,
        "",
    ],
)
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    """Scripts without spaces, right-to-left, emoji, halves of them, one endless word, nothing."""
    panel = draw_panel(ENDPOINT, prompt, 1536, 864)
    margins = [(0, 840, 1536, 864), (0, 100, 70, 864), (1466, 100, 1536, 864)]
    assert [len(panel.crop(each).getcolors() or ()) for each in margins] == [1, 1, 1]


def test_a_clip_is_drawn_once(clock: ManualClock) -> None:
    """The result, the download and the next reader get the same bytes, which the size told."""
    with FalEmulator(clock=clock, durations=1) as emulator:
        fal = Asking(emulator)
        with fal.http:
            request_id = fal.buy("Drawn once.")
            clock.advance(1)
            told = fal.result(request_id).json()["video"]
            first, second = httpx.get(told["url"]).content, httpx.get(told["url"]).content
    assert len(first) == told["file_size"]
    assert first == second


def test_nothing_is_drawn_before_it_is_needed() -> None:
    """Importing the emulator and running requests through it needs neither PyAV nor Pillow."""
    program = """
import sys
from prefect_hailuo.emulator import FalEmulator
import httpx
with FalEmulator(durations=0) as emulator:
    headers = {"Authorization": f"Key {emulator.api_key}"}
    url = f"{emulator.url}/fal-ai/minimax/hailuo-02/pro/text-to-video"
    status_url = httpx.post(url, json={"prompt": "x"}, headers=headers).json()["status_url"]
    assert httpx.get(status_url, headers=headers).json()["status"] == "COMPLETED"
print([name for name in ("av", "PIL") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyAV the emulator says what to install, and starts with a video of one's own."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'prefect-hailuo\[media\]'"):
        FalEmulator().start()
    with FalEmulator(clip=b"a video") as emulator:
        assert emulator.charged == 0
