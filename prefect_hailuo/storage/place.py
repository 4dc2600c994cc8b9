"""Where videos are kept: places, and directories as places.

A file in a directory is complete or not there, and it is on the disk when the work on it is over.
Work on files runs in its own worker threads, so that nothing else waits for the disk. Each system
call that may wait releases the interpreter's lock, and a busy loop takes milliseconds to give it
back: with dozens of calls, a file took a tenth of a second. So there are as few as possible.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar
from uuid import uuid4

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from typing_extensions import TypeVarTuple, Unpack

from prefect_hailuo.errors import Billed, ConfigurationError, StorageError
from prefect_hailuo.storage.names import NameTemplate

T = TypeVar("T")

Arguments = TypeVarTuple("Arguments")

DISK_THREADS = 32
"""Many, because they mostly wait, and a disk writes together what they write at the same time."""

_limiters: RunVar[anyio.CapacityLimiter] = RunVar("prefect_hailuo.storage.place")

CHUNK_BYTES = 1 << 20

TEMPORARY_NAME_CHARACTERS = 50
"""How much of a file's name its temporary file's name has, so that it is not too long."""

NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EINVAL}
"""What file systems say that know no second name for a file."""

CURE_BEFORE_BUYING = "Make it usable, or pass another storage; nothing was bought."

DIRECTORY_PREFIX = "directory:"


class Files(Protocol):
    """A place's files, for a worker thread: each call blocks, and does what `Place` says."""

    def keep(self, file: Path, name: str, *, over: bool = True) -> bool:
        """Take over a complete file; False where there is one, which is not to be written over."""

    def write(self, name: str, content: bytes, *, over: bool = True) -> bool:
        """Keep a small file; False where there is one, which is not to be written over."""

    def read(self, name: str) -> bytes | None:
        """A small file's content."""

    def sha256(self, name: str) -> str | None:
        """A file's hash; None if there is no such file."""

    def holds(self, name: str, sha256: str) -> bool:
        """Whether a file is here, unharmed."""

    def fetch(self, name: str, sha256: str, to: Path) -> bool:
        """Copy a file, if it is here unharmed, to a path of this machine."""


class Place(ABC):
    """Somewhere to keep files under a name and to find them again."""

    template: NameTemplate = NameTemplate()
    """How videos are named here."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The place's unique name; it is part of Prefect's cache key."""

    @property
    def machine(self) -> str | None:
        """What distinguishes this place from others of the same label; None if the label does."""
        return None

    @property
    @abstractmethod
    def workspace(self) -> Path:
        """A directory for temporary files, from which files are handed over."""

    @abstractmethod
    async def check(self) -> None:
        """Refuse a place that cannot be written to, before anything is bought."""

    @abstractmethod
    def path_of(self, name: str) -> Path | None:
        """The local path of a file that is kept here, if it has one."""

    @abstractmethod
    async def work(self, job: Callable[[Files], T]) -> T:
        """Do several things with the place's files in one worker thread; they run to their end."""

    async def keep(self, file: Path, name: str, *, over: bool = True) -> bool:
        """Take over a complete file. Afterwards it is here whole, or not at all.

        Args:
            file: The file.
            name: Its name here.
            over: Whether it takes the place of another of this name.

        Returns:
            Whether it was taken.

        Raises:
            StorageError: The place does not take it.
        """
        return await self.work(lambda files: files.keep(file, name, over=over))

    async def write(self, name: str, content: bytes, *, over: bool = True) -> bool:
        """Keep a small file, in one step.

        Args:
            name: Its name here.
            content: What is in it.
            over: Whether it takes the place of another of this name.

        Returns:
            Whether it was written.

        Raises:
            StorageError: The place does not take it.
        """
        return await self.work(lambda files: files.write(name, content, over=over))

    async def read(self, name: str) -> bytes | None:
        """A small file's content; None if there is no such file.

        Raises:
            StorageError: There is or may be one, and it cannot be read.
        """
        return await self.work(lambda files: files.read(name))

    async def holds(self, name: str, sha256: str) -> bool:
        """Whether a file is here, unharmed.

        Raises:
            StorageError: That cannot be found out.
        """
        return await self.work(lambda files: files.holds(name, sha256))

    async def fetch(self, name: str, sha256: str, to: Path) -> bool:
        """Copy a file, if it is here unharmed, to a path of this machine, in constant memory.

        Raises:
            StorageError: Whether it is here cannot be found out.
            OSError: The path cannot be written.
        """
        return await self.work(lambda files: files.fetch(name, sha256, to))


