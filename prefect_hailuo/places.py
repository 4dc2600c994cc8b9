"""Where videos are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from prefect_hailuo.disk import on_disk
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.folders import Folder, make_directory, refused_place, try_out
from prefect_hailuo.name_templates import NameTemplate

T = TypeVar("T")

DIRECTORY_PREFIX = "directory:"


class Shelf(Protocol):
    """A place's files, for a worker thread: each call waits, and does what `Place` says."""

    def keep(self, file: Path, name: str) -> None:
        """Take over a complete file."""

    def write(self, name: str, content: bytes) -> None:
        """Keep a small file."""

    def read(self, name: str) -> bytes | None:
        """A small file's content."""

    def holds(self, name: str, sha256: str) -> bool:
        """Whether a file is here, unharmed."""

    def fetch(self, name: str, sha256: str, to: Path) -> bool:
        """Bring a file, if it is here unharmed, to a path of this machine."""


class Place(ABC):
    """Somewhere that files can be kept under a name and found again."""

    template: NameTemplate = NameTemplate()
    """How videos are named here."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Names the place, and tells it from others; it enters Prefect's cache key."""

    @property
    @abstractmethod
    def workspace(self) -> Path:
        """A directory in which a file is made ready before it is handed over."""

    @abstractmethod
    async def check(self) -> None:
        """Refuse, before anything is bought, a place that cannot be written to."""

    @abstractmethod
    def path_of(self, name: str) -> Path | None:
        """The local path of a file kept here, where it has one."""

    @abstractmethod
    async def work(self, job: Callable[[Shelf], T]) -> T:
        """Do several things with the place's files in one worker thread, to their end."""

    async def keep(self, file: Path, name: str) -> None:
        """Take over a complete file. It is there in whole, or not at all.

        Raises:
            StorageError: The place does not take it.
        """
        await self.work(lambda shelf: shelf.keep(file, name))

    async def write(self, name: str, content: bytes) -> None:
        """Keep a small file, in one step.

        Raises:
            StorageError: The place does not take it.
        """
        await self.work(lambda shelf: shelf.write(name, content))

    async def read(self, name: str) -> bytes | None:
        """A small file's content; None where there is no such file.

        Raises:
            StorageError: There is one, or may be one, and it cannot be read.
        """
        return await self.work(lambda shelf: shelf.read(name))

    async def holds(self, name: str, sha256: str) -> bool:
        """Whether a file is here, unharmed.

        Raises:
            StorageError: That cannot be told.
        """
        return await self.work(lambda shelf: shelf.holds(name, sha256))

    async def fetch(self, name: str, sha256: str, to: Path) -> bool:
        """Bring a file, if it is here unharmed, to a path of this machine, in constant memory.

        Raises:
            StorageError: It cannot be told whether it is here.
            OSError: The path cannot be written.
        """
        return await self.work(lambda shelf: shelf.fetch(name, sha256, to))


class Directory(Place):
    """A directory of this machine, made when it is first needed.

    Args:
        path: The directory.

    Raises:
        ConfigurationError: It is in the home of somebody who has none here.

    Example:
        >>> Directory("videos").path_of("fox.mp4").name
        'fox.mp4'
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._root = Path(path).expanduser().absolute()
        except RuntimeError:
            raise ConfigurationError(
                f"The directory {path} is in a home that is not known; nothing was bought.",
                cure="Write its whole path.",
            ) from None

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
        make_directory(self._root)
        return self._root

    async def check(self) -> None:
        """Refuse a directory that cannot be written to.

        Raises:
            StorageError: It cannot be made, or no file can be made in it.
        """
        try:
            await on_disk(try_out, self._root)
        except OSError as error:
            raise refused_place(f"{self._root} is not writable: {error}.") from error

    def path_of(self, name: str) -> Path:
        """The file's path."""
        return self._root / name

    async def work(self, job: Callable[[Shelf], T]) -> T:
        """Do several things with the directory's files in one of the disk's worker threads."""
        return await on_disk(_finished, job, Folder(self._root))


def _finished(job: Callable[[Shelf], T], folder: Folder) -> T:
    done = job(folder)
    folder.finish()
    return done
