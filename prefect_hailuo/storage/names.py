"""What a video's files are called: by the user's template, or by default by prompt and key.

A name works on every platform, and never leads out of its place.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter

from slugify import slugify

from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.models.catalogue import model_name, request_of
from prefect_hailuo.models.key import KEY_CHARACTERS_IN_NAME, file_stem, generation_key
from prefect_hailuo.models.video import Video, ticket_of
from prefect_hailuo.ticket import Ticket

DEFAULT_TEMPLATE = "{slug}-{key}.mp4"

LABEL_PREFIX = "labels."

LONGEST = {
    "date": 10,
    "year": 4,
    "month": 2,
    "day": 2,
    "model": 60,
    "slug": 40,
    "key": 80,
    "take": 40,
    "realm": 8,
}
"""The fields, and how many characters of each are used; a label is as long as a take."""

PART_BYTES = 250
"""File systems take 255, and a record has a longer ending than its video."""

NAME_BYTES = 400
"""All parts together; S3 takes 1024 bytes, with the bucket's folder."""

FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')
"""Characters that Windows refuses in names."""

RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)", re.I)
"""The names of devices, which Windows refuses for files, whatever their ending."""

EMPTY = "none"
"""Stands for an empty field, such as a label that the video does not have."""

CURE = (
    "Set PREFECT_INTEGRATIONS_HAILUO_NAME_TEMPLATE to one such as "
    "'{date}/{model}/{slug}-{key}.mp4'; its fields are "
    f"{', '.join(LONGEST)} and {LABEL_PREFIX}<name>. Nothing was bought."
)


@dataclass(frozen=True)
class NameTemplate:
    """A checked template; `parse_template` makes one.

    Args:
        text: Such as `{date}/{model}/{slug}-{key}.mp4`.

    Example:
        >>> template = parse_template("{labels.client}/{slug}-{key}.mp4")
        >>> template.fill({"slug": "fox", "key": "0123", "labels.client": "A&B"})
        'a-b/fox-0123.mp4'
    """

    text: str = DEFAULT_TEMPLATE

    @property
    def is_default(self) -> bool:
        """Whether files are in one folder and named by key and prompt alone."""
        return self.text == DEFAULT_TEMPLATE

    def fill(self, values: Mapping[str, str]) -> str:
        """A name, with `/` between its parts, that every platform takes.

        Args:
            values: The fields' values; a missing or blank one becomes `none`.
        """
        fields = filter(None, (name for _, name in _pieces(self.text)))
        shown = {name: _safe(name, values.get(name, "")) for name in fields}
        return "/".join(_unreserved(part) for part in self._filled(shown).split("/"))

    def _filled(self, values: Mapping[str, str]) -> str:
        return "".join(
            literal + (values[name] if name else "") for literal, name in _pieces(self.text)
        )


@lru_cache(maxsize=64)
def parse_template(text: str) -> NameTemplate:
    """A template, checked before anything is bought.

    Args:
        text: Folders and a file name, with `/` between them and fields in braces.

    Raises:
        ConfigurationError: It has an unknown field, or no `{key}` to tell videos apart, or it leads
            out of the place, or makes names that some platform refuses.

    Example:
        >>> parse_template("{date}/{slug}.mp4")
        Traceback (most recent call last):
        prefect_hailuo.errors.ConfigurationError: ... {key} ...
    """
    template = NameTemplate(unicodedata.normalize("NFC", text))
    fields = [name for _, name in _pieces(template.text) if name]
    for name in fields:
        if name not in LONGEST and not _is_label(name):
            raise _refused(text, f"there is no field {{{name}}}")
    if "key" not in fields:
        raise _refused(text, "without {key}, one video would take another's place")
    if not text.endswith(".mp4"):
        raise _refused(text, "it does not end with .mp4")
    _check_parts(template, fields)
    return template


