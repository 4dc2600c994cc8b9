"""Pictures of videos: the last frame, to go on from, and a filmstrip of several posters.

The key of a generation covers its picture's bytes, so the same video must give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_hailuo.errors import DownloadError
from prefect_hailuo.media.coding import columns_for, draw_name, is_hd
from prefect_hailuo.media.filters import chain, pulled
from prefect_hailuo.media.mp4 import MICROSECONDS
from prefect_hailuo.media.probe import opened, poster, require_media, small_jpeg
from prefect_hailuo.models.image import data_uri

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL import Image

MOST_PICTURES = 48
"""More would be too small to see."""

WIDTH = 960
"""Pixels of the whole, as wide as Prefect's UI shows an image."""

POSTER_WIDTH = 480

GAP = 4

GROUND, TILE = (24, 24, 27), (63, 63, 70)

NAME_HEIGHT = 24
"""Pixels."""

PNG_COMPRESSION = 6
"""Of 9. It is fixed, because the bytes depend on it."""

EXACT = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
"""How colours are computed: alike on every processor. By default, FFmpeg takes the quickest way."""


def last_picture(path: Path) -> bytes:
    """The last picture of a video, whole and unharmed, as a PNG.

    The same file gives the same bytes on every machine with the same releases of PyAV and Pillow.
    Another release of Pillow may compress the same picture to other bytes.

    Args:
        path: An MP4 file.

    Raises:
        DownloadError: The file cannot be read as a video.
        MissingExtraError: PyAV or Pillow is not installed.
        OSError: The file cannot be opened.

    Example:
        >>> import av, tempfile
        >>> path = Path(tempfile.mkdtemp(), "clip.mp4")
        >>> with av.open(str(path), "w") as container:
        ...     stream = container.add_stream("libx264", rate=24)
        ...     stream.width, stream.height = 64, 48
        ...     container.mux(stream.encode(av.VideoFrame(64, 48)) + stream.encode())
        >>> last_picture(path)[1:4], last_picture(path) == last_picture(path)
        (b'PNG', True)
    """
    require_media()
    file = BytesIO()
    _last_picture(path).save(file, "PNG", compress_level=PNG_COMPRESSION)
    return file.getvalue()


def _last_picture(path: Path) -> Image.Image:
    with opened(path) as (container, stream):
        container.seek(max(0, (container.duration or 0) - MICROSECONDS))
        last = None
        for frame in container.decode(video=0):
            last = frame
        if last is None:
            raise DownloadError(f"{path.name} has no picture.")
        return _in_rgb(last, stream)


def _in_rgb(frame: VideoFrame, stream: VideoStream) -> Image.Image:
    import av.filter

    graph = av.filter.Graph()
    matrix = ":in_color_matrix=bt709" if is_hd(stream) else ""
    begin = graph.add_buffer(template=stream)
    scale = ("scale", f"iw*sar:ih:{EXACT}{matrix}")
    sink = chain(graph, begin, scale, ("format", "rgb24"), ("buffersink", ""))
    graph.configure()
    graph.push(frame)
    graph.push(None)
    (shown,) = pulled(sink)
    return shown.to_image()  # type: ignore[no-untyped-call,no-any-return]


def filmstrip(files: Sequence[Path | None], names: Sequence[str]) -> str:
    """The posters of videos in one picture, as a `data:` URI.

    Args:
        files: The videos' files; None for a missing video.
        names: The text above each. No more than `MOST_PICTURES` are drawn.

    Raises:
        DownloadError: A file cannot be read as a video.
        MissingExtraError: PyAV or Pillow is not installed.

    Example:
        >>> filmstrip([None, None], ["hailuo-2.3-pro", "hailuo-02-pro"])[:23]
        'data:image/jpeg;base64,'
    """
    require_media()
    from PIL import Image

    shown = list(zip(files, names, strict=True))[:MOST_PICTURES]
    columns = columns_for(len(shown))
    width = (WIDTH - GAP * (columns + 1)) // columns
    height = width * 9 // 16 + NAME_HEIGHT
    size = (WIDTH, GAP + ceil(len(shown) / columns) * (height + GAP))
    strip = Image.new("RGB", size, GROUND)
    for index, (file, name) in enumerate(shown):
        row, column = divmod(index, columns)
        at = (GAP + column * (width + GAP), GAP + row * (height + GAP))
        strip.paste(draw_name(name, width, NAME_HEIGHT), at)
        strip.paste(_tile(file, width, height - NAME_HEIGHT), (at[0], at[1] + NAME_HEIGHT))
    return data_uri(small_jpeg(strip), "image/jpeg")


def _tile(file: Path | None, width: int, height: int) -> Image.Image:
    from PIL import Image, ImageOps

    tile = Image.new("RGB", (width, height), TILE)
    if file is not None:
        with Image.open(BytesIO(poster(file, width=POSTER_WIDTH))) as picture:
            fitted = ImageOps.contain(picture.convert("RGB"), (width, height))
        tile.paste(fitted, ((width - fitted.width) // 2, (height - fitted.height) // 2))
    return tile
