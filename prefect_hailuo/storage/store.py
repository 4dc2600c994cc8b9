"""From fal's result to a video in its place, with its provenance beside it.

The records that are kept with videos, and by which a place knows what it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import anyio
from pydantic import TypeAdapter, ValidationError

from prefect_hailuo.clock import Clock
from prefect_hailuo.errors import (
    Billed,
    DownloadError,
    HailuoError,
    StorageError,
    VideoExpiredError,
    about,
)
from prefect_hailuo.fal.messages import Completed, File, Output
from prefect_hailuo.media.probe import poster_data_uri, probe
from prefect_hailuo.models.catalogue import price_of
from prefect_hailuo.models.video import Video, ticket_of
from prefect_hailuo.storage.download import DOWNLOAD_SECONDS, Download, Downloads
from prefect_hailuo.storage.names import (
    NameTemplate,
    index_name,
    is_of,
    location_of,
    name_and_key,
    name_apart,
    record_name,
)
from prefect_hailuo.storage.place import Place, Shelf, draft_name, on_disk
from prefect_hailuo.ticket import Ticket

_JSON_OBJECT = TypeAdapter(dict[str, Any])


class _DamagedError(Exception):
    """A record is none."""

    def __init__(self, file: str, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}" if field else why)
        self.file = file


def find_record(shelf: Shelf, template: NameTemplate, name: str) -> Video | None:
    """What a place's records say of a generation's video; its file may not be there.

    Args:
        shelf: The place's files.
        template: How it names them.
        name: The video's name without regard to the template.

    Raises:
        StorageError: There is a record, and it cannot be read: what it says was bought is not
            bought again unasked.
    """
    try:
        return _read(shelf, template, name)
    except _DamagedError as error:
        raise StorageError(
            f"The record {error.file} is damaged: {error}.",
            cure=f"Nothing was bought now. Restore {error.file}, or delete it to buy the video "
            "anew.",
            billed=Billed.NO,
        ) from error


def free_name(shelf: Shelf, template: NameTemplate, name: str, request_id: str) -> str:
    """A name for a request's video under which no other request's is kept: it was paid for."""
    try:
        there = _read(shelf, template, name)
    except _DamagedError:
        return name  # a damaged record is written anew, with its file
    if there is None or there.request_id == request_id or not is_of(there.key, name):
        return name
    held = shelf.holds(there.storage_key, there.sha256)
    return name_apart(name, request_id) if held else name


def write_records(shelf: Shelf, template: NameTemplate, name: str, video: Video) -> None:
    """Keep a video's record beside it, and where it is found without knowing where the video is."""
    record = video.model_dump_json(indent=2).encode()
    if not template.is_default:
        shelf.write(index_name(name), record)
    shelf.write(record_name(video.storage_key), record)


def relocated(template: NameTemplate, video: Video, name: str) -> str:
    """Where a video is kept in its place."""
    return name if template.is_default else location_of(template, video, name)


def _read(shelf: Shelf, template: NameTemplate, name: str) -> Video | None:
    """The record of a name, with the file's name in its place as it is now."""
    find = (_beside, _indexed) if template.is_default else (_indexed, _beside)
    return find[0](shelf, name) or find[1](shelf, name)


def _indexed(shelf: Shelf, name: str) -> Video | None:
    """By the index, which is there where a template was at work."""
    return _parsed(shelf, index_name(name))


def _beside(shelf: Shelf, name: str) -> Video | None:
    """By the record in its place, which may have been moved with all that is in it: the video is
    where its record is, whatever that says."""
    return _parsed(shelf, record_name(name), storage_key=name)


def _parsed(shelf: Shelf, file: str, **known: str) -> Video | None:
    """A record, and what is known better than it says."""
    record = shelf.read(file)
    if record is None:
        return None
    try:
        return Video.model_validate({**_JSON_OBJECT.validate_json(record), **known})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _DamagedError(file, ".".join(map(str, first["loc"])), first["msg"]) from error


T = TypeVar("T")

COPIED_FROM_TICKET = {
    "input",
    "take",
    "labels",
    "request_id",
    "account",
    "realm",
    "submitted_at",
}


class StoredFile(NamedTuple):
    """A video that was stored just now; `poster` is a small picture of it, as a data URI."""

    video: Video
    poster: str | None


