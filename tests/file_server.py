"""What the tests of downloads share: the smallest video, and a server of very long ones."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CHUNK = bytes(1 << 20)


def smallest_video(media: bytes = bytes(100)) -> bytes:
    """A complete MP4 by its boxes, with one sample in one chunk; no player can make anything of it.

    Args:
        media: What is in its `mdat`.
    """
    return _beginning(len(media)) + media + _moov(len(media))


@contextmanager
def serving_long_video(chunks: int) -> Iterator[tuple[str, int]]:
    """Serve a video of so many mebibytes, which is never held in memory; its URL and its size."""
    size = chunks * len(CHUNK)
    beginning, end = _beginning(size), _moov(size)
    total = len(beginning) + size + len(end)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total + beginning)
            for _ in range(chunks):
                self.wfile.write(CHUNK)
            self.wfile.write(end)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/long.mp4", total
        server.shutdown()
        thread.join()


def _beginning(media_bytes: int) -> bytes:
    return _box("ftyp", b"isom", _numbers(0)) + struct.pack(">I4s", 8 + media_bytes, b"mdat")


def _moov(media_bytes: int) -> bytes:
    tables = (
        _box("stco", _numbers(0, 1, len(_beginning(0)))),
        _box("stsz", _numbers(0, 0, 1, media_bytes)),
        _box("stsc", _numbers(0, 1, 1, 1, 1)),
    )
    mdia = _box("mdia", _box("hdlr", _numbers(0, 0), b"vide"), _box("minf", _box("stbl", *tables)))
    return _box("moov", _box("trak", mdia))


def _box(kind: str, *payload: bytes) -> bytes:
    content = b"".join(payload)
    return struct.pack(">I", 8 + len(content)) + kind.encode() + content


def _numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)
