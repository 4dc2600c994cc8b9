"""From fal's result to a video in its place, with its provenance beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import httpx
from pydantic import ValidationError

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.download import Download, downloaded
from prefect_hailuo.endpoints import find_input_class
from prefect_hailuo.errors import (
    Billed,
    DownloadError,
    HailuoError,
    StorageError,
    VideoExpiredError,
    about,
)
from prefect_hailuo.events import Stored
from prefect_hailuo.fal.messages import Completed, File, Output, Ticket
from prefect_hailuo.loop import Emit, ignore
from prefect_hailuo.media import poster_data_uri, probe
from prefect_hailuo.naming import is_of, name_and_key, name_apart, record_name
from prefect_hailuo.places import Place
from prefect_hailuo.video import Video, ticket_of

T = TypeVar("T")

DOWNLOAD_SECONDS = 15 * 60.0
"""How long a download is repeated, however late the video was; it is paid for by then."""

COPIED_FROM_TICKET = {
    "input",
    "take",
    "labels",
    "request_id",
    "account",
    "realm",
    "submitted_at",
}


class Storing:
    """One place, and the way into it.

    Args:
        media: The HTTP client for media; it sends no key.
        place: Where videos are kept.
        emit: Called with `Stored`.
        clock: What waiting is measured with.
    """

    def __init__(
        self,
        media: httpx.AsyncClient,
        place: Place,
        emit: Emit = ignore,
        clock: Clock | None = None,
    ) -> None:
        self._media = media
        self._place = place
        self._emit = emit
        self._clock: Clock = clock or SystemClock()

    @property
    def label(self) -> str:
        """The place's own name."""
        return self._place.label

    async def store(
        self,
        ticket: Ticket,
        output: Output,
        completed: Completed | None = None,
        name: str | None = None,
    ) -> Video:
        """Download a result, verify it, and keep it with its provenance.

        Args:
            ticket: The request.
            output: Its result.
            completed: How it completed, if that was seen.
            name: Its name in the place; by default, its generation's.

        Raises:
            DownloadError: It did not arrive whole, or is no longer served.
            StorageError: The place does not take it.
        """
        try:
            return await self._store(ticket, output.video, completed, name)
        except HailuoError as error:
            about(ticket, error)
            raise

    async def find(self, name: str, key: str) -> Video | None:
        """The video of a key, if its record is here; its file may not be.

        Raises:
            StorageError: There is a record, and it cannot be read: what it says was bought is not
                bought again unasked.
        """
        record = await self._place.read(record_name(name))
        video = _parse_record(record, record_name(name)) if record is not None else None
        if video is None or video.key != key:
            return None
        # The record may have been written before the place was moved.
        return self.here(video, name)

    def here(self, video: Video, name: str) -> Video:
        """A video as one that is in this place, under a name."""
        where = {
            "path": self._place.path_of(name),
            "storage": self._place.label,
            "storage_key": name,
        }
        return video.model_copy(update=where)

    async def free_name(self, name: str, request_id: str) -> str:
        """A name for a request's video under which no other request's is kept: it was paid for."""
        record = await self._place.read(record_name(name))
        try:
            there = None if record is None else Video.model_validate_json(record)
        except ValidationError:
            return name  # a damaged record is written anew, with its file
        if there is None or there.request_id == request_id or not is_of(there.key, name):
            return name
        taken = await self._place.holds(name, there.sha256)
        return name_apart(name, request_id) if taken else name

    async def copy(self, video: Video, content: bytes, name: str) -> Video:
        """Keep a copy of a video that another place holds.

        Args:
            video: The video, as it is there.
            content: The file, whose hash was verified.
            name: Its name here.

        Raises:
            StorageError: The place does not take it.
        """
        copy = self.here(video, await self.free_name(name, video.request_id))
        with tempfile.TemporaryDirectory(dir=self._place.workspace) as directory:
            draft = anyio.Path(directory) / copy.storage_key
            await draft.write_bytes(content)
            await self._place.write(record_name(copy.storage_key), _record(copy))
            await self._place.keep(Path(draft), copy.storage_key)
        return copy

    async def holds(self, video: Video) -> bool:
        """Whether a video's file is here, unharmed."""
        return await self._place.holds(video.storage_key, video.sha256)

    async def restore(self, video: Video, seconds: float = DOWNLOAD_SECONDS) -> Video:
        """Download again a video whose file has gone, and nothing else.

        Args:
            video: The video.
            seconds: How long a failing download is repeated.

        Raises:
            VideoExpiredError: fal serves it no longer.
            DownloadError: It did not arrive whole.
            StorageError: The place does not take it.
        """
        file = File(url=video.url, file_size=video.size)
        try:
            video = self.here(video, await self.free_name(video.storage_key, video.request_id))
            async with self._downloaded(file, seconds) as download:
                if download.sha256 != video.sha256:
                    raise VideoExpiredError("fal's link now serves another file.")
                await self._place.write(record_name(video.storage_key), _record(video))
                await self._place.keep(download.path, video.storage_key)
        except DownloadError as error:
            raise _lost(video, error) from error
        except HailuoError as error:
            about(ticket_of(video), error)
            raise
        return video

    async def _store(
        self, ticket: Ticket, file: File, completed: Completed | None, name: str | None
    ) -> Video:
        # A ticket that makes no sense is refused before the download.
        name = name or name_and_key(ticket)[0]
        async with self._downloaded(file) as download:
            poster = await _look(poster_data_uri, download.path)
            free = await self.free_name(name, ticket.request_id)
            video = await self._describe(ticket, file, download, completed, free)
            # The record first: with it, a file that is not kept is downloaded again; without it,
            # a file that is kept would be bought again.
            await self._place.write(record_name(video.storage_key), _record(video))
            await self._place.keep(download.path, video.storage_key)
        self._emit(Stored(video, poster))
        return video

    def _downloaded(
        self, file: File, seconds: float = DOWNLOAD_SECONDS
    ) -> AbstractAsyncContextManager[Download]:
        deadline = Deadline(seconds, self._clock)
        return downloaded(self._media, file, self._place.workspace, deadline)

    async def _describe(
        self,
        ticket: Ticket,
        file: File,
        download: Download,
        completed: Completed | None,
        name: str,
    ) -> Video:
        endpoint = find_input_class(ticket.endpoint).endpoint
        key = name_and_key(ticket)[1]
        picture = await _look(probe, download.path)
        now = datetime.now(timezone.utc)
        return Video(
            path=self._place.path_of(name),
            storage=self._place.label,
            storage_key=name,
            url=file.url,
            content_type=download.content_type,
            size=download.size,
            sha256=download.sha256,
            **(vars(picture) if picture else {}),
            endpoint=endpoint.id,
            key=key,
            price_usd=endpoint.price_usd,
            completed_at=now if completed else None,
            stored_at=now,
            inference_seconds=_inference_seconds(completed),
            **ticket.model_dump(include=COPIED_FROM_TICKET),
        )


