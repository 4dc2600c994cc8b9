"""The `storage` argument: a directory or a Prefect storage block, as a place for videos."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import inspect
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from prefect.blocks.core import Block
from prefect.filesystems import LocalFileSystem, RemoteFileSystem

from prefect_hailuo.errors import ConfigurationError, StorageError
from prefect_hailuo.runs.cancellation import STARTED_FOR
from prefect_hailuo.runs.settings import current_settings, load_block
from prefect_hailuo.storage.names import parse_template
from prefect_hailuo.storage.place import (
    Directory,
    Files,
    Place,
    file_sha256,
    limiter_of_loop,
    refused_place,
    untold,
)
from prefect_hailuo.ticket import Realm

T = TypeVar("T")

Storage = str | Path | Block | None
"""A directory, a block that can store files, `"block:<type>/<name>"`, or None: the default."""

BLOCK_PREFIX = "block:"

UNSAVED = "unsaved-"
"""How the name in an unsaved block's label begins; a block of such a name cannot be loaded."""

MOST_CALLS = 20
"""Calls of blocks at once. They have worker threads of their own: an upload may take long."""

DOWNLOAD = "download_object_to_path"
"""A method that Prefect's blocks for buckets have (`ObjectStorageBlock`)."""

MARKER = "prefect-hailuo.txt"

MARKER_TEXT = b"Videos of prefect-hailuo are kept here.\n"

TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
"""What S3 answers where an object is there, or somebody else is just making it."""

UNKNOWN_CONDITION = frozenset({"NotImplemented", "501"})

_limiters: RunVar[anyio.CapacityLimiter] = RunVar("prefect_hailuo.runs.storage")


def resolve_storage(storage: Storage, realm: Realm) -> Place:
    """The place that a `storage` argument names, with the settings' template for names.

    Args:
        storage: A directory, a block, `"block:<type>/<name>"`, or None: the realm's default.
        realm: Chooses the default directory.

    Raises:
        ConfigurationError: It cannot store files, or the template cannot be used.
    """
    return named_by_settings(_find(storage, realm))


def named_by_settings(place: Place) -> Place:
    """The place, with the settings' template for the names of videos.

    Raises:
        ConfigurationError: The template cannot be used.
    """
    place.template = parse_template(current_settings().name_template)
    return place


def _find(storage: Storage, realm: Realm) -> Place:
    if storage is None:
        return Directory(current_settings().videos_of(realm))
    if isinstance(storage, str) and storage.startswith(BLOCK_PREFIX):
        storage = load_block(Block, storage.removeprefix(BLOCK_PREFIX))
    if isinstance(storage, str) and "://" in storage:
        raise ConfigurationError(
            f"storage {storage!r} is an address, not a directory.",
            cure="Save a storage block for it, and pass it as 'block:<type>/<name>'.",
        )
    if isinstance(storage, LocalFileSystem):
        return Directory(_lasting(Path(storage.basepath or ".").expanduser(), realm).resolve())
    if isinstance(storage, Block):
        return StorageBlock(storage)
    return Directory(_lasting(Path(storage), realm))


def _lasting(path: Path, realm: Realm) -> Path:
    """A directory that lasts longer than the run.

    A worker or a runner makes a temporary directory for a run, puts the deployment's code there,
    and removes it when the run has ended, with all that was paid for in it. So there a relative
    path is one below the output directory.
    """
    if str(path).startswith("~"):
        return path  # of a home directory, which `Directory` finds
    temporary = Path(tempfile.gettempdir()).resolve()
    passing = os.environ.get(STARTED_FOR) and Path.cwd().resolve().is_relative_to(temporary)
    if path.is_absolute() or not passing:
        return path
    return current_settings().videos_of(realm) / path


def _has(block: Block, method: str) -> bool:
    return callable(getattr(block, method, None))


def _call_block(block: Block, method: str, arguments: tuple[Any, ...]) -> Any:
    answer = getattr(block, method)(*arguments)
    return asyncio.run(_finish(answer)) if inspect.isawaitable(answer) else answer


async def _finish(answer: Any) -> Any:
    return await answer


def _digest(block: Block) -> str:
    # Secrets are dumped as asterisks; they do not tell where the files are anyway.
    settings = json.dumps(block.model_dump(mode="json"), sort_keys=True, default=str)
    return hashlib.sha256(settings.encode()).hexdigest()[:16]


