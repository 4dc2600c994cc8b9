"""What models take as media: pictures, videos and sound, by kind, format and size.

Each set of rules is one value with its source. A file is checked against them before anything is
sent or bought, because a 422 of fal may cost money. How long a video or a sound lasts is not
checked: fal judges that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["picture", "video", "sound"]

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WebP": "image/webp",
}
"""The formats that MiniMax takes for 2.3 and 02, by https://platform.minimax.io/docs/api-reference/
video-generation-i2v (field `first_frame_image`: "JPG, JPEG, PNG, WebP"), as seen 2026-11-20."""

ENDINGS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/heic": "heic",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
}
"""What the name of an uploaded file ends with."""


@dataclass(frozen=True)
class Rules:
    """What a field of an input takes.

    Args:
        kind: What it is.
        media_types: The formats, by their names.
        most_bytes: The largest file.
        most: The same as the vendor says it, for people.
        least_pixels: The shorter side of a picture has at least so many.
        most_pixels: The longer side has at most so many; None: there is no limit.
        most_ratio: The most that the longer side may be, by the shorter.
        source: Where that was read, and when.
    """

    kind: Kind
    media_types: Mapping[str, str] = field(hash=False)
    most_bytes: int
    most: str
    source: str
    least_pixels: int = 0
    most_pixels: int | None = None
    most_ratio: float = 5 / 2

    @property
    def formats(self) -> str:
        """The names of the formats."""
        return ", ".join(self.media_types)

    @property
    def described(self) -> str:
        """The rules in words, for forms."""
        if self.kind != "picture":
            return f"{self.formats}, {self.most}."
        most = f", longer side at most {self.most_pixels}" if self.most_pixels else ""
        return (
            f"{self.formats}, {self.most}, shorter side over {self.least_pixels - 1} pixels{most}, "
            "sides between 2:5 and 5:2."
        )


PICTURE = Rules(
    kind="picture",
    media_types=MEDIA_TYPES,
    most_bytes=20_000_000 - 1,  # the smaller of the two megabytes, to be safe
    most="less than 20 MB",
    least_pixels=301,
    source="https://platform.minimax.io/docs/api-reference/video-generation-i2v, the fields "
    "`first_frame_image` and `last_frame_image`, as seen 2026-11-20",
)
"""A picture for Hailuo 2.3 and 02."""

H3_PICTURE = Rules(
    kind="picture",
    media_types={**MEDIA_TYPES, "HEIC": "image/heic"},
    most_bytes=30_000_000,
    most="at most 30 MB",
    least_pixels=256,
    most_pixels=5760,
    source="MiniMax's documentation of H3, gathered 2026-11; below 256 pixels fal answers 422 "
    "`image_too_small`, seen 2026-09",
)
"""A picture for Hailuo 3."""

H3_VIDEO = Rules(
    kind="video",
    media_types={"MP4": "video/mp4", "MOV": "video/quicktime"},
    most_bytes=50_000_000,
    most="at most 50 MB",
    source="MiniMax's documentation of H3, gathered 2026-11",
)
"""A reference video for Hailuo 3. It also has 2 to 15 s in H.264 or H.265, at 24 to 60 fps."""

H3_SOUND = Rules(
    kind="sound",
    media_types={"WAV": "audio/wav", "MP3": "audio/mpeg"},
    most_bytes=15_000_000,
    most="at most 15 MB",
    source="MiniMax's documentation of H3, gathered 2026-11; fal's OpenAPI document, 2026-09-24",
)
"""A reference sound, or the sound track, for Hailuo 3."""


class Medium(NamedTuple):
    """A picture, video or sound that a request names.

    Args:
        source: How the caller named it.
        rules: What it must be.
    """

    source: str
    rules: Rules


def media_type_of(head: bytes) -> str | None:
    """The media type of a file, by its first bytes; None if no model takes the format.

    Args:
        head: Its first 12 bytes or more.

    Example:
        >>> media_type_of(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(4)), media_type_of(b"ID3" + bytes(9))
        ('image/png', 'audio/mpeg')
        >>> media_type_of(b"GIF89a......") is None
        True
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head.startswith(b"ID3") or (head[:1] == b"\xff" and head[1:2] in _MP3):
        return "audio/mpeg"
    return None


_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1", b"hevc"), "image/heic"),
    **dict.fromkeys((b"avif", b"avis"), None),
    b"qt  ": "video/quicktime",
}
"""By the major brand of a file's `ftyp` box; any other is an MP4."""

_MP3 = frozenset((b"\xfb", b"\xfa", b"\xf3", b"\xf2", b"\xe3", b"\xe2"))
"""The second byte of a frame of MPEG's layer 3 without a tag before it."""
