"""The videos that the emulator serves: real H.264 MP4 files with the prompt drawn into them.

A panel with the words stands still on a wide backdrop that moves by. Both are pasted straight into
the planes of the video's colour format, so that a frame costs no more than copying. A video begins
and ends with the request's own pictures, where the emulator can read them.
"""

from __future__ import annotations

import math
import re
import tempfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import anyio
import anyio.to_thread
from cachetools import LRUCache

from prefect_hailuo.emulator.queue import Generation
from prefect_hailuo.media.mp4 import C2PA
from prefect_hailuo.media.probe import require_media
from prefect_hailuo.models.catalogue import Endpoint, Picture

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from PIL import Image, ImageDraw, ImageFont

Clip = Literal["prompt", "plain"] | bytes
"""What is served as video: one drawn for each prompt, one for all, or the given bytes."""

BANNER = "MADE BY THE EMULATOR"

FOOTNOTE = "prefect_hailuo.emulator: no model was asked, nothing was charged"

PLAIN_PROMPT = "The emulator's plain clip: the same for every prompt."

CLIPS_KEPT = 64
"""How many clips an emulator keeps, half a megabyte each; an older one is drawn again."""

SHOWN_SECONDS = 1
"""How long the first picture is shown at the beginning, and the last one at the end."""

MOST_RATIO = 5 / 2
"""The most that the longer side may be of the shorter one, as MiniMax limits it."""

ENCODER_OPTIONS = {"preset": "ultrafast", "crf": "27", "threads": "1"}
"""The quickest that x264 offers: most of the emulator's videos are never looked at."""

BACKDROP_COLOURS = [
    (24, 32, 64),
    (70, 40, 110),
    (190, 70, 90),
    (235, 150, 70),
    (60, 130, 140),
    (24, 32, 64),
]

MARKER_COLOUR = (255, 214, 92)

_PAPER = (18, 20, 28)

_INK = (238, 238, 232)

_QUIET = (150, 152, 160)

_MARGIN_SHARE = 0.05

_LINE_HEIGHT = 1.3

_PIECE_SHARE = 0.9

_BANNER_SHARE = 0.6

_PROMPT_SIZES = (64, 54, 46, 40, 34, 29, 25, 21, 18, 15, 12)
"""Sizes of the prompt's letters at 1080 lines, tried from the largest until it fits."""

_PANEL_SHARE = 0.8

_MARKER_SHARE = 0.02

_DRIFT_PIXELS = 4
"""How far the backdrop moves from a frame to the next; even, because colour has half the pixels."""

_PLAIN_CLIPS: dict[Picture, bytes] = {}
"""Drawn once in a process, for all its emulators."""


class ClipLibrary:
    """Hands out the video of a generation.

    Args:
        clip: What to serve.
    """

    def __init__(self, clip: Clip) -> None:
        if not isinstance(clip, bytes) and clip not in ("prompt", "plain"):
            raise ValueError(f'clip must be "prompt", "plain" or bytes, not {clip!r}')
        self._clip = clip
        self._kept: LRUCache[tuple[Endpoint, str, Picture, Stills], bytes] = LRUCache(CLIPS_KEPT)
        self._one_at_a_time: anyio.Lock | None = None

    async def video(self, generation: Generation, read: Callable[[], Stills]) -> bytes:
        """The bytes of a generation's MP4 file.

        Args:
            generation: Whose.
            read: Reads the pictures that it begins and ends with.

        Raises:
            MissingExtraError: It has to be drawn, and PyAV or Pillow is not installed.
        """
        if isinstance(self._clip, bytes):
            return self._clip
        if self._one_at_a_time is None:
            self._one_at_a_time = anyio.Lock()
        # Drawing keeps a core busy: two at once would only be late together, and a second reader
        # of the same video finds it drawn.
        async with self._one_at_a_time:
            if self._clip == "plain":
                return await _plain_clip(generation)
            return await self._drawn(generation, read)

    async def _drawn(self, generation: Generation, read: Callable[[], Stills]) -> bytes:
        key = (generation.endpoint, generation.prompt, generation.picture, read())
        if key not in self._kept:
            self._kept[key] = await anyio.to_thread.run_sync(render, *key)
        return self._kept[key]


