"""The family's figures: what its videos look like, what they cost, and how long they take."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from prefect_hailuo.endpoints.facts import Picture, Price, Variant

SECONDS_OF_23 = 110
"""Third parties report 40 to 180 s for 2.3."""

SECONDS_OF_23_FAST = 65
"""A seller of the same model calls it 30 to 50 % quicker than 2.3, and says 20 to 50 s:
https://wavespeed.ai/docs/docs-api/minimax/minimax-hailuo-2.3-fast, seen 2026-11-20."""

SECONDS_OF_02 = 360
"""Third parties report 4 to 8 minutes for 02. Of 02 fast nobody reports anything."""

_WIDTHS = {512: 910, 768: 1366, 1080: 1920}
"""Of a picture of 16:9, the nearest even number of pixels: H.264's colours want even ones."""

_SOURCE_1080P = (
    "1080p: the model's page at fal; 6 s at 24 fps: MiniMax's statement for 1080P, no schema of "
    "fal's carries it"
)
_SOURCE = (
    "lines and seconds: fal's schema and price texts, seen 2026-06; 16:9 at 24 fps: as MiniMax "
    "states it for 1080P, no schema of fal's carries it"
)
PAGE = "fal's price text on the model's page"
TEXTS = "fal's price texts, gathered 2026-06 to 2026-08"


def picture(height: int, duration_seconds: int) -> Picture:
    """A picture of 16:9 at 24 frames a second.

    An endpoint that is given a picture makes its video in that one's shape instead.

    Args:
        height: Pixels: 512, 768 or 1080.
        duration_seconds: Seconds.

    Example:
        >>> picture(768, 10).width
        1366
    """
    return Picture(
        width=_WIDTHS[height],
        height=height,
        frames_per_second=24,
        duration_seconds=duration_seconds,
        source=_SOURCE_1080P if height == 1080 else _SOURCE,
    )


PICTURE_1080P = picture(1080, 6)


def fixed(
    usd: str, unit: Literal["video", "second"], source: str = TEXTS, seen: str = "2026-06"
) -> tuple[Variant, ...]:
    """What a pro endpoint makes: one kind of video, 1080p, 6 s.

    Args:
        usd: US dollars a unit.
        unit: What is counted.
        source: Where the price was read.
        seen: When, as an ISO date or month.

    Example:
        >>> [variant.price_usd for variant in fixed("0.08", "second")]
        [Decimal('0.48')]
    """
    return (Variant(PICTURE_1080P, Price(Decimal(usd), unit, source, seen)),)


def by_length(height: int, usd: str, usd_longer: str) -> tuple[Variant, ...]:
    """What an endpoint makes that has a price for 6 and another for 10 seconds.

    Args:
        height: Pixels.
        usd: US dollars for 6 seconds.
        usd_longer: US dollars for 10 seconds.
    """
    prices = {"6": usd, "10": usd_longer}
    return tuple(
        Variant(
            picture(height, int(duration)),
            Price(Decimal(price), "video", TEXTS, "2026-06"),
            {"duration": duration},
        )
        for duration, price in prices.items()
    )


def by_second(
    height: int, usd: str, resolution: str | None = None, source: str = TEXTS
) -> tuple[Variant, ...]:
    """What an endpoint makes that is paid by the second, of 6 or 10 of them.

    Args:
        height: Pixels.
        usd: US dollars a second.
        resolution: The `resolution` that gives this height; None where there is no such setting.
        source: Where the price was read.

    Example:
        >>> [str(variant.price_usd) for variant in by_second(768, "0.045")]
        ['0.27', '0.45']
    """
    price = Price(Decimal(usd), "second", source, "2026-06")
    fine = {} if resolution is None else {"resolution": resolution}
    return tuple(
        Variant(picture(height, int(duration)), price, {"duration": duration, **fine})
        for duration in ("6", "10")
    )
