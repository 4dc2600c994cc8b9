"""Pictures in inputs: how a caller may name one, and what a picture must be.

A picture is identified by the SHA-256 of its content, written `sha256:` and 64 hexadecimal digits.
That identity stands in keys, tickets and records. Two texts that fal may be sent tell it too: a
`data:` URI, and the URL of our own upload, as long as fal leaves the file's name in it.

A picture is checked before anything is sent or bought, because a 422 of fal may cost money. MiniMax
takes JPG, JPEG, PNG or WebP under 20 MB, with the shorter side over 300 pixels and the ratio of the
sides between 2:5 and 5:2 (https://platform.minimax.io/docs/api-reference/video-generation-i2v, the
fields `first_frame_image` and `last_frame_image`, as seen 2026-11-20).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

import imagesize
from pydantic import AfterValidator, BaseModel, BeforeValidator, WithJsonSchema

from prefect_hailuo.errors import ImageError

DATA = "data:"

SHA256 = "sha256:"

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WebP": "image/webp",
}
"""The formats that MiniMax takes, by https://platform.minimax.io/docs/api-reference/
video-generation-i2v (field `first_frame_image`: "JPG, JPEG, PNG, WebP"), as seen 2026-11-20."""

_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}

_UPLOADED = re.compile(r"https?://[^?#]*hailuo-([0-9a-f]{64})\.(?:jpg|png|webp)(?:[?#].*)?")

_IDENTITY = re.compile(SHA256 + r"[0-9a-f]{64}")

_DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+(;[\w=.+-]+)*;base64,", re.ASCII | re.IGNORECASE)

_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{64,}=*\s*", re.ASCII)

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)

SHOWN_CHARACTERS = 200
"""How many characters of a picture's name are shown: bytes may come as a text of megabytes."""

PATH_CHARACTERS = 4096
"""No system opens a longer path (Linux's `PATH_MAX`)."""

MOST_BYTES = 20_000_000 - 1
"""MiniMax says "less than 20MB"; this is the smaller of the two megabytes, to be safe."""

SHORTER_SIDE_PIXELS = 300
"""The shorter side must have more."""

MOST_RATIO = 5 / 2
"""The most that the longer side may be, by the shorter."""

INLINE_BYTES = 32 * 1024
"""A picture of at most this size is sent in the body, as base64, and not uploaded first.

The ledger keeps the body word for word, and so does fal's history: ten thousand pictures of this
size make a ledger of 440 MB. A larger limit would save some uploads, which cost nothing, but every
look into the history would read megabytes.
"""


@dataclass(frozen=True)
class Image:
    """What a picture is.

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


def examine(content: bytes, shown: str) -> Image:
    """What a picture is, if the models take it.

    Args:
        content: All of its bytes.
        shown: Its name in errors.

    Raises:
        ImageError: The models do not take it; the message says why, and what to do.

    Example:
        >>> examine(b"GIF89a", "fox.gif")
        Traceback (most recent call last):
        prefect_hailuo.errors.ImageError: fox.gif is no picture in a format of JPEG, PNG, WebP...
    """
    check_size(len(content), shown)
    media_type = media_type_of(content[:12])
    if media_type is None:
        raise ImageError(
            f"{shown} is no picture in a format of {', '.join(MEDIA_TYPES)}; nothing was bought.",
            cure="Convert it to one of these; a web page or a GIF will not do.",
        )
    if not _is_whole(content, media_type):
        raise ImageError(
            f"{shown} is cut off before its end; nothing was bought.", cure="Copy it again."
        )
    width, height = _sides(content, shown)
    _check_sides(width, height, shown)
    identity = SHA256 + hashlib.sha256(content).hexdigest()
    return Image(identity, media_type, len(content), width, height)


def check_size(size: int, shown: str) -> None:
    """Refuse a picture that is too large.

    Args:
        size: Bytes.
        shown: Its name in the error.

    Raises:
        ImageError: It is too large.
    """
    if size > MOST_BYTES:
        raise ImageError(
            f"{shown} has {size:,} bytes, and a picture must have less than 20 MB; nothing was "
            "bought.",
            cure="Save it as a JPEG, or make it smaller: 1080p is all that the models make.",
        )


def _is_whole(content: bytes, media_type: str) -> bool:
    """Whether the picture is there to its end. Bytes after it do no harm."""
    if media_type == MEDIA_TYPES["PNG"]:
        return _png_ends(content)
    if media_type == MEDIA_TYPES["JPEG"]:
        return _jpeg_ends(content)
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


def _check_sides(width: int, height: int, shown: str) -> None:
    shorter, longer = sorted((width, height))
    if shorter <= SHORTER_SIDE_PIXELS:
        raise ImageError(
            f"{shown} is {width}×{height}; the shorter side must have more than "
            f"{SHORTER_SIDE_PIXELS} pixels; nothing was bought.",
            cure="Use a larger picture; 1920×1080 is what the pro models make.",
        )
    if longer > shorter * MOST_RATIO:
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


def _as_text(given: object) -> str:
    """A picture's name as a text: a URL, a `data:` URI or an absolute path."""
    if isinstance(given, bytes | bytearray | memoryview):
        return _inline(bytes(given))
    if isinstance(given, Path):
        return str(_at_home(given).absolute())
    if not isinstance(given, str):
        raise ValueError("a picture is a URL, a path, bytes or a data: URI")
    if not given.strip():
        raise ValueError("it is blank; name a picture by its URL or path")
    if given[: len(DATA)].lower() == DATA:
        decode_data_uri(given)
        return given
    if is_identity(given):
        return given
    scheme = _SCHEME.match(given.strip())
    if scheme:
        return _checked_url(given.strip(), scheme[1].lower())
    _check_path(given)
    return _as_text(Path(given))


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
    if source[: len(DATA)].lower() == DATA or is_identity(source):
        return False
    return _SCHEME.match(source.strip()) is None


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # ~somebody
        where = shown(str(path))
        raise ValueError(f"{where} is in a home that is not known; write its whole path") from None


