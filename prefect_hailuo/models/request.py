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


@dataclass(frozen=True)
class Request:
    """One call of an endpoint.

    Args:
        endpoint: fal's endpoint id.
        body: The JSON body, its images as the caller named them.
        price_usd: What it costs by the catalogue, in US dollars; None where that is not known.
        expected_seconds: How long it usually takes; None where that is not known. A prior for
            progress and pacing, never a limit.
        images: The images that the body names, by field.
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
    images: Mapping[str, str] = field(default_factory=dict)
    picture: Picture | None = None
    unkeyed: frozenset[str] = frozenset()
    cautions: tuple[str, ...] = ()
    impossible: str = ""

    @property
    def prompt(self) -> str:
        """The prompt; empty where the body has none."""
        prompt = self.body.get("prompt")
        return prompt if isinstance(prompt, str) else ""

    def with_images(self, named: Mapping[str, str]) -> Request:
        """The same request with its images named otherwise.

        Args:
            named: Their names, by field.
        """
        return replace(self, body={**self.body, **named}, images=named) if named else self
