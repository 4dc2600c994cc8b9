"""The emulator's pictures: a real H.264 MP4 with the prompt drawn into it.

A still panel with the words is pasted onto a wide backdrop that drifts by, straight in the planes
of the video's own colour format: all that a frame costs is copying.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_hailuo.emulator.panel import BACKDROP_COLOURS, MARKER_COLOUR, draw_panel
from prefect_hailuo.emulator.stills import SHOWN_SECONDS, Stills, draw_still, shaped
from prefect_hailuo.endpoints import Endpoint, Picture
from prefect_hailuo.media import require_media

if TYPE_CHECKING:
    import av
    from PIL import Image

ENCODER_OPTIONS = {"preset": "ultrafast", "crf": "27", "threads": "1"}
"""The quickest that x264 offers: the emulator's pictures are looked at once, if at all."""

_DRIFT_PIXELS = 4
"""How far the backdrop moves from a frame to the next; even, for colour has half the pixels."""

NO_STILLS = Stills()

_PANEL_SHARE = 0.8
_MARKER_SHARE = 0.02


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
        >>> from prefect_hailuo.endpoints import Hailuo23ProTextToVideo
        >>> render(Hailuo23ProTextToVideo.endpoint, "A red fox.")[4:8]
        b'ftyp'
    """
    require_media()
    with tempfile.TemporaryDirectory(prefix="hailuo-emulator-") as folder:
        # A file by name, not a buffer: to move the index to the front, FFmpeg opens it once more.
        path = Path(folder) / "clip.mp4"
        shape = shaped(picture or endpoint.default.picture, stills.first)
        _encode(path, endpoint, prompt, shape, stills)
        return path.read_bytes()


def _encode(path: Path, endpoint: Endpoint, prompt: str, picture: Picture, stills: Stills) -> None:
    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        container.metadata["title"] = f"{endpoint.title} (emulator)"
        container.metadata["comment"] = "Made by the emulator of prefect_hailuo, not by a model."
        stream = container.add_stream(
            "libx264", rate=picture.frames_per_second, options=dict(ENCODER_OPTIONS)
        )
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
        panel = draw_panel(endpoint, prompt, *_panel_size(picture))
        for frame in _frames(picture, panel, stills):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _panel_size(picture: Picture) -> tuple[int, int]:
    return _even(picture.width * _PANEL_SHARE), _even(picture.height * _PANEL_SHARE)


def _frames(picture: Picture, panel: Image.Image, stills: Stills) -> Iterator[av.VideoFrame]:
    import av

    count = picture.frames_per_second * picture.duration_seconds
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