def _check_parts(template: NameTemplate, fields: list[str]) -> None:
    """Refuse a template whose names some platform would refuse for some values."""
    parts = template._filled(dict.fromkeys(fields, "x")).split("/")
    for part in parts:
        if problem := _problem(part):
            raise _refused(template.text, problem)
    longest = template._filled({name: "x" * LONGEST.get(name, LONGEST["take"]) for name in fields})
    if len(longest.encode()) > NAME_BYTES:
        raise _refused(template.text, f"names may become longer than {NAME_BYTES} bytes")
    if max(len(part.encode()) for part in longest.split("/")) > PART_BYTES:
        raise _refused(template.text, f"a part may become longer than {PART_BYTES} bytes")


def _problem(part: str) -> str | None:
    """What is wrong with the name of a folder or a file; None if nothing is."""
    if not part:
        return "it begins with a slash, or has two in a row; it is taken from the storage on"
    if part.startswith("."):
        return f"{part!r} begins with a dot: it would lead elsewhere, or be hidden"
    if found := FORBIDDEN.search(part):
        return f"it holds {found.group()!r}, which Windows takes in no name"
    if part != part.strip() or part.endswith("."):
        return f"{part!r} begins or ends with a space, or ends with a dot, which Windows drops"
    return f"Windows takes {part!r} for a device" if RESERVED.match(part) else None


def _pieces(text: str) -> list[tuple[str, str | None]]:
    """Each literal text with the name of the field after it."""
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise _refused(text, f"its braces do not match ({error})") from error
    for _, name, form, conversion in parsed:
        if form or conversion:
            raise _refused(text, f"{{{name}}} is to stand alone in its braces")
    return [(literal, name) for literal, name, _, _ in parsed]


def _is_label(name: str) -> bool:
    return name.startswith(LABEL_PREFIX) and len(name) > len(LABEL_PREFIX)


def _safe(name: str, value: str) -> str:
    """A value as a part of a name: lower-case ASCII letters, digits, dots and dashes."""
    longest = LONGEST.get(name, LONGEST["take"])
    # With slugify's own backend, as in `models/key.py`.
    text = slugify(
        value, max_length=longest, regex_pattern=r"[^-a-z0-9.]+", backend="text-unidecode"
    )
    return text.strip(".-") or EMPTY


def _unreserved(part: str) -> str:
    return f"_{part}" if RESERVED.match(part) else part


def _refused(text: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"The name template {text!r} cannot be used: {problem}.", cure=CURE)


REQUEST_CHARACTERS_IN_NAME = 60

INDEX_FOLDER = ".hailuo"
"""Records by key, for videos whose names depend on more than the key."""


def video_name(prompt: str, key: str) -> str:
    """The file name of a generation's video."""
    return f"{file_stem(prompt, key)}.mp4"


def name_apart(name: str, request_id: str) -> str:
    """The file name of a second video of the same generation, which is paid for too.

    Example:
        >>> name_apart("a-red-fox-0123456789abcdef.mp4", "R_7")
        'a-red-fox-0123456789abcdef-r-7.mp4'
    """
    slug = slugify(request_id, max_length=REQUEST_CHARACTERS_IN_NAME)
    return f"{name.removesuffix('.mp4')}-{slug}.mp4"


def is_of(key: str | None, name: str) -> bool:
    """Whether a file's name belongs to a key; a record with another key is not believed."""
    return key is not None and key[:KEY_CHARACTERS_IN_NAME] in name


def record_name(name: str) -> str:
    """The name of the record beside a video."""
    return name.removesuffix(".mp4") + ".json"


def index_name(name: str) -> str:
    """The name of the record that is found by the generation's default name."""
    return f"{INDEX_FOLDER}/{record_name(name)}"


def location_of(template: NameTemplate, video: Video, name: str) -> str:
    """Where a template puts a video.

    Args:
        template: The user's template.
        video: The video.
        name: Its name by the default template, or the one that `name_apart` gave it.
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
    """The file name of a request's video, and its generation's key if that is known."""
    if ticket.input is None:
        digest = hashlib.sha256(ticket.request_id.encode()).hexdigest()
        stem = file_stem(f"{model_name(ticket.endpoint)} {ticket.request_id}", digest)
        return f"{stem}.mp4", None
    key = ticket.key
    if key is None:  # of an earlier release
        request = request_of(ticket.endpoint, ticket.input)
        key = generation_key(request, realm=ticket.realm, take=ticket.take)
    return video_name(str(ticket.input.get("prompt", "")), key), key
