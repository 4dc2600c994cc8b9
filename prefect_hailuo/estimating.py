"""What videos would cost, before any is bought. Nothing here spends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Literal

import anyio
from anyio.to_thread import run_sync

from prefect_hailuo.approved import purchase_name
from prefect_hailuo.blocks import Credentials, resolve_credentials
from prefect_hailuo.camera import camera_warnings
from prefect_hailuo.connections import Connections, Emit, Job
from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.errors import ImageError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.images import image_sources
from prefect_hailuo.key import canonical_take, generation_key
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.fates import Rerun
from prefect_hailuo.ledger.standing import Standing, is_parked
from prefect_hailuo.loop import process_loop
from prefect_hailuo.order import Order
from prefect_hailuo.pictures import Pictures
from prefect_hailuo.quoting import Quote, quotes_of
from prefect_hailuo.settings import current_settings
from prefect_hailuo.settling import settle_input

Wanted = VideoInput | tuple[VideoInput, int | str] | Order
"""An input, an input with its take, or a whole order."""

State = Literal["new", "stored", "under way", "unclear", "failed", "repeated"]
"""To be bought; stored already; being made; parked, or being looked for; ended by an error that is
raised again, or of a picture that cannot be had; or the same as an earlier one of the list. Only
what is new costs anything, and what is of a picture that cannot be had here and now: where it can,
or later, it would be bought."""


@dataclass(frozen=True)
class Line:
    """One of the videos that an estimate is about.

    Args:
        input: What would be generated.
        take: Which of several videos of the same input.
        key: The generation's key.
        state: Whether it would have to be bought.
        cost_usd: What it would cost now, in US dollars; None where no price is known.
    """

    input: VideoInput
    take: str
    key: str
    state: State
    cost_usd: Decimal | None


@dataclass(frozen=True)
class Estimate:
    """What videos would cost, were they bought now.

    Args:
        lines: One a video, in the order in which they were asked about.
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
        """How many that cost something have no known price, and are not in the total."""
        return sum(line.cost_usd is None for line in self.lines)

    @property
    def purchases(self) -> frozenset[str]:
        """The names of all that costs something: of `Question.purchases` and `buying_only`."""
        costly = (line for line in self.lines if line.cost_usd != 0)
        return frozenset(purchase_name(line.key, line.cost_usd) for line in costly)

    @property
    def notes(self) -> tuple[str, ...]:
        """What else is to be known about the prices."""
        return tuple(dict.fromkeys(note for quote in self.quotes for note in quote.notes))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What MiniMax may not understand of the prompts' camera commands; each thing once."""
        return tuple(camera_warnings(line.input.prompt for line in self.lines))

    def __str__(self) -> str:
        unpriced = f", and {self.unpriced} of unknown price" if self.unpriced else ""
        return f"{self.to_buy} of {len(self.lines)} to buy, about ${self.total_usd}{unpriced}"


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
        credentials: Whose videos, and whom to ask: a `FalCredentials` block or a saved block's
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
class _Asked:
    """A video that is asked about, and the ledger that may know it."""

    input: VideoInput
    take: str
    key: str
    ledger: LedgerAddress
    flawed: bool = False

    async def settled(self, realm: Realm, pictures: Pictures) -> _Asked:
        """The same, by the key of the pictures that the input names, if they can be had."""
        try:
            given = await settle_input(self.input, pictures)
        except ImageError:
            return replace(self, flawed=True)
        return replace(self, key=generation_key(given, realm=realm, take=self.take))


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
        standings = await _standings(asked, connections)
        seen: set[str] = set()
        lines = []
        for one, offer in zip(asked, wanted, strict=True):
            state = "repeated" if one.key in seen else _state(one, standings)
            seen.add(one.key)
            costs = state == "new" or (state == "failed" and one.flawed)
            cost = prices[offer] if costs else Decimal(0)
            lines.append(Line(one.input, one.take, one.key, state, cost))
        return Estimate(tuple(lines), tuple(quotes), self.realm)

    async def _settled(self, pictures: Pictures) -> list[_Asked]:
        found = list(self.asked)

        async def look(index: int) -> None:
            found[index] = await found[index].settled(self.realm, pictures)

        async with anyio.create_task_group() as tasks:
            for index, one in enumerate(found):
                if image_sources(one.input):
                    tasks.start_soon(look, index)
        return found


async def _standings(asked: Sequence[_Asked], connections: Connections) -> dict[str, Standing]:
    found: dict[str, Standing] = {}
    for address in {one.ledger for one in asked}:
        keys = {one.key for one in asked if one.ledger == address}
        found |= await connections.ledgers.at(address).reading.standings(keys)
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


def _state(one: _Asked, standings: Mapping[str, Standing]) -> State:
    """Whether a call would buy it, by the table of reruns."""
    if one.flawed:
        return "failed"
    standing = standings[one.key]
    latest = standing.latest
    if latest is None or latest.rerun is Rerun.BUY:
        return "new"
    if latest.rerun is Rerun.REUSE:
        return "stored"
    if standing.consented or (latest.rerun is Rerun.WAIT_OR_BUY and not standing.alive):
        return "new"
    if latest.rerun is Rerun.RAISE:
        return "failed"
    lost = latest.rerun is Rerun.WAIT_OR_RECONCILE and not standing.alive
    if is_parked(latest) or lost or latest.rerun is Rerun.RECONCILE:
        return "unclear"
    return "under way"