async def _plain_clip(generation: Generation) -> bytes:
    endpoint, picture = generation.endpoint, generation.picture
    if picture not in _PLAIN_CLIPS:
        video = await anyio.to_thread.run_sync(render, endpoint, PLAIN_PROMPT, picture)
        _PLAIN_CLIPS[picture] = video
    return _PLAIN_CLIPS[picture]


@dataclass(frozen=True)
class Stills:
    """The contents of a request's pictures, as far as the emulator can read them.

    Args:
        first: What the video begins with.
        last: What it ends with.
    """

    first: bytes | None = None
    last: bytes | None = None


NO_STILLS = Stills()


def render(
    endpoint: Endpoint, prompt: str, picture: Picture | None = None, stills: Stills = NO_STILLS
) -> bytes:
    """Make the video that the emulator serves for a prompt.

    Args:
        endpoint: Whose title to draw into it.
        prompt: What else to draw into it.
        picture: Its size, rate and length; by default, what the endpoint's defaults give.
        stills: What it begins and ends with; the first one decides its shape.

    Returns:
        A complete MP4 file, its index in front.

    Raises:
        MissingExtraError: PyAV or Pillow is not installed.

    Example:
        >>> from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo
        >>> render(Hailuo23ProTextToVideo.endpoint, "A red fox.")[4:8]
        b'ftyp'
    """
    require_media()
    with tempfile.TemporaryDirectory(prefix="hailuo-emulator-") as folder:
        # A file by name, not a buffer: to move the index to the front, FFmpeg opens it once more.
        path = Path(folder) / "clip.mp4"
        shape = shaped(picture or endpoint.default.picture, stills.first)
        _encode(path, endpoint, prompt, shape, stills)
        made = path.read_bytes()
        return with_manifest(made) if shape.form else made


def _encode(path: Path, endpoint: Endpoint, prompt: str, picture: Picture, stills: Stills) -> None:
    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        container.metadata["title"] = f"{endpoint.title} (emulator)"
        container.metadata["comment"] = "Made by the emulator of prefect_hailuo, not by a model."
        stream = container.add_stream(
            "libx264", rate=picture.frames_per_second, options=dict(ENCODER_OPTIONS)
        )
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
        sound = _Sound(container, picture) if picture.form else None
        panel = draw_panel(endpoint, prompt, *_panel_size(picture))
        for number, frame in enumerate(_frames(picture, panel, stills), 1):
            container.mux(stream.encode(frame))
            if sound:
                sound.encode_until(number / picture.frames_per_second)
        container.mux(stream.encode(None))
        if sound:
            sound.finish()


class _Sound:
    """A quiet tone in the form of a model's sound tracks, written beside the picture."""

    def __init__(self, container: OutputContainer, picture: Picture) -> None:
        if picture.form is None:
            raise ValueError("The model makes no sound.")
        codec, channels, self._rate = picture.form.sound
        layout = {1: "mono", 2: "stereo"}[channels]
        self._container = container
        stream = container.add_stream(codec, rate=self._rate, layout=layout)
        self._stream = cast("AudioStream", stream)
        self._samples = 0
        self._tone = _tone(self._rate, channels)

    def encode_until(self, seconds: float) -> None:
        import av

        while self._samples < seconds * self._rate:
            frame = av.AudioFrame("s16", self._stream.layout, SAMPLES_A_FRAME)
            frame.planes[0].update(self._tone)
            frame.sample_rate, frame.pts = self._rate, self._samples
            self._samples += SAMPLES_A_FRAME
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))


SAMPLES_A_FRAME = 1024
"""As AAC has it."""

TONE_HZ = 250
"""A whole number of its waves is in a frame at 32 kHz."""

TONE_VOLUME = 600
"""Of 32,767."""


def _tone(rate: int, channels: int) -> bytes:
    wave = (
        round(TONE_VOLUME * math.sin(2 * math.pi * TONE_HZ * n / rate))
        for n in range(SAMPLES_A_FRAME)
    )
    return array("h", (each for each in wave for _ in range(channels))).tobytes()


MANIFEST_BYTES = 13_400
"""About as long as fal's are."""


