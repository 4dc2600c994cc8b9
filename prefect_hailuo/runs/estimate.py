"""What videos would cost, by the catalogue or by fal's price of today. Nothing here buys.

An estimate asks the ledger which of the videos are there already. A quote is the price of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal

import anyio
from anyio.to_thread import run_sync
from pydantic import BeforeValidator, PlainSerializer

from prefect_hailuo.engine.loop import Connections, Emit, Job, process_loop
from prefect_hailuo.engine.order import Order, settle_request
from prefect_hailuo.engine.outcome import named_input, typed_input
from prefect_hailuo.errors import ConfigurationError, ImageError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.platform import LivePrice, PlatformClient
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.attempt import KeyState, Rerun, is_parked
from prefect_hailuo.models.catalogue import Endpoint, Variant, VideoInput, find_input_class
from prefect_hailuo.models.image import media_of
from prefect_hailuo.models.inputs import OptimizedInput, cautions_of
from prefect_hailuo.models.key import canonical_take, generation_key, purchase_name
from prefect_hailuo.models.money import dollars, told_usd
from prefect_hailuo.runs.blocks import Credentials, resolve_credentials
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.storage.pictures import Pictures
from prefect_hailuo.ticket import Realm

Wanted = VideoInput | tuple[VideoInput, int | str] | Order
"""An input, an input with its take, or a whole order."""

State = Literal["new", "stored", "under way", "unclear", "failed", "repeated"]
"""To be bought; stored already; being made; parked, or being looked for; ended by an error that is
raised again, or of a picture that cannot be had; or the same as an earlier one of the list. Only
what is new costs anything, and what is of a picture that cannot be had here and now: where it can,
or later, it would be bought."""

Offer = tuple[Endpoint, Variant]
"""An endpoint, and which of its variants."""


def _read(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    if "endpoint" in given:
        return typed_input(given)
    fields = {name: each for name, each in given.items() if name in OptimizedInput.model_fields}
    return OptimizedInput.model_validate(fields)  # as earlier releases wrote it


def _written(given: VideoInput) -> dict[str, Any]:
    return named_input(given) if hasattr(given, "endpoint") else given.body()


@dataclass(frozen=True)
class Line:
    """One video of an estimate.

    Args:
        input: What would be generated.
        take: Which of several videos of the same input.
        key: The generation's key.
        state: Whether it would have to be bought.
        cost_usd: What it would cost now, in US dollars; None where no price is known.
    """

    input: Annotated[VideoInput, BeforeValidator(_read), PlainSerializer(_written)]
    take: str
    key: str
    state: State
    cost_usd: Decimal | None


@dataclass(frozen=True)
class Estimate:
    """What videos would cost, were they bought now.

    Args:
        lines: One for each video, in the order in which they were asked about.
        quotes: The prices, one for each endpoint and its settings.
        realm: `fal`, or `emulator`, which charges nothing of all this.

    Example:
        >>> from prefect_hailuo import Hailuo02ProTextToVideo
        >>> cost = estimate(Hailuo02ProTextToVideo(prompt="A kite."), takes=[0, "again"])
        >>> cost.to_buy, cost.total_usd
        (2, Decimal('0.96'))
    """

    lines: tuple[Line, ...]
    quotes: tuple[Quote, ...]
    realm: Realm

    @property
    def total_usd(self) -> Decimal:
        """What all of it would cost, as far as prices are known."""
        return sum((line.cost_usd for line in self.lines if line.cost_usd), Decimal(0))

    @property
    def to_buy(self) -> int:
        """How many videos would be bought."""
        return sum(line.state == "new" for line in self.lines)

    @property
    def unpriced(self) -> int:
        """How many videos to buy have no known price, and are not in the total."""
        return sum(line.cost_usd is None for line in self.lines)

    @property
    def purchases(self) -> frozenset[str]:
        """The names of all purchases that cost something, for `Question` and `buying_only`."""
        costly = (line for line in self.lines if line.cost_usd != 0)
        return frozenset(purchase_name(line.key, line.cost_usd) for line in costly)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about the prices."""
        return tuple(dict.fromkeys(note for quote in self.quotes for note in quote.notes))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What in the inputs may not do what it was meant to, such as camera commands that MiniMax
        may not understand; each thing once."""
        return cautions_of(line.input for line in self.lines)

    def __str__(self) -> str:
        cost = told_usd(self.total_usd, "fal", self.unpriced)
        return f"{self.to_buy} of {len(self.lines)} to buy, {cost}"


def estimate(
    inputs: Wanted | Iterable[Wanted],
    *,
    takes: Iterable[int | str] = (0,),
    credentials: Credentials = None,
    live: bool = False,
) -> Estimate:
    """What videos would cost, and which of them the ledger has already. It spends nothing.

    Args:
        inputs: One input, or many: each an input, an `(input, take)`, or an order.
        takes: The takes of each input that comes without one.
        credentials: The account, and where to ask: a `FalCredentials` block or a saved block's
            name. By default, as for the tasks; without `live`, no key is needed.
        live: Whether to ask fal for today's prices, instead of taking the catalogue's.

    Raises:
        ConfigurationError: `live`, and there is no key.
        FalError: fal does not say what it costs.
        LedgerError: The ledger cannot be read.
        TypeError: What is asked about is no input.

    Example:
        >>> from prefect_hailuo import Hailuo02ProTextToVideo, Hailuo23ProTextToVideo
        >>> fox = Hailuo23ProTextToVideo(prompt="A red fox.")
        >>> owl = Hailuo02ProTextToVideo(prompt="An owl.")
        >>> print(estimate([fox, owl]))
        2 of 2 to buy, about $0.97
        >>> print(estimate(fox, takes=range(10)))
        10 of 10 to buy, about $4.90
    """
    return process_loop().run(_Question.of(inputs, takes, credentials, live).job)


async def aestimate(
    inputs: Wanted | Iterable[Wanted],
    *,
    takes: Iterable[int | str] = (0,),
    credentials: Credentials = None,
    live: bool = False,
) -> Estimate:
    """The asynchronous twin of `estimate`."""
    ask = partial(_Question.of, inputs, takes, credentials, live)
    return await process_loop().arun((await run_sync(ask)).job)


@dataclass(frozen=True)
class _Question:
    asked: Sequence[_Asked]
    realm: Realm
    access: Access | None

    @classmethod
    def of(
        cls,
        inputs: Wanted | Iterable[Wanted],
        takes: Iterable[int | str],
        credentials: Credentials,
        live: bool,
    ) -> _Question:
        wanted = _listed(inputs)
        orders = [each for each in wanted if isinstance(each, Order)]
        block = None if orders and credentials is None else resolve_credentials(credentials)
        realm = block.realm if block else orders[0].access.realm
        access = (block.access() if block else orders[0].access) if live else None
        every = list(takes)
        asked = [one for each in wanted for one in _asked(each, realm, every)]
        return cls(asked, realm, access)

    @property
    def job(self) -> Job[Estimate]:
        return self._estimate

    async def _estimate(self, connections: Connections, emit: Emit) -> Estimate:
        wanted = [(one.input.endpoint, one.input.variant) for one in self.asked]
        offers = list(dict.fromkeys(wanted))
        quotes = await quotes_of(connections, offers, self.access)
        prices = {offer: each.price_usd for offer, each in zip(offers, quotes, strict=True)}
        asked = await self._settled(connections.pictures)
        states = await _states(asked, connections)
        seen: set[str] = set()
        lines = []
        for one, offer in zip(asked, wanted, strict=True):
            state = "repeated" if one.key in seen else _state(one, states)
            seen.add(one.key)
            costs = state == "new" or (state == "failed" and one.flawed)
            cost = _added(prices[offer], one.input) if costs else Decimal(0)
            lines.append(Line(one.input, one.take, one.key, state, cost))
        return Estimate(tuple(lines), tuple(quotes), self.realm)

    async def _settled(self, pictures: Pictures) -> list[_Asked]:
        found = list(self.asked)

        async def look(index: int) -> None:
            found[index] = await found[index].settled(self.realm, pictures)

        async with anyio.create_task_group() as tasks:
            for index, one in enumerate(found):
                if media_of(one.input):
                    tasks.start_soon(look, index)
        return found


@dataclass(frozen=True)
class _Asked:
    """A video that is asked about, and the ledger that may know it."""

    input: VideoInput
    take: str
    key: str
    ledger: LedgerAddress
    flawed: bool = False

    async def settled(self, realm: Realm, pictures: Pictures) -> _Asked:
        """The same, by the key of the media that the input names, if they can be had."""
        try:
            request = await settle_request(self.input.request(), pictures)
        except ImageError:
            return replace(self, flawed=True)
        return replace(self, key=generation_key(request, realm=realm, take=self.take))


def _added(usd: Decimal | None, given: VideoInput) -> Decimal | None:
    """A video's cost with that of its references; None where one of them is not known."""
    more = given.endpoint.surcharge_usd(given.body())
    return None if usd is None or more is None else usd + more


