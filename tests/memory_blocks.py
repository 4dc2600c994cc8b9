"""Storage blocks such as users write them, which keep everything in memory, or fail to."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import anyio.lowlevel
from prefect.blocks.core import Block
from prefect.filesystems import WritableFileSystem
from pydantic import PrivateAttr, SecretStr

from prefect_hailuo.runs.storage import MARKER


class AsyncMemory(WritableFileSystem):
    """A user's block, written with asynchronous methods as Prefect's base class has them."""

    folder: str = "videos"
    secret: SecretStr = SecretStr("hunter2")
    _files: dict[str, bytes] = PrivateAttr(default_factory=dict)

    async def read_path(self, path: str) -> bytes:
        await anyio.lowlevel.checkpoint()
        return self._files[path]

    async def write_path(self, path: str, content: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        self._files[path] = content


class SyncMemory(Block):
    """A user's block, written with ordinary methods; it notes who calls."""

    _files: dict[str, bytes] = PrivateAttr(default_factory=dict)
    _calls: list[tuple[str, str]] = PrivateAttr(default_factory=list)
    _threads: set[str] = PrivateAttr(default_factory=set)

    def read_path(self, path: str) -> bytes:
        self._note("read", path)
        return self._files[path]

    def write_path(self, path: str, content: bytes) -> None:
        self._note("write", path)
        self._files[path] = content

    def _note(self, call: str, path: str) -> None:
        self._calls.append((call, path))
        self._threads.add(threading.current_thread().name)


class Uploading(SyncMemory):
    """A block that takes files too, as those for buckets do."""

    def upload_from_path(self, from_path: str, to_path: str) -> None:
        self._note("upload", to_path)
        self._files[to_path] = Path(from_path).read_bytes()


class ReadOnly(Block):
    """A block that gives files and takes none."""

    def read_path(self, path: str) -> bytes:
        raise FileNotFoundError(path)


class Unwritable(SyncMemory):
    """A block whose credentials allow no writing."""

    def write_path(self, path: str, content: bytes) -> None:
        raise PermissionError("AccessDenied")


class Forgetful(SyncMemory):
    """A block that takes everything and keeps nothing."""

    def write_path(self, path: str, content: bytes) -> None:
        self._files[path] = b""


class Faltering(SyncMemory):
    """A block whose reading fails now and then; for how many more reads, a test says."""

    _failures: int = PrivateAttr(default=0)

    def read_path(self, path: str) -> bytes:
        if path != MARKER and self._failures:
            self._failures -= 1
            raise TimeoutError("SlowDown")
        return super().read_path(path)


class Slow(SyncMemory):
    """A block that takes its time."""

    def write_path(self, path: str, content: bytes) -> None:
        time.sleep(0.7)
