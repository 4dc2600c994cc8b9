"""A request: one call of any endpoint, with all that is known of it before it is bought.

A typed input makes one (`VideoInput.request`). From the engine down, everything takes it, and
nothing asks the catalogue any more what an endpoint's id means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from prefect_hailuo.models.endpoint import Picture
from prefect_hailuo.models.image import with_sources
from prefect_hailuo.models.media import Medium


@dataclass(frozen=True)
class Request:
    """One call of an endpoint.

    Args:
        endpoint: fal's endpoint id.
        body: The JSON body, its pictures, videos and sounds as the caller named them.
        price_usd: What it costs by the catalogue, in US dollars; None where that is not known.
        expected_seconds: How long it usually takes; None where that is not known. A prior for
            progress and pacing, never a limit.
        media: The pictures, videos and sounds that the body names, by their place in it.
        picture: What the file is expected to look like; None where that is not known.
        unkeyed: Fields of the body that stay out of the generation's key.
        cautions: What in it may not do what it was meant to, for people to read.
        impossible: Why no such video can be made, so that none is bought; empty where it can.

    Example:
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> fox = Hailuo23ProTextToVideo(prompt="A red fox.").request()
        >>> fox.endpoint, fox.price_usd
        ('fal-ai/minimax/hailuo-2.3/pro/text-to-video', Decimal('0.49'))
    """

    endpoint: str
    body: Mapping[str, Any]
    price_usd: Decimal | None = None
    expected_seconds: float | None = None
    media: Mapping[str, Medium] = field(default_factory=dict)
    picture: Picture | None = None
    unkeyed: frozenset[str] = frozenset()
    cautions: tuple[str, ...] = ()
    impossible: str = ""

    @property
    def prompt(self) -> str:
        """The prompt; empty where the body has none."""
        prompt = self.body.get("prompt")
        return prompt if isinstance(prompt, str) else ""

    @property
    def media_fields(self) -> frozenset[str]:
        """The fields of the body that hold pictures, videos or sounds, or lists of them."""
        return frozenset(place.partition("[")[0] for place in self.media)

    def with_media(self, named: Mapping[str, str]) -> Request:
        """The same request with its pictures, videos and sounds named otherwise.

        Args:
            named: Their names, by their places.
        """
        if not named:
            return self
        media = {place: each._replace(source=named[place]) for place, each in self.media.items()}
        return replace(self, body=with_sources(self.body, named), media=media)
