"""What a caller wants, as a value; and the purchases that an approval allows.

An order may name media (pictures, videos, sounds) by a path or a URL, which do not tell what they
hold. So an order has no key until its media have been read (`settle`). The body to send is made
last (`body_to_send`), because large media are uploaded first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import anyio

from prefect_hailuo.errors import ConfigurationError, ImageError
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.attempt import NOBODY, RECONCILE_SECONDS, Limits, Purchase, Run
from prefect_hailuo.models.catalogue import VideoInput
from prefect_hailuo.models.image import Image, with_sources
from prefect_hailuo.models.key import (
    canonical_take,
    generation_key,
    name_of_any_picture,
    purchase_name,
)
from prefect_hailuo.models.media import Medium
from prefect_hailuo.models.request import Request
from prefect_hailuo.storage.download import MOST_DOWNLOADS
from prefect_hailuo.storage.pictures import Pictures
from prefect_hailuo.storage.place import Directory, Place
from prefect_hailuo.ticket import Ticket

OnAmbiguous = Literal["park", "resubmit"]
OnLost = Literal["raise", "resubmit"]

FindPlace = Callable[[str], Place | None]


def find_directory(label: str) -> Place | None:
    """The place that a label names, if it is a directory of this machine."""
    return Directory.labelled(label)


class Gate(Protocol):
    """Counts slots, on the package's loop."""

    async def enter(self, seconds: float) -> None:
        """Take a slot, once one is free.

        Args:
            seconds: How long to wait for one.

        Raises:
            GenerationTimeoutError: None was free for so long; nothing was bought.
            ConcurrencyLimitError: Nobody can say whether one is free; nothing was bought.
        """

    def leave(self) -> None:
        """Give a slot back."""


@dataclass(frozen=True)
class Order:
    """What a caller wants.

    Args:
        input: What to generate, as the caller said it.
        access: Whose account pays, and where.
        place: Where the video is to be kept.
        ledger: Where it is written down.
        take: Which of several videos of the same input.
        timeout_seconds: How long to wait for fal.
        labels: The caller's own words for it, kept in the records.
        scope: Whose budget it is on.
        limits: That scope's limits, as the caller knows them; None: as the ledger knows them.
        is_scope_named: Whether the scope was named explicitly: then it must have a limit.
        credentials: The saved credentials block's name, if it is one.
        run: The flow run that asks.
        on_ambiguous: What to do about an attempt that may have been bought and is not found:
            `park` it with an error, or `resubmit`, which may pay twice.
        on_lost: What to do about a stored video that is nowhere any more: `raise` an error, or
            `resubmit`, which pays again.
        reconcile_seconds: How long a lost request is looked for.
        find_place: Finds the places that the ledger names.
        poster: Whether to make a poster of the video.
        download_connections: How many videos the process may download at once, from now on.
        file_hosts: Hosts and networks, by the environment, to which fal's links may lead besides.
        webhook_url: Where fal is to tell of the end; None: nowhere, so that fal is asked.
        media: What the media of the input are, by place, once they have been read; the engine
            does that first.
        gate: Caps how many generations of the account are at fal at once; None: nothing does.
        approved: The names of all that may be bought, by each `buying_only` that holds; of none,
            anything.
    """

    input: VideoInput
    access: Access
    place: Place
    ledger: LedgerAddress
    take: int | str = 0
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    labels: Mapping[str, str] = field(default_factory=dict)
    scope: str = "default"
    limits: Limits | None = None
    is_scope_named: bool = False
    credentials: str | None = None
    run: Run = NOBODY
    on_ambiguous: OnAmbiguous = "park"
    on_lost: OnLost = "raise"
    reconcile_seconds: float = RECONCILE_SECONDS
    find_place: FindPlace = find_directory
    poster: bool = True
    download_connections: int = MOST_DOWNLOADS
    file_hosts: frozenset[str] = frozenset()
    webhook_url: str | None = None
    media: Mapping[str, Image] = field(default_factory=dict)
    gate: Gate | None = None
    approved: tuple[frozenset[str], ...] = ()

    @cached_property
    def request(self) -> Request:
        """What is asked of fal, its media as the caller named them."""
        return self.input.request()

    @property
    def is_settled(self) -> bool:
        """Whether it is known what all its media are; without that, it has no key."""
        return self.media.keys() == self.request.media.keys()

    @cached_property
    def settled(self) -> Request:
        """The request as it is recorded: its media named by their content."""
        return self.request.with_media({name: each.identity for name, each in self.media.items()})

    @cached_property
    def key(self) -> str:
        """The generation's key."""
        return generation_key(self.settled, realm=self.access.realm, take=self.take)

    @property
    def is_approved(self) -> bool:
        """Whether it may be bought."""
        if not self.approved:
            return True
        names = {
            purchase_name(self.key, self.request.price_usd),
            name_of_any_picture(self.settled, self.access.realm, self.take),
        }
        return not any(names.isdisjoint(each) for each in self.approved)

    def purchase(self, waiter: str, body: Mapping[str, Any] | None = None) -> Purchase:
        """The order as the ledger takes it.

        Args:
            waiter: The call's name in the ledger.
            body: The exact body to send; None: the order's own, which cannot be sent before its
                media were brought to fal, and a slot was taken, where that is capped.
        """
        if not self.is_settled:
            raise ValueError("Its media were not looked at, so nobody knows what is wanted.")
        return Purchase(
            key=self.key,
            realm=self.access.realm,
            endpoint=self.request.endpoint,
            body=self.settled.body if body is None else body,
            is_ready=body is not None or not (self.media or self.gate),
            take=canonical_take(self.take),
            account=self.access.account,
            waiter=waiter,
            credentials=self.credentials,
            place=self.place.label,
            scope=self.scope,
            limits=self.limits,
            is_scope_named=self.is_scope_named,
            estimated_usd=self.request.price_usd,
            labels=dict(self.labels),
            run=self.run,
            is_approved=self.is_approved,
        )

    def named(self, ticket: Ticket) -> Ticket:
        """A ticket, with what it was asked for."""
        return ticket.model_copy(
            update={
                "input": dict(self.settled.body),
                "take": canonical_take(self.take),
                "labels": dict(self.labels),
                "webhook_url": self.webhook_url,
                "key": self.key,
                "price_usd": self.request.price_usd,
                "expected_seconds": self.request.expected_seconds,
            }
        )


