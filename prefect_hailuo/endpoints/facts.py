"""What is known of an endpoint: what its videos look like, what they cost, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal


@dataclass(frozen=True)
class Price:
    """What fal charges, and where that is known from.

    Args:
        usd: US dollars a unit.
        unit: What is counted: a video, or a second of it.
        source: Where the figure was read.
        seen: When, as an ISO date or month.
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
        price: What it costs; None where that is not known.
        settings: The fields of the input that decide it, and their values; none where every video
            of the endpoint is alike.

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
        """What one video costs, in US dollars; None where that is not known."""
        if self.price is None:
            return None
        seconds = self.picture.duration_seconds if self.price.unit == "second" else 1
        return _in_cents(self.price.usd * seconds)


def _in_cents(usd: Decimal) -> Decimal:
    """Dollars with two places, but for an amount that has a fraction of a cent."""
    cents = usd.quantize(Decimal("0.01"))
    return cents if cents == usd else usd


@dataclass(frozen=True)
class Endpoint:
    """The facts of one endpoint.

    Args:
        id: fal's endpoint id, as in `https://queue.fal.run/{id}`.
        name: The short name used on the command line.
        title: The name that fal's page carries.
        variants: What it makes and what that costs, by the settings that decide it; the first is
            what its defaults give.
        expected_seconds: How long a generation usually takes; third parties' reports, a prior
            for progress bars and pacing, never a limit.
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
        """What it makes of an input that has nothing but what is required."""
        return self.variants[0]

    def variant(self, body: Mapping[str, Any]) -> Variant | None:
        """What it makes of a request's body; None for a body that it would refuse.

        Args:
            body: The settings, as on the wire; one that is left out has its default.
        """
        asked = {name: body.get(name, value) for name, value in self.default.settings.items()}
        return next((each for each in self.variants if each.settings == asked), None)

    def price_usd(self, body: Mapping[str, Any] | None) -> Decimal | None:
        """What the video of a request costs, in US dollars.

        Args:
            body: What was asked for; None where that is not known.

        Returns:
            None where no price is known, or not which of several it is.
        """
        if body is not None:
            variant = self.variant(body)
            return variant.price_usd if variant else None
        prices = {each.price_usd for each in self.variants}
        return prices.pop() if len(prices) == 1 else None
