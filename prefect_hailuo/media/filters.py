"""FFmpeg's filters, as PyAV has them: linked into a chain, and read from its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.filter import FilterContext, Graph
    from av.video.frame import VideoFrame


def chain(graph: Graph, begin: FilterContext, *filters: tuple[str, str]) -> FilterContext:
    """Link filters one behind the other, and return the last."""
    for name, arguments in filters:
        following = graph.add(name, arguments)
        begin.link_to(following)
        begin = following
    return begin


def pulled(sink: FilterContext) -> Iterator[VideoFrame]:
    """The pictures that have come out of a graph by now."""
    import av

    with suppress(av.BlockingIOError, av.EOFError):
        while True:
            yield sink.pull()  # type: ignore[misc]
