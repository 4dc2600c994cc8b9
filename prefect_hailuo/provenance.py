"""The records that are kept with videos, and by which a place knows what it holds."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from prefect_hailuo.errors import Billed, StorageError
from prefect_hailuo.name_templates import NameTemplate
from prefect_hailuo.naming import index_name, is_of, location_of, name_apart, record_name
from prefect_hailuo.places import Shelf
from prefect_hailuo.video import Video

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