async def _states(asked: Sequence[_Asked], connections: Connections) -> dict[str, KeyState]:
    found: dict[str, KeyState] = {}
    for address in {one.ledger for one in asked}:
        keys = {one.key for one in asked if one.ledger == address}
        found |= await connections.ledgers.at(address).reading.states(keys)
    return found


def _listed(inputs: Wanted | Iterable[Wanted]) -> list[Wanted]:
    if isinstance(inputs, VideoInput | Order):
        return [inputs]
    if isinstance(inputs, tuple) and len(inputs) == 2 and isinstance(inputs[1], int | str):
        return [inputs]
    return list(inputs)


def _asked(wanted: Wanted, realm: Realm, takes: Sequence[int | str]) -> Iterator[_Asked]:
    if isinstance(wanted, Order):
        yield _Asked(wanted.input, canonical_take(wanted.take), wanted.key, wanted.ledger)
        return
    given, own = wanted if isinstance(wanted, tuple) else (wanted, None)
    if not (isinstance(given, VideoInput) and hasattr(given, "endpoint")):
        raise TypeError(
            f"An estimate is of inputs such as Hailuo23ProTextToVideo(prompt=...), not of "
            f"{type(given).__name__}."
        )
    ledger = current_settings().ledger_of(realm)
    for take in takes if own is None else [own]:
        key = generation_key(given, realm=realm, take=take)
        yield _Asked(given, canonical_take(take), key, ledger)