class VideoStore:
    """One place, and the way into it.

    Args:
        downloads: The process's.
        place: Where videos are kept.
        clock: What waiting is measured with.
        poster: Whether what is stored is to have a poster, which takes longest of all.
    """

    def __init__(
        self,
        downloads: Downloads,
        place: Place,
        clock: Clock | None = None,
        poster: bool = True,
    ) -> None:
        self._downloads = downloads
        self._place = place
        self._clock = clock
        self._poster = poster

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
    ) -> StoredFile:
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
        template = self._place.template
        video = await self._place.work(lambda shelf: find_record(shelf, template, name))
        if video is None or video.key != key:
            return None
        # The record may have been written before the place was moved.
        return self.here(video, video.storage_key)

    def here(self, video: Video, name: str) -> Video:
        """A video as one that is in this place, under a name."""
        where = {
            "path": self._place.path_of(name),
            "storage": self._place.label,
            "storage_key": name,
        }
        return video.model_copy(update=where)

    async def copy(self, video: Video, source: Place, name: str) -> Video | None:
        """Keep a verified copy of a video that another place holds.

        Args:
            video: The video, as it is there.
            source: That place.
            name: Its name here.

        Returns:
            None where the other place does not give it unharmed.

        Raises:
            StorageError: This place does not take it.
        """
        draft = self._place.workspace / draft_name("copy.mp4")

        def keep(shelf: Shelf) -> Video:
            return self._keep(shelf, draft, self.here(video, name))

        try:
            if not await _fetched(source, video, draft):
                return None
            return await self._place.work(keep)
        finally:
            with anyio.CancelScope(shield=True):
                await on_disk(partial(draft.unlink, missing_ok=True))

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

        def keep(shelf: Shelf, download: Download) -> Video:
            if download.sha256 != video.sha256:
                raise VideoExpiredError("fal's link now serves another file.")
            return self._keep(shelf, download.path, self.here(video, video.storage_key))

        try:
            return await self._downloads.fetch(file, self._place, keep, seconds, self._clock)
        except DownloadError as error:
            gone = self.here(video, relocated(self._place.template, video, video.storage_key))
            raise _lost(gone, error) from error
        except HailuoError as error:
            about(ticket_of(video), error)
            raise

    async def _store(
        self, ticket: Ticket, file: File, completed: Completed | None, name: str | None
    ) -> StoredFile:
        # A ticket that makes no sense is refused before the download.
        default, key = name_and_key(ticket)

        def keep(shelf: Shelf, download: Download) -> StoredFile:
            poster = _look(poster_data_uri, download.path) if self._poster else None
            video = self._describe(ticket, file, download, completed, name or default, key)
            return StoredFile(self._keep(shelf, download.path, video), poster)

        return await self._downloads.fetch(file, self._place, keep, clock=self._clock)

    def _keep(self, shelf: Shelf, file: Path, video: Video) -> Video:
        """Put a complete file in its place, under its name or, where that is taken, another.

        The record first: with it, a file that is not kept is downloaded again; without it, a file
        that is kept would be bought again.
        """
        template = self._place.template
        name = free_name(shelf, template, video.storage_key, video.request_id)
        video = self.here(video, relocated(template, video, name))
        write_records(shelf, template, name, video)
        shelf.keep(file, video.storage_key)
        return video

    def _describe(
        self,
        ticket: Ticket,
        file: File,
        download: Download,
        completed: Completed | None,
        name: str,
        key: str | None,
    ) -> Video:
        picture = download.probe or _look(probe, download.path)
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
            endpoint=ticket.endpoint,
            key=key,
            price_usd=price_of(ticket),
            completed_at=now if completed else None,
            stored_at=now,
            inference_seconds=completed.inference_seconds if completed else None,
            **{each: getattr(ticket, each) for each in COPIED_FROM_TICKET},
        )


async def _fetched(source: Place, video: Video, to: Path) -> bool:
    try:
        return await source.fetch(video.storage_key, video.sha256, to)
    except (StorageError, OSError):
        return False  # another place, or fal, may have it


def _look(see: Callable[[Path], T], path: Path) -> T | None:
    """What can be seen in a file; nothing without the extra `media`, or where it is unreadable.

    The file is complete and paid for: whatever PyAV makes of it is no reason to drop it.
    """
    try:
        return see(path)
    except Exception:
        return None


def _lost(video: Video, error: DownloadError) -> DownloadError:
    return type(error)(
        f"{video.storage_key} has gone from {video.storage}, and could not be fetched again: "
        f"{error.message}",
        cure="It was paid for once, so it is not bought again unasked: put the file back, pass a "
        "new take, or allow it with on_lost='resubmit'.",
        retryable=error.retryable,
        ticket=ticket_of(video),
    )