def _inference_seconds(completed: Completed | None) -> float | None:
    seconds = (completed.metrics or {}).get("inference_time") if completed else None
    return seconds if isinstance(seconds, int | float) else None


async def _look(see: Callable[[Path], T], path: Path) -> T | None:
    """What can be seen in a file; nothing without the extra `media`, or where it is unreadable.

    The file is complete and paid for: whatever PyAV makes of it is no reason to drop it.
    """
    try:
        return await anyio.to_thread.run_sync(see, path)
    except Exception:
        return None


def _record(video: Video) -> bytes:
    return video.model_dump_json(indent=2).encode()


def _parse_record(record: bytes, name: str) -> Video:
    try:
        return Video.model_validate_json(record)
    except ValidationError as error:
        raise StorageError(
            f"The record {name} is damaged.",
            cure=f"Nothing was bought now. Restore {name}, or delete it to buy the video anew.",
            billed=Billed.NO,
        ) from error


def _lost(video: Video, error: DownloadError) -> DownloadError:
    return type(error)(
        f"{video.storage_key} has gone from {video.storage}, and could not be fetched again: "
        f"{error.message}",
        cure="It was paid for once, so it is not bought again unasked: put the file back, pass a "
        "new take, or allow it with on_lost='resubmit'.",
        retryable=error.retryable,
        ticket=ticket_of(video),
    )