def with_manifest(file: bytes) -> bytes:
    """An MP4 with a box for a C2PA manifest after its first one, as fal's files of Hailuo 3 have.

    The box holds no real manifest. What stands behind it moves on, and the tables say so.
    """
    body = b"prefect_hailuo.emulator: no manifest, no model was asked. "
    body = (body * (MANIFEST_BYTES // len(body) + 1))[:MANIFEST_BYTES]
    box = (len(body) + 24).to_bytes(4, "big") + b"uuid" + C2PA + body
    first = int.from_bytes(file[:4], "big")
    moved = bytearray(file)
    for table in re.finditer(b"stco", file[: file.index(b"mdat")]):
        count = int.from_bytes(file[table.end() + 4 : table.end() + 8], "big")
        for at in range(table.end() + 8, table.end() + 8 + 4 * count, 4):
            offset = int.from_bytes(file[at : at + 4], "big") + len(box)
            moved[at : at + 4] = offset.to_bytes(4, "big")
    return bytes(moved[:first]) + box + bytes(moved[first:])


def _panel_size(picture: Picture) -> tuple[int, int]:
    return _even(picture.width * _PANEL_SHARE), _even(picture.height * _PANEL_SHARE)


def _frames(picture: Picture, panel: Image.Image, stills: Stills) -> Iterator[av.VideoFrame]:
    import av

    count = picture.frame_count
    backdrop = _planes(_draw_backdrop(picture, count * _DRIFT_PIXELS))
    still = _planes(panel)
    marker = _planes(_draw_marker(picture))
    first, last = (_still_planes(each, picture) for each in (stills.first, stills.last))
    shown = picture.frames_per_second * SHOWN_SECONDS
    for number in range(count):
        frame = av.VideoFrame(picture.width, picture.height, "yuv420p")
        frame.pts = number
        alone = first if number < shown else last if number >= count - shown else None
        for index, plane in enumerate(frame.planes):
            half = 1 if plane.width == picture.width else 2
            layers = (backdrop[index], still[index], marker[index])
            canvas = alone[index] if alone else _compose(picture, number, count, half, layers)
            plane.update(_padded(canvas, plane.line_size, plane.height))
        yield frame


def _compose(
    picture: Picture,
    number: int,
    count: int,
    half: int,
    layers: tuple[Image.Image, Image.Image, Image.Image],
) -> Image.Image:
    backdrop, panel, marker = layers
    width, height = picture.width // half, picture.height // half
    left = number * _DRIFT_PIXELS // half
    canvas = backdrop.crop((left, 0, left + width, height))
    canvas.paste(panel, ((width - panel.width) // 2, (height - panel.height) // 2))
    travel = (width - marker.width) * number // max(1, count - 1)
    canvas.paste(marker, (travel, height - marker.height))
    return canvas


def _planes(image: Image.Image) -> list[Image.Image]:
    """The image in the video's colour format, one grey image a plane."""
    import av
    from av.video.reformatter import VideoReformatter
    from PIL import Image

    drawn = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
    # One of our own: from PyAV 19 on, the frame's has threads, which hang a forked child.
    frame = VideoReformatter().reformat(drawn, format="yuv420p")
    planes = []
    for plane in frame.planes:
        padded = Image.frombytes("L", (plane.line_size, plane.height), bytes(plane))
        planes.append(padded.crop((0, 0, plane.width, plane.height)))
    return planes


def _still_planes(content: bytes | None, picture: Picture) -> list[Image.Image] | None:
    still = draw_still(content, picture)
    return _planes(still) if still else None


def _padded(canvas: Image.Image, line_size: int, height: int) -> bytes:
    if canvas.width != line_size:
        canvas = canvas.crop((0, 0, line_size, height))
    return canvas.tobytes()


def _draw_backdrop(picture: Picture, drift: int) -> Image.Image:
    from PIL import Image

    # Stretched from a few pixels: the smooth gradient costs nothing to draw.
    seed = Image.new("RGB", (len(BACKDROP_COLOURS), 1))
    seed.putdata(BACKDROP_COLOURS)
    return seed.resize((picture.width + drift, picture.height), Image.Resampling.BICUBIC)


def _draw_marker(picture: Picture) -> Image.Image:
    from PIL import Image

    size = _even(picture.height * _MARKER_SHARE)
    return Image.new("RGB", (size * 4, size), MARKER_COLOUR)


def _even(pixels: float) -> int:
    return int(pixels) // 2 * 2


def draw_panel(endpoint: Endpoint, prompt: str, width: int, height: int) -> Image.Image:
    """Draw the panel with the words.

    Args:
        endpoint: Whose title to write.
        prompt: What to write, wrapped and as large as it fits; any Unicode.
        width: Pixels.
        height: Pixels.
    """
    from PIL import Image, ImageDraw

    panel = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(panel)
    margin = int(width * _MARGIN_SHARE)
    unit = min(height, width * 9 / 16)  # of a tall picture, the width says how large letters are
    top = _draw_heading(draw, endpoint.title, width, unit, margin)
    bottom = height - margin - unit * 0.04
    draw.text((margin, bottom), FOOTNOTE, font=_font(unit * 0.026), fill=_QUIET)
    _draw_prompt(draw, drawable(prompt), (margin, int(top), width - margin, int(bottom)))
    return panel


def draw_banner(image: Image.Image) -> None:
    """Write across the top of a picture that the emulator made this."""
    from PIL import ImageDraw

    unit = min(image.height, image.width * 9 / 16) * _BANNER_SHARE
    _draw_band(ImageDraw.Draw(image), image.width, unit)


def drawable(text: str) -> str:
    """The text without lone surrogates and control characters, which no font can draw."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in whole)


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(max(8.0, size))


def _draw_heading(
    draw: ImageDraw.ImageDraw, title: str, width: int, unit: float, margin: int
) -> float:
    band = _draw_band(draw, width, unit)
    draw.text((margin, band * 1.4), title, font=_font(unit * 0.042), fill=_QUIET)
    return band * 2.2


def _draw_band(draw: ImageDraw.ImageDraw, width: int, unit: float) -> float:
    band = unit * 0.11
    draw.rectangle((0, 0, width, band), fill=MARKER_COLOUR)
    draw.text((width / 2, band / 2), BANNER, font=_font(unit * 0.062), fill=_PAPER, anchor="mm")
    return band


def _draw_prompt(draw: ImageDraw.ImageDraw, prompt: str, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    scale = (bottom - top) / 580
    for size in (step * scale for step in _PROMPT_SIZES):
        font = _font(size)
        lines = list(_wrap(prompt, font, right - left))
        if len(lines) * size * _LINE_HEIGHT <= bottom - top:
            break
    for number, line in enumerate(lines):
        draw.text((left, top + number * size * _LINE_HEIGHT), line, font=font, fill=_INK)


def _wrap(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> Iterator[str]:
    line = ""
    for word in _breakable(text, font, width):
        longer = f"{line} {word}" if line else word
        if line and font.getlength(longer) > width:
            yield line
            line = word
        else:
            line = longer
    if line:
        yield line


def _breakable(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> Iterator[str]:
    """The words, those too long for a line (or of a script without spaces) in pieces."""
    for word in text.split():
        share = width / max(width, font.getlength(word))
        step = max(1, int(len(word) * share * (1 if share == 1 else _PIECE_SHARE)))
        yield from (word[start : start + step] for start in range(0, len(word), step))


def shaped(picture: Picture, still: bytes | None) -> Picture:
    """The picture in the shape of the still that it begins with: "The output video will have the
    same aspect ratio as this image" (https://replicate.com/minimax/hailuo-02, seen 2026-11-20).

    The shorter side keeps the endpoint's lines, which is what the emulator takes "768p" to mean.

    Args:
        picture: The endpoint's, wide.
        still: The content of a picture; None, or one that cannot be read, changes nothing.
    """
    drawn = still and _open(still)
    if not drawn or (picture.form and picture.is_shape_known):
        return picture
    ratio = min(max(drawn.width / drawn.height, 1 / MOST_RATIO), MOST_RATIO)
    width, height = picture.height * max(ratio, 1), picture.height * max(1 / ratio, 1)
    return replace(picture, width=_nearest_even(width), height=_nearest_even(height))


def draw_still(still: bytes | None, picture: Picture) -> Image.Image | None:
    """A still as large as the video, cut where it has another shape, with the emulator's banner.

    Args:
        still: The content of a picture.
        picture: The video's.

    Returns:
        None if there is no picture, or if it cannot be read.
    """
    from PIL import ImageOps

    drawn = still and _open(still)
    if not drawn:
        return None
    image = ImageOps.fit(drawn, (picture.width, picture.height))
    draw_banner(image)
    return image


def _open(still: bytes) -> Image.Image | None:
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(still)) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _nearest_even(pixels: float) -> int:
    return round(pixels / 2) * 2