class StorageBlock(Place):
    """A Prefect block as a place: Prefect's own file systems, S3, GCS, Azure or any other.

    Its methods run in worker threads, so that no other generation waits for them.

    Args:
        block: It needs `read_path` and `write_path`; `upload_from_path` is used if it has one.

    Raises:
        ConfigurationError: The block cannot store files.
    """

    def __init__(self, block: Block) -> None:
        if not (_has(block, "read_path") and _has(block, "write_path")):
            raise ConfigurationError(
                f"The block {type(block).__name__} cannot store files.",
                cure="Pass a directory, or a block with read_path and write_path, such as "
                "LocalFileSystem, RemoteFileSystem or S3Bucket.",
            )
        self._block = block

    @property
    def block(self) -> Block:
        """The block itself."""
        return self._block

    @property
    def label(self) -> str:
        """The block's type and name; for an unsaved block, a digest of its settings."""
        name = self._block._block_document_name
        name = name or f"{UNSAVED}{_digest(self._block)}"
        return f"{BLOCK_PREFIX}{self._block.get_block_type_slug()}/{name}"

    @property
    def workspace(self) -> Path:
        """A directory of this process for temporary files, which no other user can read.

        Raises:
            StorageError: It cannot be made.
        """
        try:
            return _private_directory(tempfile.gettempdir())
        except OSError as error:
            raise StorageError(f"No temporary directory can be made: {error}.") from error

    def path_of(self, name: str) -> None:
        """No local path."""

    async def check(self) -> None:
        """Write a small file to the block and read it back.

        Raises:
            StorageError: It cannot be written to, or read from.
        """
        await self._in_thread(_BlockFiles.check)

    async def work(self, job: Callable[[Files], T]) -> T:
        """Do several things with the block in one worker thread."""
        return await self._in_thread(job)

    async def _in_thread(self, job: Callable[[_BlockFiles], T]) -> T:
        files = _BlockFiles(self._block, self.label)
        return await anyio.to_thread.run_sync(
            job, files, limiter=limiter_of_loop(_limiters, MOST_CALLS)
        )


ABSENT = frozenset({"NoSuchKey", "NotFound", "404", "BlobNotFound"})
"""The words of S3 (of its questions without an answer's body: the number), and of Azure, for an
object that there is not. They answer a missing right to list with 403."""


def says_absent(error: BaseException | None, name: str) -> bool:
    """Whether an error of a block's says for certain that there is no such file.

    Args:
        error: The error; the errors that it was raised from count, too.
        name: The file's name, as the block was given it.

    Example:
        >>> says_absent(FileNotFoundError("fox.mp4"), "fox.mp4")
        True
        >>> says_absent(PermissionError("fox.mp4"), "fox.mp4")
        False
    """
    while error is not None:
        if isinstance(error, FileNotFoundError) or (
            isinstance(error, KeyError) and error.args == (name,)
        ):
            return True
        if _code_of(error) in ABSENT:
            return True
        error = error.__cause__
    return False


def _code_of(error: BaseException) -> str | None:
    """What a bucket's library calls an error: boto3's, Google's (`code`), Azure's."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        said = response.get("Error")
        return str(said.get("Code")) if isinstance(said, dict) else None
    named = getattr(error, "error_code", None)
    if named is not None:
        return str(getattr(named, "value", named))
    code = getattr(error, "code", None)
    return str(int(code)) if isinstance(code, int) else None


_private: dict[tuple[str, int], Path] = {}

_making = threading.Lock()


def _private_directory(parent: str) -> Path:
    """The process's own directory below one that all users share; made anew if it was cleared."""
    mine = (parent, os.getpid())  # a forked child has its own
    with _making:
        if mine not in _private or not _private[mine].is_dir():
            _private[mine] = Path(tempfile.mkdtemp(prefix="prefect-hailuo-", dir=parent))
        return _private[mine]


@atexit.register
def _remove_private_directories() -> None:
    for (_, process), path in _private.items():
        if process == os.getpid():
            shutil.rmtree(path, ignore_errors=True)


def _forget_parents_lock() -> None:
    """In a forked child: the thread that held it is not here."""
    global _making
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_lock)


