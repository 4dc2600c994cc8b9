"""What the files of a video are called."""

from __future__ import annotations

import hashlib

from pydantic import ValidationError
from slugify import slugify

from prefect_hailuo.endpoints import VideoInput, find_input_class, model_name
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.fal.messages import Ticket
from prefect_hailuo.key import KEY_CHARACTERS_IN_NAME, file_stem, generation_key
from prefect_hailuo.name_templates import LABEL_PREFIX, NameTemplate
from prefect_hailuo.video import Video, ticket_of

REQUEST_CHARACTERS_IN_NAME = 60

INDEX_FOLDER = ".hailuo"
"""Where the records are found by key, of videos whose names follow from more than that."""


def video_name(input: VideoInput, key: str) -> str:
    """The file name of a generation's video."""
    return f"{file_stem(input.prompt, key)}.mp4"


def name_apart(name: str, request_id: str) -> str:
    """The file name of a further video of a generation, which is paid for too.

    Example:
        >>> name_apart("a-red-fox-0123456789abcdef.mp4", "R_7")
        'a-red-fox-0123456789abcdef-r-7.mp4'
    """
    slug = slugify(request_id, max_length=REQUEST_CHARACTERS_IN_NAME)
    return f"{name.removesuffix('.mp4')}-{slug}.mp4"


def is_of(key: str | None, name: str) -> bool:
    """Whether a file's name is that of a generation: a record that says otherwise is not true."""
    return key is not None and key[:KEY_CHARACTERS_IN_NAME] in name


def record_name(name: str) -> str:
    """The name of the record beside a video."""
    return name.removesuffix(".mp4") + ".json"


def index_name(name: str) -> str:
    """The name of the record that is found by the generation's own name."""
    return f"{INDEX_FOLDER}/{record_name(name)}"


def location_of(template: NameTemplate, video: Video, name: str) -> str:
    """Where a template puts a video.

    Args:
        template: The user's.
        video: The video.
        name: Its name by the default template, which may be one apart.
    """
    own = name_and_key(ticket_of(video))[0]
    stem = own.removesuffix(".mp4")
    key = stem[-KEY_CHARACTERS_IN_NAME:]
    date = (video.submitted_at or video.stored_at).date().isoformat()
    values = {
        "date": date,
        **dict(zip(("year", "month", "day"), date.split("-"), strict=True)),
        "model": model_name(video.endpoint),
        "slug": stem.removesuffix(key),
        "key": key if name == own else name_apart(key, video.request_id).removesuffix(".mp4"),
        "take": video.take,
        "realm": video.realm,
    }
    return template.fill(values | {f"{LABEL_PREFIX}{k}": v for k, v in video.labels.items()})


def name_and_key(ticket: Ticket) -> tuple[str, str | None]:
    """The file name of a request's video, and its generation's key, where that is known."""
    input_class = find_input_class(ticket.endpoint)
    if ticket.input is None:
        digest = hashlib.sha256(ticket.request_id.encode()).hexdigest()
        stem = file_stem(f"{input_class.endpoint.name} {ticket.request_id}", digest)
        return f"{stem}.mp4", None
    try:
        given = input_class.model_validate(ticket.input)
    except ValidationError as error:
        raise ConfigurationError(
            f"The ticket's input is none of {input_class.endpoint.name}'s: {error}",
            cure="Use the ticket as it was given, or HailuoVideoRun.from_request_id.",
        ) from error
    key = generation_key(given, realm=ticket.realm, take=ticket.take)
    return video_name(given, key), key
