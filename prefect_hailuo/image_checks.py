"""What a picture must be, as MiniMax states it: found out before anything is sent or bought.

MiniMax (https://platform.minimax.io/docs/api-reference/video-generation-i2v, the fields
`first_frame_image` and `last_frame_image`, as seen 2026-11-20): JPG, JPEG, PNG or WebP; under
20 MB; the shorter side over 300 pixels; the ratio of the sides between 2:5 and 5:2. What breaks
these rules could be charged for: a 422 of fal's may cost money.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO

import imagesize

from prefect_hailuo.errors import ImageError
from prefect_hailuo.images import MEDIA_TYPES, SHA256, media_type_of

MOST_BYTES = 20_000_000 - 1
"""MiniMax: "less than 20MB"; the smaller of the two megabytes, to be safe."""

SHORTER_SIDE_PIXELS = 300
"""The shorter side has more than this."""

MOST_RATIO = 5 / 2
"""Of the longer side to the shorter."""

INLINE_BYTES = 32 * 1024
"""A picture of no more than this is sent in the body itself, as base64, and not uploaded first.

The body is kept in the ledger, word for word, and in fal's history: ten thousand pictures of this
size make a ledger of 440 MB. A larger limit would save an upload, which costs nothing, now and
then, and make every look into the history read megabytes.
"""


@dataclass(frozen=True)
class Image:
    """What a picture is.

    Args:
        identity: `sha256:` and the digest of its content.
        media_type: Such as `image/png`; None where nobody has looked at it.
        size: Bytes.
        width: Pixels, as it is seen: turned as a camera noted it.
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


def check_size(size: int, shown: str) -> None:
    """Refuse what is too large.

    Raises:
        ImageError: It is.
    """
    if size > MOST_BYTES:
        raise ImageError(
            f"{shown} has {size:,} bytes, and a picture must have less than 20 MB; nothing was "
            "bought.",
            cure="Save it as a JPEG, or make it smaller: 1080p is all that the models make.",
        )


def examine(content: bytes, shown: str) -> Image:
    """What a picture is, if it is one that the models take. It may take a moment.

    Args:
        content: All of it.
        shown: What it is called in an error.

    Raises:
        ImageError: It is none; the message says why, and what to do.

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


def _is_whole(content: bytes, media_type: str) -> bool:
    """Whether the mark is there that ends a picture; what a program wrote after it does no harm."""
    if media_type == MEDIA_TYPES["PNG"]:
        return b"IEND\xaeB`\x82" in content
    if media_type == MEDIA_TYPES["JPEG"]:
        return b"\xff\xd9" in content
    return len(content) >= 8 + int.from_bytes(content[4:8], "little")


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
