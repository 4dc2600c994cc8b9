"""Where videos are kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import anyio
import anyio.to_thread

from prefect_hailuo.errors import Billed, StorageError

CHUNK_BYTES = 1 << 20

DIRECTORY_PREFIX = "directory:"

CURE_BEFORE_BUYING = "Make it so, or pass another storage; nothing was bought."


class Place(Protocol):
    """Somewhere that files can be kept under a name and found again."""

    @property
    def label(self) -> str:
        """Names the place, and tells it from others; it enters Prefect's cache key."""

    @property
    def workspace(self) -> Path:
        """A directory in which a file is made ready before it is handed over."""

    async def check(self) -> None:
        """Refuse, before anything is bought, a place that cannot be written to."""

    def path_of(self, name: str) -> Path | None:
        """The local path of a file kept here, where it has one."""

    async def keep(self, file: Path, name: str) -> None:
        """Take over a complete file. It is there in whole, or not at all."""

    async def write(self, name: str, content: bytes) -> None:
        """Keep a small file."""

    async def read(self, name: str) -> bytes | None:
        """A small file's content; None where there is no such file."""

    async def holds(self, name: str, sha256: str) -> bool:
        """Whether a file is here, unharmed."""


class Directory:
    """A directory of this machine, made when it is first needed.

    Args:
        path: The directory.

    Example:
        >>> Directory("videos").path_of("fox.mp4").name
        'fox.mp4'
    """

    def __init__(self, path: str | Path) -> None:
        self._root = Path(path).expanduser().absolute()

    @property
    def label(self) -> str:
        """The directory's absolute path."""
        return f"{DIRECTORY_PREFIX}{self._root.as_posix()}"

    @classmethod
    def labelled(cls, label: str) -> Directory | None:
        """The directory that a label names, if it names one."""
        if not label.startswith(DIRECTORY_PREFIX):
            return None
        return cls(label.removeprefix(DIRECTORY_PREFIX))

    @property
    def workspace(self) -> Path:
        """The directory itself, for only within a file system is a move atomic.

        Raises:
            StorageError: It cannot be made.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"The directory {self._root} cannot be made: {error}.") from error
        return self._root

    async def check(self) -> None:
        """Refuse a directory that cannot be written to.

        Raises:
            StorageError: It cannot be made, or no file can be made in it.
        """
        try:
            await anyio.to_thread.run_sync(_try_out, self._root)
        except OSError as error:
            raise refused_place(f"{self._root} is not writable: {error}.") from error

    def path_of(self, name: str) -> Path:
        """The file's path."""
        return self._root / name

    async def keep(self, file: Path, name: str) -> None:
        """Move a file into place, in one step, and make sure that it outlives a power cut.

        Raises:
            StorageError: It cannot be moved there.
        """
        try:
            await anyio.to_thread.run_sync(_move, file, self.path_of(name))
        except OSError as error:
            raise StorageError(f"{self.path_of(name)} cannot be written: {error}.") from error

    async def write(self, name: str, content: bytes) -> None:
        """Write a small file, in one step.

        Raises:
            StorageError: It cannot be written.
        """
        target = self.workspace / name
        try:
            await anyio.to_thread.run_sync(_write, target, content)
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error}.") from error

    async def read(self, name: str) -> bytes | None:
        """A small file's content; None where there is no such file.

        Raises:
            StorageError: There is one, and it cannot be read.
        """
        try:
            return await anyio.Path(self.path_of(name)).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused_place(f"{self.path_of(name)} is not readable: {error}.") from error

    async def holds(self, name: str, sha256: str) -> bool:
        """Whether the file is here and has that hash."""
        try:
            found = await anyio.to_thread.run_sync(file_sha256, self.path_of(name))
        except OSError:
            return False
        return found == sha256


def refused_place(message: str) -> StorageError:
    """The error about a place that is found unfit before anything is bought."""
    return StorageError(message, cure=CURE_BEFORE_BUYING, billed=Billed.NO)


def draft_name(name: str) -> str:
    """A name for a file that is being made: hidden, and nobody else's."""
    return f".{name}.{uuid4().hex}.part"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _try_out(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with _draft(directory / "check") as draft:
        draft.write_bytes(b"Nothing yet.")


def _write(target: Path, content: bytes) -> None:
    with _draft(target) as draft:
        draft.write_bytes(content)
        _move(draft, target)


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A path beside the target to make it ready at; nothing is left there."""
    draft = target.with_name(draft_name(target.name))
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    _flush(source)
    source.replace(target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
