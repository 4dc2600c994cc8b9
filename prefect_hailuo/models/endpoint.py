"""What is known of an endpoint: what its videos look like, what they cost, and how it is called.

The figures of the Hailuo family are here, each with its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal


@dataclass(frozen=True)
class Price:
    """What fal charges, and the source of that.

    Args:
        usd: US dollars a unit.
        unit: What is counted: a video, or a second of it.
        source: Where the figure was read.
        seen: When it was read, as an ISO date or month.
    """

    usd: Decimal
    unit: Literal["video", "second"]
    source: str
    seen: str


@dataclass(frozen=True)
class Picture:
    """What a video looks like.

    Args:
        width: Pixels.
        height: Pixels.
        frames_per_second: Frames per second.
        duration_seconds: Seconds.
        source: Where the figures were read.
    """

    width: int
    height: int
    frames_per_second: int
    duration_seconds: int
    source: str


@dataclass(frozen=True)
class Variant:
    """What an endpoint makes with certain settings, and what that costs.

    Args:
        picture: What the video looks like.
        price: What it costs; None if that is not known.
        settings: The fields of the input that choose it, and their values; empty if all videos of
            the endpoint are alike.

    Example:
        >>> from prefect_hailuo import Hailuo23StandardTextToVideo
        >>> Hailuo23StandardTextToVideo.endpoint.variants[1].settings
        {'duration': '10'}
    """

    picture: Picture
    price: Price | None
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def price_usd(self) -> Decimal | None:
        """What one video costs, in US dollars; None if that is not known."""
        if self.price is None:
            return None
        seconds = self.picture.duration_seconds if self.price.unit == "second" else 1
        return _in_cents(self.price.usd * seconds)


def _in_cents(usd: Decimal) -> Decimal:
    """Dollars with two decimal places; more only if there is a fraction of a cent."""
    cents = usd.quantize(Decimal("0.01"))
    return cents if cents == usd else usd


@dataclass(frozen=True)
class Endpoint:
    """The facts of one endpoint.

    Args:
        id: fal's endpoint id, as in `https://queue.fal.run/{id}`.
        name: The short name used on the command line.
        title: The name that fal's page carries.
        variants: What it makes and what that costs, by the settings that choose it; the first is
            for its defaults.
        expected_seconds: How long a generation usually takes, by third parties' reports: an
            estimate for progress bars and pacing, never a limit.
        input_schema: The name of its input in fal's OpenAPI document.
        output_schema: The name of its output there.
        example: An input from fal's page.

    Example:
        >>> from prefect_hailuo import Hailuo23StandardTextToVideo
        >>> Hailuo23StandardTextToVideo.endpoint.app
        'fal-ai/minimax'
        >>> Hailuo23StandardTextToVideo.endpoint.price_usd({"duration": "10"})
        Decimal('0.56')
    """

    id: str
    name: str
    title: str
    variants: tuple[Variant, ...]
    expected_seconds: float
    input_schema: str
    output_schema: str
    example: dict[str, Any] = field(hash=False)

    @property
    def app(self) -> str:
        """Owner and app, below which fal serves status, result and cancel."""
        return "/".join(self.id.split("/")[:2])

    @property
    def page(self) -> str:
        """The model's page at fal."""
        return f"https://fal.ai/models/{self.id}"

    @property
    def category(self) -> Literal["text-to-video", "image-to-video"]:
        """fal's category of the model, which its id tells."""
        return "image-to-video" if self.id.endswith("/image-to-video") else "text-to-video"

    @property
    def default(self) -> Variant:
        """What it makes of an input with the required fields only."""
        return self.variants[0]

    def variant(self, body: Mapping[str, Any]) -> Variant | None:
        """What it makes of a request's body; None for a body that it would refuse.

        Args:
            body: The settings, as they are sent; one that is left out has its default.
        """
        asked = {name: body.get(name, value) for name, value in self.default.settings.items()}
        return next((each for each in self.variants if each.settings == asked), None)

    def price_usd(self, body: Mapping[str, Any] | None) -> Decimal | None:
        """What the video of a request costs, in US dollars.

        Args:
            body: The request's body; None if it is not known.

        Returns:
            None if no price is known, or which of several applies is not known.
        """
        if body is not None:
            variant = self.variant(body)
            return variant.price_usd if variant else None
        prices = {each.price_usd for each in self.variants}
        return prices.pop() if len(prices) == 1 else None


SECONDS_OF_23 = 110
"""Third parties report 40 to 180 s for 2.3."""

SECONDS_OF_23_FAST = 65
"""A seller of the same model calls it 30 to 50 % quicker than 2.3, and says 20 to 50 s:
https://wavespeed.ai/docs/docs-api/minimax/minimax-hailuo-2.3-fast, seen 2026-11-20."""

SECONDS_OF_02 = 360
"""Third parties report 4 to 8 minutes for 02. There are no reports of 02 fast."""

_WIDTHS = {512: 910, 768: 1366, 1080: 1920}
"""Of a picture of 16:9: the nearest even number of pixels, as H.264's colours need it."""

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

    An endpoint that starts from a picture makes the video in the shape of that picture instead.

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
    """The variants of a pro endpoint: one kind of video, 1080p, 6 s.

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
    """The variants of an endpoint with one price for 6 seconds and another for 10.

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
    """The variants of an endpoint that is paid by the second, for 6 or 10 seconds.

    Args:
        height: Pixels.
        usd: US dollars a second.
        resolution: The `resolution` that gives this height; None if there is no such setting.
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