class Directory(Place):
    """A directory of this machine, made when it is first needed.

    Args:
        path: The directory.

    Raises:
        ConfigurationError: It is in a home that this machine does not know.

    Example:
        >>> Directory("videos").path_of("fox.mp4").name
        'fox.mp4'
    """

    def __init__(self, path: str | Path) -> None:
        self._machine: str | None = None
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

    @property
    def machine(self) -> str | None:
        """The machine, and the directory's number there: without its disk, it has another.

        It is as it was when the directory was last used, for a disk may go away during a run.
        """
        if self._machine is None:
            self._machine = _machine_of(self._root)
        return self._machine

    @classmethod
    def labelled(cls, label: str) -> Directory | None:
        """The directory that a label names; None if the label is not a directory's."""
        if not label.startswith(DIRECTORY_PREFIX):
            return None
        return cls(label.removeprefix(DIRECTORY_PREFIX))

    @property
    def workspace(self) -> Path:
        """The directory itself: a move is atomic only within one file system.

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
            self._machine = await on_disk(_machine_of, self._root)
        except OSError as error:
            raise refused_place(f"{self._root} is not writable: {error}.") from error

    def path_of(self, name: str) -> Path:
        """The file's path."""
        return self._root / name

    async def work(self, job: Callable[[Files], T]) -> T:
        """Do several things with the directory's files in one of the disk's worker threads."""
        return await on_disk(self._work, job)

    def _work(self, job: Callable[[Files], T]) -> T:
        self._machine = _machine_of(self._root)
        files = DirectoryFiles(self._root)
        done = job(files)
        files.finish()
        return done


class DirectoryFiles:
    """A directory's files, for worker threads: each call waits for the disk.

    Once `finish` has returned, a power cut undoes nothing.

    Args:
        root: The directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._changed: dict[Path, None] = {}

    def keep(self, file: Path, name: str, *, over: bool = True) -> bool:
        """Move a file into place, in one step."""
        target = self._root / name
        with _storage_errors(target):
            _flush(file)
            self._make_folders(target)
            return self._move(file, target, over)

    def write(self, name: str, content: bytes, *, over: bool = True) -> bool:
        """Write a small file, in one step."""
        make_directory(self._root)
        target = self._root / name
        # Not beside the target: what a killed process leaves is hidden, in one place.
        temporary = self._root / temporary_name(target.name)
        with _storage_errors(target), _removed_on_error(temporary):
            with temporary.open("wb", buffering=0) as made:
                write_whole(made, content)
                os.fsync(made.fileno())
            self._make_folders(target)
            moved = self._move(temporary, target, over)
            if not moved:
                temporary.unlink()
            return moved

    def finish(self) -> None:
        """Make sure that all new names are on the disk, each directory's at once."""
        for directory in self._changed:
            with _storage_errors(directory):
                _names_of(directory).flush()
        self._changed.clear()

    def read(self, name: str) -> bytes | None:
        """A small file's content."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise untold(str(self._root / name), error) from error

    def sha256(self, name: str) -> str | None:
        """A file's hash; None if there is no such file."""
        digest = hashlib.sha256()
        return digest.hexdigest() if self._read(name, digest.update) else None

    def holds(self, name: str, sha256: str) -> bool:
        """Whether the file is here and has that hash."""
        return self.sha256(name) == sha256

    def fetch(self, name: str, sha256: str, to: Path) -> bool:
        """Copy a file, if it is here and has that hash, to another path."""
        with to.open("wb") as copy:
            return self._read(name, copy.write) and _flushed_sha256(copy, to) == sha256

    def _read(self, name: str, take: Callable[[bytes], object]) -> bool:
        """Read a file in pieces; whether it is here."""
        path = self._root / name
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        except OSError as error:
            raise untold(str(path), error) from error
        with file:
            while chunk := _next_chunk(file, path):
                take(chunk)
        return True

    def _make_folders(self, target: Path) -> None:
        """Make the folders in a name, and note that their own names must get onto the disk."""
        for folder in reversed(target.relative_to(self._root).parents[:-1]):
            make_directory(self._root / folder)
            self._changed[(self._root / folder).parent] = None

    def _move(self, source: Path, target: Path, over: bool) -> bool:
        """Give a file that is on the disk its name; whether that was free, or may be taken."""
        if over:
            source.replace(target)
        elif not _move_to_free_name(source, target):
            return False
        self._changed[target.parent] = None
        return True


