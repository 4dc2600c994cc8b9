"""The store: downloads, verifies and keeps a video, with the record of its provenance beside it.

By these records, a place knows what it holds.
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
from prefect_hailuo.fal.hosts import FAL_HOSTS, Hosts
from prefect_hailuo.fal.messages import Completed, File, Output
from prefect_hailuo.media.expectation import notes_on
from prefect_hailuo.media.mp4 import has_manifest, measures
from prefect_hailuo.media.probe import poster_data_uri, probe
from prefect_hailuo.models.catalogue import picture_of, price_of
from prefect_hailuo.models.video import Video, ticket_of
from prefect_hailuo.storage.download import (
    DOWNLOAD_SECONDS,
    BadLinkError,
    Download,
    Downloads,
    Renew,
)
from prefect_hailuo.storage.names import (
    NameTemplate,
    index_name,
    is_of,
    location_of,
    name_and_key,
    name_apart,
    record_name,
)
from prefect_hailuo.storage.place import Files, Place, on_disk, temporary_name
from prefect_hailuo.ticket import Ticket

_JSON_OBJECT = TypeAdapter(dict[str, Any])


class _DamagedError(Exception):
    """A record cannot be read as one."""

    def __init__(self, file: str, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}" if field else why)
        self.file = file


def find_record(files: Files, template: NameTemplate, name: str) -> Video | None:
    """A generation's video by a place's records; its file may be missing.

    Args:
        files: The place's files.
        template: How it names them.
        name: The video's name by the default template.

    Raises:
        StorageError: There is a record that cannot be read. Its video was bought, and is not bought
            again unasked.
    """
    try:
        return _read(files, template, name)
    except _DamagedError as error:
        raise StorageError(
            f"The record {error.file} is damaged: {error}.",
            cure=f"Nothing was bought now. Restore {error.file}, or delete it to buy the video "
            "anew.",
            billed=Billed.NO,
        ) from error


def write_records(
    files: Files, template: NameTemplate, name: str, video: Video, *, over: bool = True
) -> bool:
    """Keep a video's record beside it, and with a template also where its default name leads.

    Args:
        files: The place's files.
        template: How it names them.
        name: The video's name by the default template.
        video: The video, as it is in the place.
        over: Whether that takes the place of another record, by which the name is found.

    Returns:
        Whether it was written.
    """
    record = video.model_dump_json(indent=2).encode()
    beside = record_name(video.storage_key)
    found_by = beside if template.is_default else index_name(name)
    if not files.write(found_by, record, over=over):
        return False
    if found_by != beside:
        files.write(beside, record)
    return True


def relocated(template: NameTemplate, video: Video, name: str) -> str:
    """The name under which a video is kept in its place."""
    return name if template.is_default else location_of(template, video, name)


def _record_there(files: Files, template: NameTemplate, name: str) -> tuple[Video | None, bool]:
    """The record of a name; and, where there is none, whether what is there may be replaced."""
    try:
        there = _read(files, template, name)
    except _DamagedError:
        return None, True  # a damaged record is written anew
    if there is not None and not is_of(there.key, name):
        return None, True  # it says itself that it is of something else
    return there, False


def _read(files: Files, template: NameTemplate, name: str) -> Video | None:
    """The record of a name, with the file's present name in the place."""
    find = (_beside, _indexed) if template.is_default else (_indexed, _beside)
    return find[0](files, name) or find[1](files, name)


def _indexed(files: Files, name: str) -> Video | None:
    """By the index, which is there if a template was used."""
    return _parsed(files, index_name(name))


def _beside(files: Files, name: str) -> Video | None:
    """By the record beside the video. The place may have been moved: the video is where its record
    is, even if the record says otherwise."""
    return _parsed(files, record_name(name), storage_key=name)


def _parsed(files: Files, file: str, **known: str) -> Video | None:
    """A record, with known values in place of its own."""
    record = files.read(file)
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
    """A video that was just stored; `poster` is a small picture of it, as a data URI."""

    video: Video
    poster: str | None


