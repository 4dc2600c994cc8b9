"""What the tests of pictures share: an endpoint that takes two, pictures, and a server of them.

The endpoint is the tests' own, so that they depend on no model of the catalogue.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import ClassVar
from zlib import crc32

from PIL import Image

from prefect_hailuo.models.catalogue import CATALOGUE, Endpoint, Hailuo02ProTextToVideo
from prefect_hailuo.models.image import ImageSource
from prefect_hailuo.models.inputs import OptimizedInput


class Shot(OptimizedInput):
    """An input with a picture, and maybe another."""

    endpoint: ClassVar[Endpoint] = replace(
        Hailuo02ProTextToVideo.endpoint,
        id="fal-ai/minimax/tests/image-to-video",
        name="tests-image-to-video",
    )

    image_url: ImageSource
    end_image_url: ImageSource | None = None


del CATALOGUE[Shot.endpoint.id]


def declare() -> None:
    """Let the endpoint be one of the catalogue's."""
    CATALOGUE[Shot.endpoint.id] = Shot


def plain_picture(width: int = 640, height: int = 360, kind: str = "PNG", shade: int = 90) -> bytes:
    """A picture in one colour: some hundred bytes."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), (shade, 120, 60)).save(buffer, kind)
    return buffer.getvalue()


def picture_with_thumbnail(width: int = 640, height: int = 480) -> bytes:
    """A JPEG as cameras write it: its EXIF holds a whole little JPEG."""
    buffer = BytesIO()
    image = Image.effect_noise((width, height), 80).convert("RGB")
    little = BytesIO()
    image.resize((160, 120)).save(little, "JPEG", quality=70)
    exif = b"Exif\x00\x00" + b"MM\x00*\x00\x00\x00\x08" + bytes(6) + little.getvalue()
    image.save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    summed = crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + summed


def noisy_picture(width: int = 400, height: int = 320) -> bytes:
    """A picture that cannot be made small: some hundred kilobytes, another one each time."""
    buffer = BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(width * height * 3)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Served:
    """What is at a path.

    Args:
        content: The body.
        status: HTTP's.
        headers: Besides its length.
        wait: Called before it is answered.
    """

    content: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: Callable[[], object] = lambda: None


@dataclass
class PictureServer:
    """A web server of pictures.

    Args:
        url: Where it is.
        files: What is where.
        requests: The paths that were asked for, with their queries, and the headers.
    """

    url: str
    files: dict[str, Served]
    requests: list[tuple[str, dict[str, str]]]


@contextmanager
def serving_pictures() -> Iterator[PictureServer]:
    """A web server on loopback, until the end."""
    files: dict[str, Served] = {}
    requests: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            requests.append((self.path, dict(self.headers)))
            served = files.get(self.path.partition("?")[0], Served(status=404))
            served.wait()
            self.send_response(served.status)
            for name, value in served.headers.items():
                self.send_header(name, value)
            if not {"Content-Length", "Transfer-Encoding"} & set(served.headers):
                self.send_header("Content-Length", str(len(served.content)))
            self.end_headers()
            with suppress(OSError):  # the client had enough
                self.wfile.write(served.content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield PictureServer(f"http://127.0.0.1:{server.server_address[1]}", files, requests)
        server.shutdown()
        thread.join()


def shot(picture: str | Path | bytes, prompt: str = "It moves.") -> Shot:
    """The input of a picture."""
    return Shot(prompt=prompt, image_url=picture)


def saved(folder: Path, content: bytes, name: str = "still.png") -> Path:
    """A file with a picture."""
    path = folder / name
    path.write_bytes(content)
    return path


def identity(content: bytes) -> str:
    """What a picture is."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