def _state(one: _Asked, states: Mapping[str, KeyState]) -> State:
    """Whether a call would buy it, by the table of reruns."""
    if one.flawed:
        return "failed"
    found = states[one.key]
    latest = found.latest
    if latest is None or latest.rerun is Rerun.BUY:
        return "new"
    if latest.rerun is Rerun.REUSE:
        return "stored"
    if found.consented or (latest.rerun is Rerun.WAIT_OR_BUY and not found.alive):
        return "new"
    if latest.rerun is Rerun.RAISE:
        return "failed"
    lost = latest.rerun is Rerun.WAIT_OR_RECONCILE and not found.alive
    if is_parked(latest) or lost or latest.rerun is Rerun.RECONCILE:
        return "unclear"
    return "under way"


@dataclass(frozen=True)
class Quote:
    """What one video of an endpoint costs.

    Args:
        endpoint: fal's endpoint id.
        settings: The settings that decide the price, such as the duration.
        price_usd: US dollars a video; None where no price is known.
        source: Where the price was read.
        seen: When, as an ISO date or month.
        notes: Remarks about it.
    """

    endpoint: str
    price_usd: Decimal | None
    source: str
    seen: str
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str | int] = field(default_factory=dict)


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
        credentials: The account that asks for a live price.
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
    usual = endpoint.default.settings
    asked = {name: _like(usual.get(name), value) for name, value in settings.items()}
    known = asked.keys() <= usual.keys()
    variant = endpoint.variant(asked) if known else None
    if variant is None:
        there = [describe_choice(each) for each in endpoint.variants if each.settings]
        raise ConfigurationError(
            f"{endpoint.name} has no {describe_settings(asked)}.",
            cure=f"Choose one of: {'; '.join(there)}." if there else "Leave the setting out.",
        )
    return variant


