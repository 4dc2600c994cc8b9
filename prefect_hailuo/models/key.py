"""The key of a generation: two requests with the same key are the same video, bought once."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from decimal import Decimal
from functools import lru_cache
from typing import Any

from slugify import slugify

from prefect_hailuo.models.image import SHA256, identity_of
from prefect_hailuo.models.inputs import VideoInput
from prefect_hailuo.models.request import Request
from prefect_hailuo.ticket import Realm

KEY_VERSION = 1
"""Part of every key. With another version, no stored video would be found: it stays."""

SLUG_CHARACTERS = 40
KEY_CHARACTERS_IN_NAME = 16
SHOWN_CHARACTERS = 12


def canonical_take(take: int | str) -> str:
    """A take as it goes into the key: `1` and `"1"` are the same take.

    Args:
        take: A number, or any text, such as the run's scheduled date.

    Raises:
        TypeError: It is neither.

    Example:
        >>> canonical_take(1) == canonical_take(" 1 ")
        True
    """
    if isinstance(take, bool) or not isinstance(take, int | str):
        raise TypeError(f"take must be an int or a str, not {type(take).__name__}; pass str(...).")
    return unicodedata.normalize("NFC", str(take).strip())


def generation_key(input: VideoInput | Request, *, realm: Realm, take: int | str = 0) -> str:
    """The key of a generation: equal keys are one video, bought once.

    It covers the realm, the endpoint, the input and the take, and neither the credentials nor the
    storage. Text is compared in Unicode's NFC form: composed and decomposed accents are the same
    prompt. A picture counts by its content, if the input tells it.

    Args:
        input: What to generate. An image that it names by path or URL must have been looked at
            first (`settle_input`): the key of a path says nothing.
        realm: Who generates it: the emulator's video is no answer to a request to fal.
        take: Which of several videos of the same input.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo
        >>> fox = Hailuo23ProTextToVideo(prompt="A red fox.")
        >>> generation_key(fox, realm="fal") == generation_key(fox, realm="fal", take="0")
        True
        >>> generation_key(fox, realm="fal") == generation_key(fox, realm="emulator")
        False
    """
    request = input if isinstance(input, Request) else input.request()
    identity = {
        "version": KEY_VERSION,
        "realm": realm,
        "endpoint": request.endpoint,
        "input": _canonical_body(request),
        "take": canonical_take(take),
    }
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def shown_key(key: str) -> str:
    """A key as people are shown it: shortened, but hardly ever ambiguous.

    Example:
        >>> shown_key("0123456789abcdef0123")
        '0123456789ab'
    """
    return key[:SHOWN_CHARACTERS]


def file_stem(prompt: str, key: str) -> str:
    """A file name without its ending: readable, unique to the key, and safe on every platform.

    Example:
        >>> file_stem("A red fox!", "0123456789abcdef0123")
        'a-red-fox-0123456789abcdef'
    """
    return "-".join(part for part in (_slug(prompt), key[:KEY_CHARACTERS_IN_NAME]) if part)


@lru_cache(maxsize=1 << 14)
def _slug(prompt: str) -> str:
    # Cached: a video is named several times. The backend is slugify's own: by default it looks for
    # another one each time, and where that is installed, the same video would have another name.
    return slugify(prompt, max_length=SLUG_CHARACTERS, word_boundary=True, backend="text-unidecode")


def _canonical_body(request: Request) -> dict[str, Any]:
    media = request.media_fields
    return {
        name: _identity(value) if name in media else _normal(value)
        for name, value in request.body.items()
        if name not in request.unkeyed
    }


def _identity(value: Any) -> Any:
    return [identity_of(each) for each in value] if isinstance(value, list) else identity_of(value)


def _normal(value: Any) -> Any:
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


PURCHASE_CHARACTERS = 16

ANY_PICTURE = SHA256 + "0" * 64
"""Stands for a picture that the flow run itself makes from what was approved."""


def purchase_name(key: str, usd: Decimal | None) -> str:
    """A purchase's name in an approval.

    Args:
        key: The generation's key, after its pictures were looked at.
        usd: Its price, in US dollars; None if that is not known.

    Example:
        >>> purchase_name("ab" * 32, Decimal("0.490")) == purchase_name("ab" * 32, Decimal("0.49"))
        True
        >>> purchase_name("ab" * 32, None) == purchase_name("ab" * 32, Decimal("0.49"))
        False
    """
    price = None if usd is None else usd.normalize()
    return hashlib.sha256(f"{key} {price}".encode()).hexdigest()[:PURCHASE_CHARACTERS]


def name_of_any_picture(request: Request, realm: Realm, take: int | str) -> str:
    """The name, in an approval, of a purchase whose pictures the flow run makes itself.

    Args:
        request: What to generate.
        realm: Who generates it.
        take: Which of several videos of the same input.
    """
    bare = request.with_media(dict.fromkeys(request.media, ANY_PICTURE))
    return purchase_name(generation_key(bare, realm=realm, take=take), request.price_usd)
