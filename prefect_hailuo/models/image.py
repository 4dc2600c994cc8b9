"""Pictures in inputs, and videos and sound: how a caller may name one, and what it must be.

A picture is identified by the SHA-256 of its content, written `sha256:` and 64 hexadecimal digits.
That identity stands in keys, tickets and records. Two texts that fal may be sent tell it too: a
`data:` URI, and the URL of our own upload, as long as fal leaves the file's name in it.

A picture is checked before anything is sent or bought, because a 422 of fal may cost money. What
the models take is in `models/media.py`. Videos and sound are named, keyed and sent as pictures are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import urlsplit

import imagesize
from pydantic import AfterValidator, BaseModel, BeforeValidator

from prefect_hailuo.errors import ImageError
from prefect_hailuo.models.media import (
    ENDINGS,
    H3_PICTURE,
    H3_SOUND,
    H3_VIDEO,
    MEDIA_TYPES,
    PICTURE,
    Medium,
    Rules,
    media_type_of,
)

DATA = "data:"

SHA256 = "sha256:"

_UPLOADED = re.compile(
    rf"https?://[^?#]*hailuo-([0-9a-f]{{64}})\.(?:{'|'.join(ENDINGS.values())})(?:[?#].*)?"
)

_IDENTITY = re.compile(SHA256 + r"[0-9a-f]{64}")

_DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+(;[\w=.+-]+)*;base64,", re.ASCII | re.IGNORECASE)

_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{64,}=*\s*", re.ASCII)

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)

SHOWN_CHARACTERS = 200
"""How many characters of a picture's name are shown: bytes may come as a text of megabytes."""

PATH_CHARACTERS = 4096
"""No system opens a longer path (Linux's `PATH_MAX`)."""

INLINE_BYTES = 32 * 1024
"""A picture or sound of at most this size is sent in the body, as base64, and not uploaded first.

The ledger keeps the body word for word, and so does fal's history: ten thousand pictures of this
size make a ledger of 440 MB. A larger limit would save some uploads, which cost nothing, but every
look into the history would read megabytes.
"""


@dataclass(frozen=True)
class Image:
    """What a picture is, or a video or sound, of which no sides are known.

    Args:
        identity: `sha256:` and the digest of its content.
        media_type: Such as `image/png`; None if nobody has looked at it.
        size: Bytes.
        width: Pixels, after the rotation that a camera noted.
        height: Pixels.
    """

    identity: str
    media_type: str | None = None
    size: int = 0
    width: int = 0
    height: int = 0

    @property
    def sha256(self) -> str:
        """The digest alone, in hexadecimal."""
        return self.identity.removeprefix(SHA256)


def examine(content: bytes, shown: str, rules: Rules = PICTURE) -> Image:
    """What a picture is, or a video or sound, if the models take it.

    Args:
        content: All of its bytes.
        shown: Its name in errors.
        rules: What it must be.

    Raises:
        ImageError: The models do not take it; the message says why, and what to do.

    Example:
        >>> examine(b"GIF89a", "fox.gif")
        Traceback (most recent call last):
        prefect_hailuo.errors.ImageError: fox.gif is no picture in a format of JPEG, PNG, WebP...
    """
    check_size(len(content), shown, rules)
    media_type = media_type_of(content[:12])
    if media_type not in rules.media_types.values():
        raise ImageError(
            f"{shown} is no {rules.kind} in a format of {rules.formats}; nothing was bought.",
            cure="Convert it to one of these; a web page or a GIF will not do.",
        )
    identity = SHA256 + hashlib.sha256(content).hexdigest()
    if rules.kind != "picture":
        return Image(identity, media_type, len(content))
    if not _is_whole(content, media_type):
        raise ImageError(
            f"{shown} is cut off before its end; nothing was bought.", cure="Copy it again."
        )
    width, height = _sides(content, shown)
    _check_sides(width, height, shown, rules)
    return Image(identity, media_type, len(content), width, height)


def check_size(size: int, shown: str, rules: Rules = PICTURE) -> None:
    """Refuse a file that is too large.

    Args:
        size: Bytes.
        shown: Its name in the error.
        rules: What it must be.

    Raises:
        ImageError: It is too large.
    """
    if size > rules.most_bytes:
        cures = {"picture": "Save it as a JPEG, or make it smaller: 1080p is enough."}
        raise ImageError(
            f"{shown} has {size:,} bytes, and a {rules.kind} must have {rules.most}; nothing was "
            "bought.",
            cure=cures.get(rules.kind, "Make it shorter, or code it anew."),
        )


