"""The server as a command: it prints its address, and serves until it is killed.

python -m benchmarks.lean_fal --port 8018
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import sys
from collections.abc import Coroutine
from contextlib import suppress

from benchmarks.lean_fal.site import LeanSite
from benchmarks.lean_fal.wire import Connection
from prefect_hailuo.emulator.clip import render
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo, Picture

TINY = Picture(192, 108, frames_per_second=24, duration_seconds=2, source="")
"""Long enough to be a download, short enough that ten thousand do not measure the disk."""


def draw_clip(picture: Picture | None = None) -> bytes:
    """A real H.264 video, as the emulator draws it; by default, 1080p and six seconds."""
    return render(Hailuo02ProTextToVideo.endpoint, "Thousands in flight.", picture)


async def serve(port: int, clip: bytes, *, is_child: bool) -> None:
    """Serve for ever; as somebody's child, until standard input ends, as it does with them."""
    loop = asyncio.get_running_loop()
    site = LeanSite(clip)
    server = await loop.create_server(
        lambda: Connection(site, site.name), "127.0.0.1", port, backlog=16_384
    )
    site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    sys.stdout.write(f"{site.url}\n")
    sys.stdout.flush()
    gc.freeze()
    async with server:
        if is_child:
            await loop.run_in_executor(None, sys.stdin.read)
        else:
            await server.serve_forever()


def _run(serving: Coroutine[None, None, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lean_fal", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="by default, a free one")
    parser.add_argument("--clip", choices=("tiny", "drawn"), default="tiny")
    parser.add_argument("--child", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    clip = draw_clip(TINY if options.clip == "tiny" else None)
    with suppress(KeyboardInterrupt):
        _run(serve(options.port, clip, is_child=options.child))


if __name__ == "__main__":
    main()
