"""Downloads: from fal's link to a verified file on this machine, a few at a time.

A file is written under a temporary name and verified in worker threads. It is removed at the end,
unless it was moved to its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from io import BytesIO, FileIO
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import anyio
import httpx
from typing_extensions import Self

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.errors import (
    DownloadError,
    HailuoError,
    StorageError,
    VideoExpiredError,
)
from prefect_hailuo.fal.hosts import FAL_HOSTS, Hosts, is_confidential
from prefect_hailuo.fal.messages import File
from prefect_hailuo.fal.replies import compression, retry_after
from prefect_hailuo.fal.retry import pause_seconds, pause_within, retry
from prefect_hailuo.media.mp4 import Probe, examine_mp4
from prefect_hailuo.storage.addresses import Reach, find_reach, is_named, refusal_of
from prefect_hailuo.storage.pictures import MOST_REDIRECTS
from prefect_hailuo.storage.place import (
    CHUNK_BYTES,
    Files,
    Place,
    on_disk,
    temporary_name,
    write_whole,
)
from prefect_hailuo.ticket import Realm

SMALL_BYTES = 64 * 1024
"""A file of at most this size is verified from memory, and not read again."""

T = TypeVar("T")

DOWNLOAD_SECONDS = 15 * 60.0
"""How long a failing download is repeated, also after the order's deadline: it is paid for."""

MOST_ATTEMPTS = 6

MOST_DOWNLOADS = 32
"""How many downloads of a process are under way at once, by default."""

MEMORY_BYTES = 32 << 20
"""How much all of them together hold in memory."""

STALL_SECONDS, STALL_BYTES = 60.0, 16 << 10
"""A file server that sends fewer bytes in this time has stalled, even if it is not silent."""

MOST_BYTES = 4 << 30
"""The largest file that is written to the disk, if its length was not announced."""

LEAST_BOUND_BYTES = 64 << 20
"""What a file may have at least, however small fal called it."""

AS_IT_IS = {"Accept-Encoding": "identity"}

REFUSED = frozenset({401, 403, 404, 410})
"""What file servers answer for a file that is gone or not there yet, and a proxy for any file."""

GONE = frozenset({404, 410})
"""Statuses that mean that a file is gone, once fal has kept it for as long as it promises."""

KEPT_SECONDS = 7 * 86400.0
"""How long fal keeps a file at least (fal's FAQ, as seen 2026-11-20)."""


class BadLinkError(Exception):
    """A link does not lead to the file now: a fresh one may, or the same one later.

    Args:
        message: What is wrong with it.
        status: What the file server answered, if that is what is wrong.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


Renew = Callable[[str], Awaitable[File | None]]
"""Asks fal for another link than a bad one; None where fal was asked, and names no other.