def _inline(content: bytes) -> str:
    media_type = media_type_of(content)
    if media_type is None:
        raise ValueError(f"the bytes are no picture in a format of {', '.join(MEDIA_TYPES)}")
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


class _ImageMark:
    """Marks the fields of an input that hold a picture."""


ImageSource = Annotated[
    str | Path | bytes,
    BeforeValidator(_as_text),
    AfterValidator(Source),
    WithJsonSchema(
        {
            "type": "string",
            "description": "A picture: its URL (http or https), a path on the worker, or a data: "
            "URI; sha256: and its digest for a video that was made already. JPEG, PNG or WebP, "
            "under 20 MB, shorter side over 300 pixels, sides between 2:5 and 5:2.",
        }
    ),
    _ImageMark(),
]
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


@lru_cache(maxsize=256)
def image_fields(input_class: type[BaseModel]) -> tuple[str, ...]:
    """The fields of an input that hold a picture.

    Example:
        >>> class Shot(BaseModel):
        ...     prompt: str
        ...     image_url: ImageSource
        ...     end_image_url: ImageSource | None = None
        >>> image_fields(Shot)
        ('image_url', 'end_image_url')
    """
    fields = input_class.model_fields.items()
    return tuple(
        name
        for name, field in fields
        if any(isinstance(each, _ImageMark) for each in field.metadata) or _is_marked(field)
    )


def _is_marked(field: Any) -> bool:
    """Whether one of a union's kinds is a picture, as in `ImageSource | None`."""
    kinds = (kind for each in get_args(field.annotation) for kind in (each, *get_args(each)))
    return any(isinstance(kind, _ImageMark) for kind in kinds)


def image_sources(input: BaseModel) -> dict[str, str]:
    """The pictures that an input names, by field; a field without one is left out.

    Example:
        >>> class Shot(BaseModel):
        ...     image_url: ImageSource
        ...     end_image_url: ImageSource | None = None
        >>> image_sources(Shot(image_url="https://example.com/fox.png"))
        {'image_url': 'https://example.com/fox.png'}
    """
    named = {name: getattr(input, name) for name in image_fields(type(input))}
    return {name: str(source) for name, source in named.items() if source is not None}


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
    if source[: len(DATA)].lower() == DATA:
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
    return {
        name: identity_of(value) if isinstance(value, str) else value
        for name, value in body.items()
    }


def upload_name(sha256: str, media_type: str) -> str:
    """The file name of an uploaded picture, from which its URL tells its identity."""
    return f"hailuo-{sha256}.{_ENDINGS[media_type]}"


def shown(source: str) -> str:
    """A picture's name in messages, without a URL's query, which may be a signature, and not long.

    Example:
        >>> shown("https://bucket.example/fox.png?X-Amz-Signature=abc")
        'https://bucket.example/fox.png'
        >>> shown("data:image/png;base64,YWJj"), shown("/shots/fox.png")
        ('The picture that was passed as bytes', '/shots/fox.png')
    """
    if source[: len(DATA)].lower() == DATA:
        return "The picture that was passed as bytes"
    if is_url(source):
        parts = urlsplit(source)
        source = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return source if len(source) <= SHOWN_CHARACTERS else f"{source[: SHOWN_CHARACTERS - 1]}…"


def is_url(source: str) -> bool:
    """Whether a text is a web address."""
    return source[:8].lower().startswith(("http://", "https://"))


def media_type_of(head: bytes) -> str | None:
    """The media type of a picture, by its first bytes; None if MiniMax does not take the format.

    Args:
        head: Its first 12 bytes or more.

    Example:
        >>> media_type_of(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(4))
        'image/png'
        >>> media_type_of(b"GIF89a......") is None
        True
    """
    if head.startswith(b"\xff\xd8\xff"):
        return MEDIA_TYPES["JPEG"]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return MEDIA_TYPES["PNG"]
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return MEDIA_TYPES["WebP"]
    return None


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