def refused_place(message: str) -> StorageError:
    """The error about an unusable place, before anything is bought."""
    return StorageError(message, cure=CURE_BEFORE_BUYING, billed=Billed.NO)


def untold(what: str, error: BaseException) -> StorageError:
    """The error about a file that cannot be read: that says nothing about whether it is there.

    Args:
        what: The file and its place.
        error: Why it cannot be read.
    """
    told = StorageError(
        f"{what} is not readable, so whether it is there cannot be told "
        f"({type(error).__name__}: {error}).",
        cure="Make it readable (the right to read and to list, a disk that is mounted, an archived "
        "object restored, an encryption key enabled), and run it again. Nothing was bought, and "
        "nothing was written over it.",
        billed=Billed.NO,
    )
    told.untold = True
    return told


def temporary_name(name: str) -> str:
    """A name for a file that is being made: hidden and unique."""
    return f".{name[:TEMPORARY_NAME_CHARACTERS]}.{uuid4().hex}.part"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _next_chunk(file: BinaryIO, path: Path) -> bytes:
    try:
        return file.read(CHUNK_BYTES)
    except OSError as error:
        raise untold(str(path), error) from error


def _flushed_sha256(file: BinaryIO, path: Path) -> str:
    file.flush()
    return file_sha256(path)


def _machine_of(directory: Path) -> str:
    try:
        return f"{this_machine()}:{directory.stat().st_ino}"
    except OSError:
        return f"{this_machine()}:none"


@lru_cache(maxsize=1)
def this_machine() -> str:
    """This machine's name and a digest of its id: a directory's path alone names no machine."""
    name, own = socket.gethostname(), ""
    with suppress(OSError):
        own = Path("/etc/machine-id").read_text(encoding="ascii")
    return f"{name}:{hashlib.sha256(f'{name} {own}'.encode()).hexdigest()[:8]}"


def make_directory(path: Path) -> None:
    """Make a directory, and all above it, unless it is there.

    Raises:
        StorageError: It cannot be made.
    """
    if path.is_dir():
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The directory {path} cannot be made: {error}.") from error


def try_out(directory: Path) -> None:
    """Make a directory, and a file in it, which is removed again.

    Raises:
        OSError: That is not possible.
    """
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / temporary_name("check")
    with _removed_on_error(temporary):
        temporary.write_bytes(b"Nothing yet.")
        temporary.unlink()


def write_whole(file: FileIO, content: bytes | bytearray) -> None:
    """Write all of it to a file without a buffer, which may take several calls."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _move_to_free_name(source: Path, target: Path) -> bool:
    """Give a file a name that no other has; of two who try at once, one gets it."""
    try:
        os.link(source, target)
        source.unlink()
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        try:
            target.open("xb").close()  # it is empty until the file is moved there
        except FileExistsError:
            return False
        source.replace(target)
    return True


@contextmanager
def _removed_on_error(temporary: Path) -> Iterator[None]:
    """Remove a temporary file if it could not be completed or moved."""
    try:
        yield
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _storage_errors(target: Path) -> Iterator[None]:
    """Turn the system's errors about a file into a StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error}.") from error


class _Names:
    """The names in one directory; one flush serves all threads that wait for one.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._begun = self._done = 0

    def flush(self) -> None:
        """Return when a flush has ended that began after this call."""
        mine = self._begun + 1
        with self._lock:
            if self._done < mine:
                self._begun += 1
                number = self._begun
                _flush(self._directory)
                self._done = number


@lru_cache(maxsize=64)
def _names_of(directory: Path) -> _Names:
    return _Names(directory)


if hasattr(os, "register_at_fork"):
    # In a forked child, a lock may be held by a thread that does not exist there.
    os.register_at_fork(after_in_child=_names_of.cache_clear)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def on_disk(call: Callable[[Unpack[Arguments]], T], *arguments: Unpack[Arguments]) -> T:
    """Call something that waits for the disk, in one of the disk's worker threads.

    It runs to its end, even if the caller is cancelled meanwhile.
    """
    return await anyio.to_thread.run_sync(
        call, *arguments, limiter=limiter_of_loop(_limiters, DISK_THREADS)
    )


def limiter_of_loop(limiters: RunVar[anyio.CapacityLimiter], at_once: int) -> anyio.CapacityLimiter:
    """This event loop's limiter, made on first use.

    Args:
        limiters: Holds one for each loop.
        at_once: How many calls it lets in at once.
    """
    try:
        return limiters.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(at_once)
        limiters.set(limiter)
        return limiter
