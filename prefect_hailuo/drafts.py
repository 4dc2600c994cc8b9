"""A file that is being downloaded, as worker threads write and verify it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO, FileIO
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from prefect_hailuo.errors import StorageError
from prefect_hailuo.folders import write_whole
from prefect_hailuo.measures import Probe
from prefect_hailuo.mp4 import examine_mp4

SMALL_BYTES = 64 * 1024
"""A file of no more than this is looked into as it came, and not read again for it."""


@dataclass(frozen=True)
class Download:
    """A verified file.

    Args:
        path: Where it is, until it is taken over or dropped.
        size: Bytes.
        sha256: Hexadecimal.
        content_type: As the file server said, else as fal said.
        probe: Its measures, where its boxes say them plainly.
    """

    path: Path
    size: int
    sha256: str
    content_type: str | None
    probe: Probe | None


class Draft:
    """A file that nobody sees yet; dropped at the end unless moved away.

    Args:
        path: Where it is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._digest = hashlib.sha256()
        self._file: FileIO | None = None
        self._dropped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.drop()

    def drop(self) -> None:
        """Leave nothing behind, unless it was moved away; once is enough."""
        if self._dropped:
            return
        self._dropped = True
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self.path.unlink()

    @property
    def sha256(self) -> str:
        """Of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, chunk: bytearray) -> None:
        """Write the next piece, which makes the file if it is the first.

        Raises:
            StorageError: It cannot be written.
        """
        with self._blaming_the_disk():
            if self._file is None:
                self._file = self.path.open("wb", buffering=0)
            write_whole(self._file, chunk)  # not buffered, for the pieces are large
        self._digest.update(chunk)
        self.size += len(chunk)

    def finish(self, rest: bytearray) -> Probe | None:
        """Write the last piece, and see that the file is a whole video.

        Returns:
            Its measures, where its boxes say them plainly.

        Raises:
            DownloadError: It is not.
            StorageError: It cannot be written, or not be read again.
        """
        is_small = self.size == 0 and len(rest) <= SMALL_BYTES
        self.write(rest)
        with self._blaming_the_disk():
            if self._file is not None:
                self._file.close()
            if is_small:
                return examine_mp4(BytesIO(rest))
            with self.path.open("rb") as file:
                return examine_mp4(file)

    @contextmanager
    def _blaming_the_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.path.parent} cannot be written: {error}.") from error


@dataclass(frozen=True)
class Arrival:
    """A file of the length that was announced, not yet looked into.

    Args:
        draft: What is written of it.
        rest: What is not.
        content_type: As the file server said, else as fal said.
    """

    draft: Draft
    rest: bytearray
    content_type: str | None

    def verified(self) -> Download:
        """The file, written whole and found to be a complete video. It waits for the disk.

        Raises:
            DownloadError: It is none.
            StorageError: It cannot be written.
        """
        probe = self.draft.finish(self.rest)
        draft = self.draft
        return Download(draft.path, draft.size, draft.sha256, self.content_type, probe)
