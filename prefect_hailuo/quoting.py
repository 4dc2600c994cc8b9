"""What one video of a model costs: by the catalogue, or by fal's own word of today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal

from prefect_hailuo.blocks import Credentials, resolve_credentials
from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.endpoints import Endpoint, Variant, find_input_class
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.platform import LivePrice, PlatformClient
from prefect_hailuo.loop import process_loop

Offer = tuple[Endpoint, Variant]
"""An endpoint, and which of its variants."""


@dataclass(frozen=True)
class Quote:
    """What one video of an endpoint costs.

    Args:
        endpoint: fal's endpoint id.
        settings: The settings that decide the price, such as the duration.
        price_usd: US dollars a video; None where no price is known.
        source: Where that was read.
        seen: When, as an ISO date or month.
        notes: What else is to be known about it.
    """

    endpoint: str
    price_usd: Decimal | None
    source: str
    seen: str
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def quote(
    model: str,
    settings: Mapping[str, str | int] | None = None,
    *,
    credentials: Credentials = None,
    live: bool = False,
) -> Quote:
    """What one video of a model costs.

    Args:
        model: fal's endpoint id, or the short name.
        settings: The settings that decide the price, such as `{"duration": 10}`; those left out
            have their defaults.
        credentials: Whom to ask for a live price.
        live: Whether to ask fal.

    Raises:
        UnknownEndpointError: No model is called that.
        ConfigurationError: The model has no such setting.

    Example:
        >>> quote("hailuo-02-pro").price_usd
        Decimal('0.48')
        >>> quote("hailuo-2.3-standard", {"duration": 10}).price_usd
        Decimal('0.56')
    """
    endpoint = find_input_class(model).endpoint
    offer = endpoint, _chosen(endpoint, settings or {})
    access = resolve_credentials(credentials).access() if live else None

    async def job(connections: Connections, emit: Emit) -> Quote:
        return (await quotes_of(connections, [offer], access))[0]

    return process_loop().run(job)


def _chosen(endpoint: Endpoint, settings: Mapping[str, str | int]) -> Variant:
    asked = {name: str(value) for name, value in settings.items()}
    known = asked.keys() <= endpoint.default.settings.keys()
    variant = endpoint.variant(asked) if known else None
    if variant is None:
        there = [describe_settings(each.settings) for each in endpoint.variants if each.settings]
        raise ConfigurationError(
            f"{endpoint.name} has no {describe_settings(asked)}.",
            cure=f"Choose one of: {'; '.join(there)}." if there else "Leave the setting out.",
        )
    return variant


def describe_settings(settings: Mapping[str, str]) -> str:
    """Settings in words.

    Example:
        >>> describe_settings({"duration": "6", "resolution": "768P"})
        'duration 6, resolution 768P'
    """
    return ", ".join(f"{name} {value}" for name, value in settings.items())


async def quotes_of(
    connections: Connections, offers: Sequence[Offer], access: Access | None
) -> list[Quote]:
    """What videos cost: by fal's word if there is a key to ask with, else by the catalogue.

    Args:
        connections: What the process shares.
        offers: Of which endpoints, and which of their variants.
        access: The key; None: fal is not asked.

    Raises:
        FalError: fal does not say.
    """
    if access is None:
        return [_by_catalogue(offer) for offer in offers]
    platform = PlatformClient(access, connections.http)
    ids = dict.fromkeys(endpoint.id for endpoint, _ in offers)
    live = {price.endpoint_id: price for price in await platform.prices(list(ids))}
    return [_by_fal(offer, live.get(offer[0].id)) for offer in offers]


def _by_catalogue(offer: Offer, *notes: str) -> Quote:
    endpoint, variant = offer
    price = variant.price
    if price is None:
        notes = (*notes, f"No price of {endpoint.name} is known.")
        return Quote(endpoint.id, None, "", "", notes, variant.settings)
    usd = variant.price_usd
    return Quote(endpoint.id, usd, price.source, price.seen, notes, variant.settings)


def _by_fal(offer: Offer, live: LivePrice | None) -> Quote:
    endpoint, variant = offer
    if live is None:
        return _by_catalogue(offer, f"fal's pricing API names no price of {endpoint.name}.")
    usd = _usd_a_video(variant, live)
    if usd is None:
        said = f"{live.unit_price} {live.currency} for each {live.unit!r}"
        return _by_catalogue(offer, f"fal says that {endpoint.name} costs {said}, no video's.")
    if variant.price != endpoint.default.price:
        return _by_catalogue(offer, *_of_another(offer, live))
    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    notes = _difference(offer, usd)
    return Quote(endpoint.id, usd, "fal's pricing API", today, notes, variant.settings)


def _usd_a_video(variant: Variant, live: LivePrice) -> Decimal | None:
    seconds = variant.picture.duration_seconds
    units = {"video": 1, "videos": 1, "second": seconds, "seconds": seconds}.get(live.unit.lower())
    return live.unit_price * units if units and live.currency.upper() == "USD" else None


def _of_another(offer: Offer, live: LivePrice) -> tuple[str, ...]:
    """What fal's one price says of a variant that has a price of its own: nothing, unless it is
    another than the catalogue has for what the endpoint makes by default."""
    endpoint, variant = offer
    default = endpoint.default
    usd = _usd_a_video(default, live)
    if usd == default.price_usd:
        return ()
    usual, other = describe_settings(default.settings), describe_settings(variant.settings)
    return (
        f"fal says that {endpoint.name} costs ${usd} with {usual}, the catalogue "
        f"${default.price_usd}; the price with {other}, which fal does not name, may have "
        "changed too.",
    )


def _difference(offer: Offer, usd: Decimal) -> tuple[str, ...]:
    endpoint, variant = offer
    if usd == variant.price_usd:
        return ()
    if variant.price is None:
        return (f"The catalogue knows no price of {endpoint.name}; budgets refuse it.",)
    return (
        f"fal says that {endpoint.name} costs ${usd}, the catalogue ${variant.price_usd} (seen "
        f"{variant.price.seen}); budgets count by the catalogue.",
    )
