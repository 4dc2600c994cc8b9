"""What one video of a model costs: by the catalogue, or by fal's own word of today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal

from prefect_hailuo.blocks import Credentials, resolve_credentials
from prefect_hailuo.endpoints import Endpoint, find_input_class
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.platform import LivePrice, PlatformClient
from prefect_hailuo.loop import Connections, Emit, process_loop


@dataclass(frozen=True)
class Quote:
    """What one video of an endpoint costs.

    Args:
        endpoint: fal's endpoint id.
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


def quote(model: str, *, credentials: Credentials = None, live: bool = False) -> Quote:
    """What one video of a model costs.

    Args:
        model: fal's endpoint id, or the short name.
        credentials: Whom to ask for a live price.
        live: Whether to ask fal.

    Raises:
        UnknownEndpointError: No model is called that.

    Example:
        >>> quote("hailuo-02-pro").price_usd
        Decimal('0.48')
    """
    endpoint = find_input_class(model).endpoint
    access = resolve_credentials(credentials).access() if live else None

    async def job(connections: Connections, emit: Emit) -> Quote:
        return (await quotes_of(connections, [endpoint], access))[0]

    return process_loop().run(job)


async def quotes_of(
    connections: Connections, endpoints: Sequence[Endpoint], access: Access | None
) -> list[Quote]:
    """What endpoints cost: by fal's word if there is a key to ask with, else by the catalogue.

    Args:
        connections: What the process shares.
        endpoints: Which.
        access: The key; None: fal is not asked.

    Raises:
        FalError: fal does not say.
    """
    if access is None:
        return [_by_catalogue(endpoint) for endpoint in endpoints]
    platform = PlatformClient(access, connections.http)
    prices = await platform.prices([endpoint.id for endpoint in endpoints])
    live = {price.endpoint_id: price for price in prices}
    return [_by_fal(endpoint, live.get(endpoint.id)) for endpoint in endpoints]


def _by_catalogue(endpoint: Endpoint, *notes: str) -> Quote:
    price = endpoint.price
    if price is None:
        unknown = f"No price of {endpoint.name} is known."
        return Quote(endpoint.id, None, "", "", (*notes, unknown))
    return Quote(endpoint.id, endpoint.price_usd, price.source, price.seen, notes)


def _by_fal(endpoint: Endpoint, live: LivePrice | None) -> Quote:
    if live is None:
        return _by_catalogue(endpoint, f"fal's pricing API names no price of {endpoint.name}.")
    usd = _usd_a_video(endpoint, live)
    if usd is None:
        said = f"{live.unit_price} {live.currency} for each {live.unit!r}"
        return _by_catalogue(endpoint, f"fal says that {endpoint.name} costs {said}, no video's.")
    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    return Quote(endpoint.id, usd, "fal's pricing API", today, _difference(endpoint, usd))


def _usd_a_video(endpoint: Endpoint, live: LivePrice) -> Decimal | None:
    seconds = endpoint.picture.duration_seconds
    units = {"video": 1, "videos": 1, "second": seconds, "seconds": seconds}.get(live.unit.lower())
    return live.unit_price * units if units and live.currency.upper() == "USD" else None


def _difference(endpoint: Endpoint, usd: Decimal) -> tuple[str, ...]:
    if usd == endpoint.price_usd:
        return ()
    if endpoint.price is None:
        return (f"The catalogue knows no price of {endpoint.name}; budgets refuse it.",)
    return (
        f"fal says that {endpoint.name} costs ${usd}, the catalogue ${endpoint.price_usd} (seen "
        f"{endpoint.price.seen}); budgets count by the catalogue.",
    )