async def look_at(request: Request, pictures: Pictures) -> dict[str, Image]:
    """What the media of a request are, by their place.

    Raises:
        ImageError: One of them cannot be had, or the models do not take it.
    """
    return {place: await pictures.look(each) for place, each in request.media.items()}


async def settle_request(request: Request, pictures: Pictures) -> Request:
    """The request with its media named by their content.

    Raises:
        ImageError: One of them cannot be had, or the models do not take it.
    """
    media = await look_at(request, pictures)
    return request.with_media({place: each.identity for place, each in media.items()})


async def settle(order: Order, pictures: Pictures) -> Order:
    """The order, with its media looked at.

    Raises:
        ImageError: One of them cannot be had, or the models do not take it.
    """
    if order.is_settled:
        return order
    return replace(order, media=await look_at(order.request, pictures))


async def settle_all(
    orders: Sequence[Order], pictures: Pictures
) -> list[tuple[Order, ImageError | None]]:
    """Each order with its media looked at; or with what is wrong with one of them."""
    named = {medium for order in orders for medium in order.request.media.values()}
    found: dict[Medium, Image] = {}
    flaws: dict[Medium, ImageError] = {}

    async def look(medium: Medium) -> None:
        try:
            found[medium] = await pictures.look(medium)
        except ImageError as error:
            flaws[medium] = error

    async with anyio.create_task_group() as tasks:
        for medium in named:
            tasks.start_soon(look, medium)
    return [_settled(order, found, flaws) for order in orders]


def _settled(
    order: Order, found: Mapping[Medium, Image], flaws: Mapping[Medium, ImageError]
) -> tuple[Order, ImageError | None]:
    media = order.request.media
    flaw = next((flaws[each] for each in media.values() if each in flaws), None)
    if flaw is not None or order.is_settled:
        return order, flaw
    return replace(order, media={place: found[each] for place, each in media.items()}), None


async def body_to_send(order: Order, pictures: Pictures) -> Mapping[str, Any]:
    """The exact body to send for a settled order, its media uploaded where they are large.

    Raises:
        ConfigurationError: The model makes no such video; nothing was bought.
        HailuoError: One of them could not be brought to fal; nothing was bought.
    """
    if order.request.impossible:
        raise ConfigurationError(
            f"{order.request.impossible}; nothing was bought.",
            cure="Ask for another resolution, such as 768P, or leave the end picture out.",
        )
    media = order.request.media
    sent = {
        place: await pictures.sendable(media[place], image, order.access)
        for place, image in order.media.items()
    }
    return with_sources(order.request.body, sent)


_allowed: ContextVar[tuple[frozenset[str], ...]] = ContextVar("hailuo_approved", default=())


@contextmanager
def buying_only(names: Collection[str] | None) -> Iterator[None]:
    """Within this block, let calls buy only some purchases; None: nothing is forbidden.

    Videos that are stored or under way can still be used: they were bought before. It applies to
    tasks that are called, or submitted to Prefect's default task runner, which stays in this
    process. Tasks that run elsewhere do not know of it. A block within another, such as that of a
    flow that is called as a subflow, forbids more, and allows nothing that the outer one forbids.

    Args:
        names: The purchases of an `Estimate`, which a person approved.

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
    outer = _allowed.get()
    before = _allowed.set(outer if names is None else (*outer, frozenset(names)))
    try:
        yield
    finally:
        _allowed.reset(before)


def allowed_purchases() -> tuple[frozenset[str], ...]:
    """The names of what may be bought here, by each `buying_only` that holds."""
    return _allowed.get()
