"""The last picture of a video, for a model that goes on from it.

Generations from a picture are keyed by its content, so the same video must give the same bytes.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_hailuo.coding import chain, is_hd, pulled
from prefect_hailuo.errors import DownloadError
from prefect_hailuo.measures import MICROSECONDS
from prefect_hailuo.media import opened, require_media

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL import Image

PNG_COMPRESSION = 6
"""Of 9. Fixed, for it decides on the bytes."""

EXACT = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
"""How colours are computed: by every processor alike, where FFmpeg else takes what is quickest."""


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