It raises a HailuoError where fal cannot be asked."""


@dataclass(frozen=True)
class Download:
    """A verified file.

    Args:
        path: Where it is until it is moved or removed.
        size: Bytes.
        sha256: Hexadecimal.
        content_type: As the file server said, otherwise as fal said.
        probe: Its measures, if its boxes say them plainly.
        url: fal's link that it came from.
    """

    path: Path
    size: int
    sha256: str
    content_type: str | None
    probe: Probe | None
    url: str


Keep = Callable[[Files, Download], T]
"""What to do with a verified file, in a worker thread."""


class Downloads:
    """All downloads of a process, within limits of number and memory.

    A slow file server holds up only its own files: waiting for a turn takes nothing from the time
    that a download has, and the disk has worker threads of its own.

    Args:
        http: The client for media; it sends no key.
        connections: How many downloads there may be at once.
        memory_bytes: How many bytes they may hold in memory together.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        connections: int = MOST_DOWNLOADS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._http = http
        self._memory_bytes = memory_bytes
        self._turns = anyio.CapacityLimiter(connections)
        self._file_hosts: Collection[str] = ()

    @property
    def connections(self) -> int:
        """How many downloads there may be at once."""
        return int(self._turns.total_tokens)

    def trust(self, file_hosts: Collection[str]) -> None:
        """Let links lead to hosts and networks that the environment names: see `refusal_of`."""
        self._file_hosts = file_hosts

    def allow(self, connections: int) -> None:
        """Change how many downloads there may be at once. Those under way go on."""
        if connections != self._turns.total_tokens:
            self._turns.total_tokens = connections

    async def fetch(
        self,
        file: File,
        place: Place,
        keep: Keep[T],
        seconds: float = DOWNLOAD_SECONDS,
        clock: Clock | None = None,
        *,
        made_at: datetime | None = None,
        renew: Renew | None = None,
        realm: Realm = "fal",
        hosts: Hosts = FAL_HOSTS,
    ) -> T:
        """Download a video, verify it, and hand it to `keep`; nothing else is left behind.

        The file server is sent no key. A download that fails is repeated; that costs nothing. So is
        one that is refused, for a young file may not be there yet, and a proxy may hide it; then
        fal is asked for a fresh link, too.

        Args:
            file: The file, as fal described it.
            place: The place that keeps it; the temporary file is in its workspace.
            keep: Called with the verified file, in one of the place's worker threads. It may raise
                a BadLinkError.
            seconds: How long a failing download is repeated. Waiting for a turn, while others
                download, does not count.
            clock: What that is measured with.
            made_at: When fal made the file; None: not long ago.
            renew: Asks fal for a fresh link.
            realm: Whose file it is, which tells where its link may lead: see `refusal_of`.
            hosts: The configured hosts, for the same.

        Returns:
            What `keep` returns.

        Raises:
            VideoExpiredError: It is no longer served, and fal has kept it for as long as it
                promises.
            DownloadError: It did not arrive whole.
            StorageError: The temporary file cannot be written.
        """
        deadline = Deadline(seconds, clock or SystemClock())
        link = _Link(file, made_at, renew)

        async def attempt_once() -> T:
            nonlocal deadline
            await link.freshen()
            left = deadline.remaining
            async with self._turns:
                deadline = Deadline(left, deadline.clock)
                return await self._attempt(link.file, place, keep, deadline, seconds, realm, hosts)

        def pause(attempt: int, error: Exception) -> float | None:
            if isinstance(error, BadLinkError):
                return link.pause(error, deadline)
            if not isinstance(error, DownloadError):
                return None
            return pause_within(deadline, MOST_ATTEMPTS, attempt - link.failures, error)

        try:
            return await retry(attempt_once, deadline.clock, pause)
        except BadLinkError as error:
            raise link.verdict(error) from error.__cause__

    async def _attempt(
        self,
        file: File,
        place: Place,
        keep: Keep[T],
        deadline: Deadline,
        seconds: float,
        realm: Realm,
        hosts: Hosts,
    ) -> T:
        with TemporaryFile(place.workspace / temporary_name("download.mp4")) as temporary:
            # The scope ends an answer that trickles in for ever.
            with anyio.move_on_after(deadline.remaining) as scope:
                received = await self._receive(file, temporary, deadline.clock, realm, hosts)
            if scope.cancelled_caught:
                raise DownloadError(f"The video did not arrive within {seconds:g} seconds.")

            def finish(files: Files) -> T:
                with temporary:
                    return keep(files, received.verified())

            # All the rest, from the last bytes to the kept file, happens in one thread's turn.
            return await place.work(finish)

    async def _receive(
        self, file: File, temporary: TemporaryFile, clock: Clock, realm: Realm, hosts: Hosts
    ) -> ReceivedFile:
        url = _media_url(file)
        for _ in range(MOST_REDIRECTS + 1):
            if why := await refusal_of(url, realm, hosts, self._file_hosts):
                raise BadLinkError(f"fal's link {why}; nothing was sent there.")
            try:
                async with self._http.stream("GET", url, headers=AS_IT_IS) as response:
                    if not response.has_redirect_location:
                        _check_answer(response)
                        if encoding := compression(response):
                            raise DownloadError(
                                "The download broke off: the file server compressed it "
                                f"({encoding}), though it was asked not to."
                            )
                        rest = await self._read(response, temporary, clock, _most_bytes(file))
                        announced = response.headers.get("Content-Length")
                        _check_length(response.num_bytes_downloaded, announced)
                        content_type = response.headers.get("Content-Type") or file.content_type
                        return ReceivedFile(file, temporary, rest, content_type)
                    there = _next(response, url)
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
                raise DownloadError(f"The download broke off ({reason}).") from error
            await check_reach(url, there, self._file_hosts)
            url = there
        raise DownloadError(f"fal's link was redirected more than {MOST_REDIRECTS} times.")

    async def _read(
        self, response: httpx.Response, temporary: TemporaryFile, clock: Clock, bound: int
    ) -> bytearray:
        """Write the body to the temporary file, chunk by chunk; return the rest."""
        chunk, most, pace = bytearray(), self._chunk_bytes, _Pace(clock)
        async for piece in response.aiter_raw():
            pace.note(len(piece))
            if response.num_bytes_downloaded > bound:
                raise DownloadError(f"More than {bound:,} bytes arrived, and no end.")
            chunk += piece
            if len(chunk) >= most:
                await on_disk(temporary.write, chunk)
                chunk = bytearray()
        return chunk

    @property
    def _chunk_bytes(self) -> int:
        return min(CHUNK_BYTES, self._memory_bytes // self.connections)


class _Link:
    """fal's link to a file, and what is learned of it.

    Args:
        file: The file, as fal described it.
        made_at: When fal made it; None: not long ago.
        renew: Asks fal for a fresh link.
    """

    def __init__(self, file: File, made_at: datetime | None, renew: Renew | None) -> None:
        self.file = file
        self.failures = 0
        age = datetime.now(timezone.utc) - made_at if made_at else timedelta(0)
        self._is_old = age > timedelta(seconds=KEPT_SECONDS)
        self._renew = renew
        self._is_last = renew is None
        self._doubtful = False

    async def freshen(self) -> None:
        """Ask fal for a fresh link, if this one is in doubt."""
        if self._renew is None or not self._doubtful:
            return
        self._doubtful = False
        with suppress(HailuoError):  # asked in vain: the link may still be good
            fresh = await self._renew(self.file.url)
            self._is_last = fresh is None
            self.file = fresh or self.file

    def pause(self, error: BadLinkError, deadline: Deadline) -> float | None:
        """Seconds until another attempt; None where that cannot help, or has no time left."""
        self.failures += 1
        # After the first, the second, the fourth failure, and so on.
        self._doubtful = self.failures & (self.failures - 1) == 0
        if error.status is None:
            return 0.0 if self._renew and self.failures == 1 else None
        if self._is_old and self.failures >= MOST_ATTEMPTS:
            return None
        seconds = pause_seconds(self.failures - 1, error)
        return seconds if seconds < deadline.remaining else None

    def verdict(self, error: BadLinkError) -> DownloadError:
        """The error that it ends with: expired, if its time is over and there is no other link."""
        if error.status is None:
            return DownloadError(error.message, retryable=False)
        if error.status in GONE and self._is_old and self._is_last:
            return VideoExpiredError(error.message)
        return DownloadError(
            error.message,
            cure="The video is paid for, and that does not mean that it has gone: run it again, "
            "and the download is repeated, without buying another. If it stays so, see whether a "
            f"proxy or a firewall forbids {httpx.URL(self.file.url).host}.",
        )


def _most_bytes(file: File) -> int:
    """How many bytes of a file are written: more than fal announced, whose figure may be off."""
    if file.file_size is None or file.file_size < 0:
        return MOST_BYTES
    return min(MOST_BYTES, max(LEAST_BOUND_BYTES, 4 * file.file_size))


class _Pace:
    """Notices when a file server sends next to nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since, self._bytes = clock.now(), 0

    def note(self, count: int) -> None:
        """Count the bytes that came.

        Raises:
            DownloadError: Too few came for too long.
        """
        self._bytes += count
        if self._bytes >= STALL_BYTES:
            self._since, self._bytes = self._clock.now(), 0
        elif self._clock.now() - self._since > STALL_SECONDS:
            raise DownloadError(
                f"The download stalled: {self._bytes:,} bytes came in {STALL_SECONDS:g} seconds."
            )


def _media_url(file: File) -> httpx.URL:
    try:
        url = httpx.URL(file.url)
    except httpx.InvalidURL as error:
        raise BadLinkError(f"fal's link is no URL ({error}).") from error
    return url


def _next(response: httpx.Response, at: httpx.URL) -> httpx.URL:
    """Where a redirect leads."""
    try:
        there = at.join(response.headers["Location"])
    except httpx.InvalidURL as error:
        raise BadLinkError(f"fal's link was redirected to what is no URL ({error}).") from error
    if there.userinfo or not is_confidential(there):
        raise BadLinkError(f"fal's link was redirected to {there.host!r}, not by plain https.")
    return there


async def check_reach(at: httpx.URL, there: httpx.URL, file_hosts: Collection[str] = ()) -> None:
    """Refuse a redirect into a private network, unless it comes from there, or that is named.

    Raises:
        BadLinkError: It leads there.
    """
    reach = await find_reach(there)
    if (
        reach is Reach.PUBLIC
        or await is_named(there, file_hosts)
        or (reach is not Reach.NEVER and await find_reach(at) is not Reach.PUBLIC)
    ):
        return
    raise BadLinkError(f"fal's link was redirected to {there.host!r}, which is no public host.")


def _check_answer(response: httpx.Response) -> None:
    if response.is_success:
        return
    answer = f"The file server answered HTTP {response.status_code}"
    if response.status_code in REFUSED:
        raise BadLinkError(f"{answer} for the video.", response.status_code)
    raise DownloadError(f"{answer}.", retry_after=retry_after(response))


def _check_length(size: int, announced: str | None) -> None:
    if announced is not None and size != int(announced):
        raise DownloadError(
            f"{size:,} bytes arrived where the file server announced {int(announced):,}."
        )


@dataclass(frozen=True)
class ReceivedFile:
    """A file that came in the announced length, not yet verified.

    Args:
        file: The file, as fal described it.
        temporary: The part that is written.
        rest: The part that is not.
        content_type: As the file server said, otherwise as fal said.
    """

    file: File
    temporary: TemporaryFile
    rest: bytearray
    content_type: str | None

    def verified(self) -> Download:
        """Write the rest, and verify the file. It waits for the disk.

        Raises:
            DownloadError: It is no complete video.
            StorageError: It cannot be written.
        """
        temporary, said = self.temporary, self.file.file_size
        try:
            probe = temporary.finish(self.rest)
        except DownloadError as error:
            # fal's figure decides nothing, for it may be off, but it may explain.
            if said is None or said == temporary.size:
                raise
            note = f"{error.message} It has {temporary.size:,} bytes, and fal announced {said:,}."
            raise DownloadError(note) from error
        size, sha256 = temporary.size, temporary.sha256
        return Download(temporary.path, size, sha256, self.content_type, probe, self.file.url)


class TemporaryFile:
    """A file that is being written; it is removed at the end unless it was moved away.

    Args:
        path: Where it is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._digest = hashlib.sha256()
        self._file: FileIO | None = None
        self._removed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove it, unless it was moved away. The first call counts."""
        if self._removed:
            return
        self._removed = True
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self.path.unlink()

    @property
    def sha256(self) -> str:
        """The hash of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, chunk: bytearray) -> None:
        """Write the next piece. The first one makes the file.

        Raises:
            StorageError: It cannot be written.
        """
        with self._storage_errors():
            if self._file is None:
                self._file = self.path.open("wb", buffering=0)
            write_whole(self._file, chunk)  # not buffered: the pieces are large
        self._digest.update(chunk)
        self.size += len(chunk)

    def finish(self, rest: bytearray) -> Probe | None:
        """Write the last piece, and check that the file is a complete video.

        Returns:
            Its measures, if its boxes say them plainly.

        Raises:
            DownloadError: It is no complete video.
            StorageError: It cannot be written, or read again.
        """
        is_small = self.size == 0 and len(rest) <= SMALL_BYTES
        self.write(rest)
        with self._storage_errors():
            if self._file is not None:
                self._file.close()
            if is_small:
                return examine_mp4(BytesIO(rest))
            with self.path.open("rb") as file:
                return examine_mp4(file)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.path.parent} cannot be written: {error}.") from error