def _like(usual: str | int | None, given: str | int) -> str | int:
    """A setting in the type that the model's own has."""
    text = str(given)
    return int(text) if isinstance(usual, int) and text.isdecimal() else text


def describe_choice(variant: Variant) -> str:
    """All settings of a variant in words."""
    if variant.lengths is None:
        return describe_settings(variant.settings)
    return f"{describe_settings(variant.settings)}, {describe_lengths(variant.lengths)}"


def describe_lengths(lengths: range) -> str:
    """Durations in words.

    Example:
        >>> describe_lengths(range(5, 16))
        'duration 5 to 15'
    """
    return f"duration {lengths[0]} to {lengths[-1]}"


def describe_settings(settings: Mapping[str, str | int]) -> str:
    """Settings in words.

    Example:
        >>> describe_settings({"duration": "6", "resolution": "768P"})
        'duration 6, resolution 768P'
    """
    return ", ".join(f"{name} {value}" for name, value in settings.items())


async def quotes_of(
    connections: Connections, offers: Sequence[Offer], access: Access | None
) -> list[Quote]:
    """What videos cost: as fal says, if there is a key to ask with, else by the catalogue.

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
    usd = _usd_a_video(offer, live)
    if usd is None:
        said = f"{live.unit_price} {live.currency} for each {live.unit!r}"
        return _by_catalogue(offer, f"fal says that {endpoint.name} costs {said}, no video's.")
    if endpoint.billed is None and variant.price != endpoint.default.price:
        return _by_catalogue(offer, *_of_another(offer, live))
    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    notes = _difference(offer, usd)
    return Quote(endpoint.id, usd, "fal's pricing API", today, notes, variant.settings)


def _usd_a_video(offer: Offer, live: LivePrice) -> Decimal | None:
    """What a video costs by fal's price of a unit; dearer seconds are billed as more of them."""
    endpoint, variant = offer
    seconds = Decimal(variant.picture.duration_seconds)
    if endpoint.billed and variant.price:
        seconds *= variant.price.usd / endpoint.billed.usd
    counted = {"video": Decimal(1), "second": seconds}
    units = counted.get(live.unit.lower().removesuffix("s"))
    return live.unit_price * units if units and live.currency.upper() == "USD" else None


def _of_another(offer: Offer, live: LivePrice) -> tuple[str, ...]:
    """What fal's one price says of a variant that has a price of its own: nothing, unless it is
    another than the catalogue has for what the endpoint makes by default."""
    endpoint, variant = offer
    default = endpoint.default
    usd = _usd_a_video((endpoint, default), live)
    if usd == default.price_usd or usd is None:
        return ()
    usual, other = describe_settings(default.settings), describe_settings(variant.settings)
    return (
        f"fal says that {endpoint.name} costs {dollars(usd)} with {usual}, the catalogue "
        f"{_known(default.price_usd)}; the price with {other}, which fal does not name, may have "
        "changed too.",
    )


def _difference(offer: Offer, usd: Decimal) -> tuple[str, ...]:
    endpoint, variant = offer
    if usd == variant.price_usd:
        return ()
    if variant.price is None:
        return (f"The catalogue knows no price of {endpoint.name}; budgets refuse it.",)
    return (
        f"fal says that {endpoint.name} costs {dollars(usd)}, the catalogue "
        f"{_known(variant.price_usd)} (seen {variant.price.seen}); budgets count by the catalogue.",
    )


def _known(usd: Decimal | None) -> str:
    return "names no price" if usd is None else dollars(usd)
