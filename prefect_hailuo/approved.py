"""What may be bought where a person was asked: what that person was shown, and nothing else.

A purchase goes by a name, made of the generation's key and its price. The key tells the content of
its pictures, so that a picture that changed since is another purchase; and the price is part of it,
so that what became dearer is one, too. Each is bought once, and so the approved sum holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal

from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.images import SHA256, image_sources
from prefect_hailuo.key import generation_key

NAME_CHARACTERS = 16

ANY_PICTURE = SHA256 + "0" * 64
"""Stands for a picture that the flow run itself makes of what was approved."""

_allowed: ContextVar[frozenset[str] | None] = ContextVar("hailuo_approved", default=None)


def purchase_name(key: str, usd: Decimal | None) -> str:
    """What a purchase is called among those that a person approves.

    Args:
        key: The generation's key, its pictures looked at.
        usd: Its price, in US dollars; None where none is known.

    Example:
        >>> purchase_name("ab" * 32, Decimal("0.490")) == purchase_name("ab" * 32, Decimal("0.49"))
        True
        >>> purchase_name("ab" * 32, None) == purchase_name("ab" * 32, Decimal("0.49"))
        False
    """
    price = None if usd is None else usd.normalize()
    return hashlib.sha256(f"{key} {price}".encode()).hexdigest()[:NAME_CHARACTERS]


def name_of_any_picture(input: VideoInput, realm: Realm, take: int | str) -> str:
    """What a purchase is called whose pictures are whatever the flow run makes.

    Args:
        input: What to generate.
        realm: Who generates it.
        take: Which of several videos of the same input.
    """
    bare = input.model_copy(update=dict.fromkeys(image_sources(input), ANY_PICTURE))
    return purchase_name(generation_key(bare, realm=realm, take=take), input.price_usd)


@contextmanager
def buying_only(names: Collection[str] | None) -> Iterator[None]:
    """Let what is asked for meanwhile buy nothing but some purchases; None: whatever it likes.

    What is there already, or on its way, may be had all the same, for it is bought. It holds for
    tasks that are called, or submitted to Prefect's default task runner, which stays in this
    process; those that run elsewhere know nothing of it.

    Args:
        names: The purchases of an `Estimate`, as a person was asked about them.

    Example:
        >>> from prefect_hailuo import Hailuo02ProTextToVideo, estimate, generate_video
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> owl, fox = (Hailuo02ProTextToVideo(prompt=each) for each in ("An owl.", "A fox."))
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     with buying_only(estimate(owl, credentials=mine).purchases):
        ...         video = generate_video(owl, credentials=mine)
        ...         generate_video(fox, credentials=mine)
        Traceback (most recent call last):
        ...
        prefect_hailuo.errors.NotApprovedError: It is not among what was approved, ...
    """
    before = _allowed.set(None if names is None else frozenset(names))
    try:
        yield
    finally:
        _allowed.reset(before)


def allowed_purchases() -> frozenset[str] | None:
    """The names of what may be bought here; None: anything."""
    return _allowed.get()