class _BlockFiles:
    """A block's files."""

    def __init__(self, block: Block, label: str) -> None:
        self._block = block
        self._label = label

    def keep(self, file: Path, name: str, *, over: bool = True) -> bool:
        """Hand a file to the block."""
        if not over:
            with file.open("rb") as content:
                created = self._create(name, content)
            if created is not None:
                return created
        if _has(self._block, "upload_from_path"):
            self._call("upload_from_path", str(file), name)
            return True
        return self.write(name, file.read_bytes())

    def write(self, name: str, content: bytes, *, over: bool = True) -> bool:
        """Hand a small file to the block."""
        if not over:
            created = self._create(name, BytesIO(content))
            if created is not None:
                return created
        self._call("write_path", name, content)
        return True

    def _create(self, name: str, content: BinaryIO) -> bool | None:
        """Make a file where there is none; None where the block has no way to do so in one step."""
        create = _creating(self._block)
        if create is None:
            return None
        try:
            return create(name, content)
        except Exception as error:
            raise self._unusable("creation", name, error) from error

    def read(self, name: str) -> bytes | None:
        """A file's content; None if there is no such file.

        Only a known word says that there is none: a transient fault, an archive or a disabled key
        must not be taken for a missing file, which would be bought again, or written over. Besides,
        the block must return the file that `check` wrote.
        """
        answer = self._attempt("read_path", name)
        return answer[0] if answer else None

    def sha256(self, name: str) -> str | None:
        """The file's SHA-256; None if there is none. It is read: blocks offer no cheaper check."""
        if _has(self._block, DOWNLOAD):
            with TemporaryDirectory() as folder:
                to = Path(folder) / "file"
                return file_sha256(to) if self._fetch(name, to) else None
        content = self.read(name)
        return None if content is None else hashlib.sha256(content).hexdigest()

    def holds(self, name: str, sha256: str) -> bool:
        """Whether the block holds the file, unharmed."""
        return self.sha256(name) == sha256

    def fetch(self, name: str, sha256: str, to: Path) -> bool:
        """Copy a file, if it is here unharmed, to a path, without holding all of it in memory.

        Only a block that offers no such way is read as a whole.
        """
        return self._fetch(name, to) and file_sha256(to) == sha256

    def _fetch(self, name: str, to: Path) -> bool:
        if _has(self._block, DOWNLOAD):
            return self._attempt(DOWNLOAD, name, str(to)) is not None and to.exists()
        content = self.read(name)
        if content is not None:
            to.write_bytes(content)
        return content is not None

    def check(self) -> None:
        """Write a small file and read it back."""
        try:
            self.write(MARKER, MARKER_TEXT)
        except StorageError as error:
            raise refused_place(error.message) from error.__cause__
        self._check_readable()

    def _check_readable(self) -> None:
        try:
            if self._call("read_path", MARKER) == MARKER_TEXT:
                return
        except StorageError as error:
            raise refused_place(error.message) from error.__cause__
        raise refused_place(f"{self._label} is not usable: it does not return what was written.")

    def _attempt(self, method: str, *arguments: Any) -> tuple[Any] | None:
        """What a reading call returns, in a tuple; None if there is no such file."""
        name = str(arguments[0])
        for again in (True, False):
            try:
                return (self._call(method, *arguments),)
            except StorageError as error:
                self._check_readable()
                cause = error.__cause__ or error
                if says_absent(cause, name):
                    return None
                if not again:
                    raise untold(
                        f"{name} in {self._label}", cause if isinstance(cause, Exception) else error
                    ) from cause
        return None

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return _call_block(self._block, method, arguments)
        except Exception as error:
            raise self._unusable(method, arguments[0], error) from error

    def _unusable(self, method: str, name: object, error: Exception) -> StorageError:
        return StorageError(
            f"{self._label} is not usable: {method} of {name!r} failed "
            f"({type(error).__name__}: {error})."
        )


Create = Callable[[str, BinaryIO], bool | None]
"""Makes a file where there is none; False if there is one, None if the store cannot do that."""


def _creating(block: Block) -> Create | None:
    """A block's way to make a file only where there is none, in one step; None if it has none."""
    if isinstance(block, RemoteFileSystem):
        return partial(_create_by_fsspec, block)
    credentials = getattr(block, "credentials", None)
    if hasattr(block, "bucket_folder") and hasattr(credentials, "get_s3_client"):
        return partial(_create_in_s3, block)
    return None


def _create_by_fsspec(block: RemoteFileSystem, name: str, content: BinaryIO) -> bool | None:
    path = f"{block.basepath.rstrip('/')}/{name}"
    block.filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
    try:
        with block.filesystem.open(path, "xb") as made:
            shutil.copyfileobj(content, made)
    except FileExistsError:
        return False
    except (NotImplementedError, ValueError):  # a file system that knows no such mode
        return None
    return True


def _create_in_s3(block: Any, name: str, content: BinaryIO) -> bool | None:
    # Neither the block's own methods nor boto3's uploads hand the condition on.
    key = (PurePosixPath(block.bucket_folder) / name).as_posix()
    put = block.credentials.get_s3_client().put_object
    try:
        put(Bucket=block.bucket_name, Key=key, Body=content, IfNoneMatch="*")
    except Exception as error:
        if (code := _code_of(error)) in TAKEN:
            return False
        if code in UNKNOWN_CONDITION:  # by some makers' stores that speak S3
            content.seek(0)
            return None
        raise
    return True