class VideoStore:
    """Stores videos in one place, and finds them there.

    Args:
        downloads: The process's downloads.
        place: Where videos are kept.
        clock: What waiting is measured with.
        poster: Whether to make a poster of each stored video, which takes longer than the rest.
        hosts: The configured hosts: links may lead to them, wherever they are.
    """

    def __init__(
        self,
        downloads: Downloads,
        place: Place,
        clock: Clock | None = None,
        poster: bool = True,
        hosts: Hosts = FAL_HOSTS,
    ) -> None:
        self._downloads = downloads
        self._place = place
        self._clock = clock
        self._poster = poster
        self._hosts = hosts

    @property
    def label(self) -> str:
        """The place's unique name."""
        return self._place.label

    async def store(
        self,
        ticket: Ticket,
        output: Output,
        completed: Completed | None = None,
        name: str | None = None,
        renew: Renew | None = None,
    ) -> StoredFile:
        """Download a result, verify it, and keep it with its provenance.

        Args:
            ticket: The request.
            output: Its result.
            completed: How it completed, if that was seen.
            name: Its name in the place; by default, its generation's.
            renew: Asks fal for a fresh link.

        Raises:
            DownloadError: It did not arrive whole, or is no longer served.
            StorageError: It cannot be kept in the place.
        """
        try:
            return await self._store(ticket, output, completed, name, renew)
        except HailuoError as error:
            raise _paid_for(ticket, error)  # noqa: B904 - it is the same error

    async def find(self, name: str, key: str) -> Video | None:
        """The video of a key, if its record is here; its file may be missing.

        Raises:
            StorageError: There is a record that cannot be read. Its video was bought, and is not
                bought again unasked.
        """
        template = self._place.template
        video = await self._place.work(lambda files: find_record(files, template, name))
        if video is None or video.key != key:
            return None
        # The record may have been written before the place was moved.
        return self.here(video, video.storage_key)

    def here(self, video: Video, name: str) -> Video:
        """The video, as one that is in this place under a name."""
        where = {
            "path": self._place.path_of(name),
            "storage": self._place.label,
            "storage_key": name,
            "machine": self._place.machine,
        }
        return video.model_copy(update=where)

    async def copy(self, video: Video, source: Place, name: str) -> Video | None:
        """Keep a verified copy of a video that another place holds.

        Args:
            video: The video, as it is there.
            source: That place.
            name: Its name here.

        Returns:
            None if the other place does not have it unharmed.

        Raises:
            StorageError: Whether the other place has it cannot be told, or it cannot be kept here.
        """
        temporary = self._place.workspace / temporary_name("copy.mp4")

        def keep(files: Files) -> Video:
            return self._keep(files, temporary, self.here(video, name))

        try:
            if not await source.fetch(video.storage_key, video.sha256, temporary):
                return None
            return await self._place.work(keep)
        finally:
            with anyio.CancelScope(shield=True):
                await on_disk(partial(temporary.unlink, missing_ok=True))

    @property
    def place(self) -> Place:
        """The place."""
        return self._place

    async def holds(self, video: Video) -> bool:
        """Whether a video's file is here, unharmed.

        Raises:
            StorageError: That cannot be told.
        """
        return await self._place.holds(video.storage_key, video.sha256)

    async def restore(
        self, video: Video, renew: Renew | None = None, seconds: float = DOWNLOAD_SECONDS
    ) -> Video:
        """Download again a video whose file has gone, and nothing else.

        Args:
            video: The video.
            renew: Asks fal for a fresh link.
            seconds: How long a failing download is repeated.

        Raises:
            VideoExpiredError: fal no longer serves it.
            DownloadError: It did not arrive whole.
            StorageError: It cannot be kept in the place.
        """
        file = File(url=video.url, file_size=video.size)

        def keep(files: Files, download: Download) -> Video:
            if download.sha256 != video.sha256:
                raise BadLinkError("fal's link now serves another file.")
            here = self.here(video, video.storage_key).model_copy(update={"url": download.url})
            return self._keep(files, download.path, here)

        made_at = video.submitted_at or video.stored_at
        try:
            return await self._downloads.fetch(
                *(file, self._place, keep, seconds, self._clock),
                made_at=made_at,
                renew=renew,
                realm=video.realm,
                hosts=self._hosts,
            )
        except DownloadError as error:
            gone = self.here(video, relocated(self._place.template, video, video.storage_key))
            raise _lost(gone, error) from error
        except HailuoError as error:
            raise _paid_for(ticket_of(video), error)  # noqa: B904 - it is the same error

    async def _store(
        self,
        ticket: Ticket,
        output: Output,
        completed: Completed | None,
        name: str | None,
        renew: Renew | None,
    ) -> StoredFile:
        # A wrong ticket is refused before the download.
        default, key = name_and_key(ticket)

        def keep(files: Files, download: Download) -> StoredFile:
            poster = _look(poster_data_uri, download.path) if self._poster else None
            video = self._describe(ticket, output, download, completed, name or default, key)
            return StoredFile(self._keep(files, download.path, video), poster)

        return await self._downloads.fetch(
            output.video,
            self._place,
            keep,
            clock=self._clock,
            made_at=ticket.submitted_at,
            renew=renew,
            realm=ticket.realm,
            hosts=self._hosts,
        )

    def _keep(self, files: Files, file: Path, video: Video) -> Video:
        """Put a complete file in its place, under its name or, if that is taken, another."""
        name = video.storage_key
        for own in (name, name_apart(name, video.request_id)):
            if kept := self._keep_as(files, file, video, own):
                return kept
        raise StorageError(f"{video.storage} has another file of the name {own}, and of {name}.")

    def _keep_as(self, files: Files, file: Path, video: Video, name: str) -> Video | None:
        """Put a complete file in its place under a name; None if that is taken.

        The record is written first. With a record and no file, the file is downloaded again; with a
        file and no record, the video would be bought again. What is there, and is not this
        request's, is not written over: neither another's video, which is paid for, too, nor what
        somebody else put there. Others may write at the same time: each name is given once.
        """
        template = self._place.template
        video = self.here(video, relocated(template, video, name))
        there, may_replace = _record_there(files, template, name)
        is_mine = there is not None and there.request_id == video.request_id
        found = files.sha256(video.storage_key)
        if there is not None and not is_mine:
            if files.holds(there.storage_key, there.sha256):
                return None
            # Its file has gone, or is on its way: whose comes first has the name.
            if not self._put(files, file, video, found):
                return None
            write_records(files, template, name, video)
            return video
        if not is_mine and found not in (None, video.sha256):
            return None
        if not write_records(files, template, name, video, over=is_mine or may_replace):
            there, _ = _record_there(files, template, name)
            if there is None or there.request_id != video.request_id:
                return None
            # Another process has just begun to keep the very same video.
        if is_mine and found not in (None, video.sha256):  # this video, damaged
            files.keep(file, video.storage_key)
            return video
        return video if self._put(files, file, video, found) else None

    def _put(self, files: Files, file: Path, video: Video, found: str | None) -> bool:
        """Put a file where there is none, or the same; whether it is there then."""
        if found is None and files.keep(file, video.storage_key, over=False):
            return True
        return (found or files.sha256(video.storage_key)) == video.sha256

    def _describe(
        self,
        ticket: Ticket,
        output: Output,
        download: Download,
        completed: Completed | None,
        name: str,
        key: str | None,
    ) -> Video:
        seen = download.probe or _look(probe, download.path)
        asked = picture_of(ticket)
        now = datetime.now(timezone.utc)
        return Video(
            path=self._place.path_of(name),
            storage=self._place.label,
            storage_key=name,
            url=download.url,
            content_type=download.content_type,
            size=download.size,
            sha256=download.sha256,
            **(measures(seen) if seen else {}),
            has_manifest=_look(_carries_manifest, download.path),
            notes=notes_on(seen, asked) if seen and asked else (),
            output=output.told,
            endpoint=ticket.endpoint,
            key=key,
            price_usd=price_of(ticket),
            completed_at=now if completed else None,
            stored_at=now,
            inference_seconds=completed.inference_seconds if completed else None,
            **{each: getattr(ticket, each) for each in COPIED_FROM_TICKET},
        )


def _carries_manifest(path: Path) -> bool:
    with path.open("rb") as file:
        return has_manifest(file)


def _look(see: Callable[[Path], T], path: Path) -> T | None:
    """What `see` finds in a file; None without the extra `media`, or if PyAV cannot read it.

    The file is complete and paid for: that PyAV cannot read it is no reason to drop it.
    """
    try:
        return see(path)
    except Exception:
        return None


def _paid_for(ticket: Ticket, error: HailuoError) -> HailuoError:
    """An error about a video that is paid for."""
    if isinstance(error, StorageError):
        error.billed = Billed.YES
    return about(ticket, error)


def _lost(video: Video, error: DownloadError) -> DownloadError:
    cure = (
        "It was paid for once, so it is not bought again unasked: put the file back, pass a "
        "new take, or allow it with on_lost='resubmit'."
        if isinstance(error, VideoExpiredError)
        else f"Put the file back, or do as for any download. {error.cure}"
    )
    return type(error)(
        f"{video.storage_key} has gone from {video.storage}, and could not be fetched again: "
        f"{error.message}",
        cure=cure,
        retryable=error.retryable,
        ticket=ticket_of(video),
    )