def _is_whole(content: bytes, media_type: str | None) -> bool:
    """Whether the picture is there to its end. Bytes after it do no harm."""
    if media_type == MEDIA_TYPES["PNG"]:
        return _png_ends(content)
    if media_type == MEDIA_TYPES["JPEG"]:
        return _jpeg_ends(content)
    if media_type != MEDIA_TYPES["WebP"]:
        return True  # of HEIC, the boxes would have to be walked
    return len(content) >= 8 + int.from_bytes(content[4:8], "little")


_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
"""A marker of JPEG's. In a scan, a byte of 0xFF is followed by zero, or by a restart's number."""

_START, _END = 0xD8, 0xD9
"""The markers that begin and end a JPEG. All others that `_MARKER` finds begin a segment."""


def _jpeg_ends(content: bytes) -> bool:
    """Whether a JPEG's own end is there: a thumbnail within a segment has one, too."""
    at = 0
    while found := _MARKER.search(content, at):
        marker, at = found[1][0], found.end()
        if marker == _END:
            return True
        if marker not in (_START, 0x01):
            at += int.from_bytes(content[at : at + 2], "big")
    return False


def _png_ends(content: bytes) -> bool:
    """Whether a PNG's own last chunk is there; another chunk may hold a whole PNG."""
    at = 8
    while at + 12 <= len(content):
        if content[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return False


def _sides(content: bytes, shown: str) -> tuple[int, int]:
    try:
        width, height = imagesize.get(BytesIO(content))
    except (ValueError, LookupError):
        width, height = -1, -1
    if width < 1 or height < 1:
        raise ImageError(
            f"{shown} does not say how wide and high it is: it is damaged; nothing was bought.",
            cure="Open it in a picture editor, and save it anew.",
        )
    return int(width), int(height)


def _check_sides(width: int, height: int, shown: str, rules: Rules) -> None:
    shorter, longer = sorted((width, height))
    if shorter < rules.least_pixels:
        raise ImageError(
            f"{shown} is {width}×{height}; the shorter side must have {rules.least_pixels} pixels "
            "or more; nothing was bought.",
            cure="Use a larger picture; 1920×1080 is what the pro models make.",
        )
    if rules.most_pixels is not None and longer > rules.most_pixels:
        raise ImageError(
            f"{shown} is {width}×{height}; no side may have more than {rules.most_pixels} pixels; "
            "nothing was bought.",
            cure="Make it smaller.",
        )
    if longer > shorter * rules.most_ratio:
        raise ImageError(
            f"{shown} is {width}×{height}; its sides must be between 2:5 and 5:2; nothing was "
            "bought.",
            cure="Crop it, such as to 16:9.",
        )


class Source(str):
    """A picture's name whose `repr` shows no secret and no megabytes.

    Prefect's errors and logs show the arguments of a task.

    Example:
        >>> Source("https://bucket.example/fox.png?X-Amz-Signature=abc")
        'https://bucket.example/fox.png'
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(shown(str(self)))


def _as_text(given: object, rules: Rules) -> str:
    """A picture's name as a text: a URL, a `data:` URI or an absolute path."""
    if isinstance(given, bytes | bytearray | memoryview):
        return _inline(bytes(given), rules)
    if isinstance(given, Path):
        return str(_at_home(given).absolute())
    if not isinstance(given, str):
        raise ValueError(f"a {rules.kind} is a URL, a path, bytes or a data: URI")
    if not given.strip():
        raise ValueError(f"it is blank; name a {rules.kind} by its URL or path")
    if is_data_uri(given):
        decode_data_uri(given)
        return given
    if is_identity(given):
        return given
    scheme = _SCHEME.match(given.strip())
    if scheme:
        return _checked_url(given.strip(), scheme[1].lower())
    _check_path(given)
    return _as_text(Path(given), rules)


def _check_path(given: str) -> None:
    kind = _kind_of_base64(given)
    if kind is not None:
        raise ValueError(
            f"it is base64 without what says so: write data:{kind};base64, before it, or pass the "
            "bytes"
        )
    if len(given) > PATH_CHARACTERS:
        raise ValueError(
            f"it has {len(given):,} characters, too many for a path; pass a data: URI or the bytes"
        )


def _kind_of_base64(text: str) -> str | None:
    """The media type of a picture that a text holds as base64, or as the URL-safe kind of it."""
    if not _BASE64.fullmatch(text):
        return None
    head = "".join(text[:64].split())[:16].replace("-", "+").replace("_", "/")
    try:
        return media_type_of(base64.b64decode(head))
    except binascii.Error:
        return None


def is_path(source: str) -> bool:
    """Whether a text names a picture by its path, and by nothing else.

    Example:
        >>> is_path("10:15 fox.png"), is_path("https://example.com/fox.png")
        (True, False)
    """
    if is_data_uri(source) or is_identity(source):
        return False
    return _SCHEME.match(source.strip()) is None


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # ~somebody
        where = shown(str(path))
        raise ValueError(f"{where} is in a home that is not known; write its whole path") from None


def _inline(content: bytes, rules: Rules) -> str:
    media_type = media_type_of(content)
    if media_type is None or media_type not in rules.media_types.values():
        raise ValueError(f"the bytes are no {rules.kind} in a format of {rules.formats}")
    return data_uri(content, media_type)


def _checked_url(url: str, scheme: str) -> str:
    if scheme not in ("http", "https"):
        raise ValueError(f"{scheme}:// cannot be read; pass http(s)://, a path, or the bytes")
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("the URL names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL holds a user name; no login is sent, so pass the bytes instead")
    return url


@dataclass(frozen=True)
class SourceOf:
    """Marks a field that holds a picture, video or sound, and reads what a caller gives for it.

    Args:
        rules: What it must be.
    """

    rules: Rules

    def __get_pydantic_core_schema__(self, kind: Any, handler: Any) -> Any:
        """Take whatever names one, and make it a text."""
        read = BeforeValidator(partial(_as_text, rules=self.rules))
        return handler.generate_schema(Annotated[str, read, AfterValidator(Source)])

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """What a form says of it."""
        return {
            "type": "string",
            "description": f"A {self.rules.kind}: its URL (http or https), a path on the worker, "
            "or a data: URI; sha256: and its digest for a video that was made already. "
            f"{self.rules.described}",
        }


ImageSource = Annotated[str | Path | bytes, SourceOf(PICTURE)]
"""A picture in an input: a URL, a path, bytes or a `data:` URI. Validated, it is always a text.

Example:
    >>> from pydantic import TypeAdapter
    >>> source = TypeAdapter(ImageSource)
    >>> source.validate_python("https://example.com/fox.png")
    'https://example.com/fox.png'
    >>> source.validate_python(Path("/shots/fox.png"))
    '/shots/fox.png'
    >>> source.json_schema()["type"]
    'string'
"""

H3Image = Annotated[str | Path | bytes, SourceOf(H3_PICTURE)]
"""The same for Hailuo 3, which takes larger and smaller ones."""

H3Video = Annotated[str | Path | bytes, SourceOf(H3_VIDEO)]
"""The same for a reference video."""

H3Sound = Annotated[str | Path | bytes, SourceOf(H3_SOUND)]
"""The same for a reference sound, or a sound track."""


@lru_cache(maxsize=256)
def media_fields(input_class: type[BaseModel]) -> Mapping[str, Rules]:
    """The fields of an input that hold pictures, videos or sound, and what these must be.

    Example:
        >>> class Shot(BaseModel):
        ...     prompt: str
        ...     image_url: ImageSource
        ...     end_image_url: ImageSource | None = None
        >>> list(media_fields(Shot))
        ['image_url', 'end_image_url']
    """
    found = {
        name: rules
        for name, field in input_class.model_fields.items()
        if (rules := _rules_in(*field.metadata, field.annotation)) is not None
    }
    return MappingProxyType(found)


def many_fields(input_class: type[BaseModel]) -> list[str]:
    """Those of the `media_fields` that hold several."""
    fields = input_class.model_fields
    return [name for name in media_fields(input_class) if _is_many(fields[name].annotation)]


def _is_many(part: Any) -> bool:
    return get_origin(part) in (Sequence, list, tuple) or any(map(_is_many, _within(part)))


def _rules_in(*parts: Any) -> Rules | None:
    """The rules somewhere in a type, such as in `ImageSource | None`, or in a list of them."""
    for part in parts:
        found = part.rules if isinstance(part, SourceOf) else _rules_in(*_within(part))
        if found is not None:
            return found
    return None


def _within(part: Any) -> tuple[Any, ...]:
    return get_args(part) if get_origin(part) is not None else ()


def media_of(input: BaseModel) -> dict[str, Medium]:
    """The pictures, videos and sounds that an input names, by their place in the body.

    Example:
        >>> class Shot(BaseModel):
        ...     image_url: ImageSource | None = None
        ...     reference_image_urls: list[ImageSource] = []
        >>> list(media_of(Shot(image_url="/a.png", reference_image_urls=["/b.png", "/c.png"])))
        ['image_url', 'reference_image_urls[0]', 'reference_image_urls[1]']
    """
    return {
        place: Medium(str(source), rules)
        for name, rules in media_fields(type(input)).items()
        for place, source in _placed(name, getattr(input, name))
    }


def _placed(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, list | tuple):
        return [(f"{name}[{index}]", each) for index, each in enumerate(value)]
    return [] if value is None else [(name, value)]


def with_sources(body: Mapping[str, Any], named: Mapping[str, str]) -> dict[str, Any]:
    """A body with other texts in some places.

    Args:
        body: The body.
        named: The texts, by their places as in `media_of`.

    Example:
        >>> with_sources({"image_url": "/a.png", "many": ["/b.png"]}, {"many[0]": "/c.png"})
        {'image_url': '/a.png', 'many': ['/c.png']}
    """
    changed = {name: list(each) if isinstance(each, list) else each for name, each in body.items()}
    for place, source in named.items():
        name, mark, index = place.partition("[")
        if mark:
            changed[name][int(index[:-1])] = source
        else:
            changed[name] = source
    return changed


def identity_of(source: str) -> str:
    """The identity of the picture that a text names, if the text tells it; otherwise the text.

    Example:
        >>> identity_of("data:image/png;base64,YWJj")
        'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
        >>> identity_of("https://v3.fal.media/files/x/" + upload_name("ba" * 32, "image/png"))
        'sha256:babababababababababababababababababababababababababababababababa'
        >>> identity_of("/shots/fox.png")
        '/shots/fox.png'
    """
    if is_data_uri(source):
        try:
            return SHA256 + hashlib.sha256(decode_data_uri(source)).hexdigest()
        except ValueError:
            return source
    ours = _UPLOADED.fullmatch(source) if "hailuo-" in source else None
    return SHA256 + ours[1] if ours else source


def is_identity(source: str) -> bool:
    """Whether a text is a picture's identity, and not a place."""
    return _IDENTITY.fullmatch(source) is not None


def with_identities(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body as it is shown and recorded: with the identities of its pictures.

    Example:
        >>> with_identities({"prompt": "A fox.", "image_url": "data:image/png;base64,YWJj"})
        {'prompt': 'A fox.', 'image_url': 'sha256:ba7816bf8f01...'}
    """
    return {name: _identified(value) for name, value in body.items()}


def _identified(value: Any) -> Any:
    if isinstance(value, list):
        return [_identified(each) for each in value]
    return identity_of(value) if isinstance(value, str) else value


def upload_name(sha256: str, media_type: str) -> str:
    """The file name of an upload, from which its URL tells its identity."""
    return f"hailuo-{sha256}.{ENDINGS[media_type]}"


def shown(source: str) -> str:
    """A picture's name in messages, without a URL's query, which may be a signature, and not long.

    Example:
        >>> shown("https://bucket.example/fox.png?X-Amz-Signature=abc")
        'https://bucket.example/fox.png'
        >>> shown("data:image/png;base64,YWJj"), shown("/shots/fox.png")
        ('The picture that was passed as bytes', '/shots/fox.png')
    """
    if is_data_uri(source):
        return "The picture that was passed as bytes"
    if is_url(source):
        parts = urlsplit(source)
        source = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return source if len(source) <= SHOWN_CHARACTERS else f"{source[: SHOWN_CHARACTERS - 1]}…"


def is_url(source: str) -> bool:
    """Whether a text is a web address."""
    return source[:8].lower().startswith(("http://", "https://"))


def is_data_uri(source: str) -> bool:
    """Whether a text is a `data:` URI, or means to be one.

    Example:
        >>> is_data_uri("data:image/png;base64,YWJj"), is_data_uri("/shots/fox.png")
        (True, False)
    """
    return source[: len(DATA)].lower() == DATA


def data_uri(content: bytes, media_type: str) -> str:
    """Content as a `data:` URI.

    Example:
        >>> data_uri(b"abc", "image/png")
        'data:image/png;base64,YWJj'
    """
    return f"{DATA}{media_type};base64,{base64.b64encode(content).decode()}"


def decode_data_uri(uri: str) -> bytes:
    """The content of a `data:` URI.

    Raises:
        ValueError: It is no `data:` URI in base64.

    Example:
        >>> decode_data_uri("data:image/png;base64,YWJj")
        b'abc'
    """
    head = _DATA_URI.match(uri)
    if head is None:
        raise ValueError("a data: URI must read data:image/png;base64,... (or jpeg, or webp)")
    try:
        return base64.b64decode(uri[head.end() :], validate=True)
    except binascii.Error:
        raise ValueError("the data: URI holds no valid base64; encode the picture anew") from None
