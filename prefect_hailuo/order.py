"""What a caller wants, as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

from prefect_hailuo.approved import name_of_any_picture, purchase_name
from prefect_hailuo.download import MOST_DOWNLOADS
from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Ticket
from prefect_hailuo.gate import Gate
from prefect_hailuo.image_checks import Image
from prefect_hailuo.images import image_sources
from prefect_hailuo.key import canonical_take, generation_key
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.wishes import NOBODY, RECONCILE_SECONDS, Limits, Run, Wish
from prefect_hailuo.places import Directory, Place

OnAmbiguous = Literal["park", "resubmit"]
OnLost = Literal["raise", "resubmit"]

AnInput = TypeVar("AnInput", bound=VideoInput)

FindPlace = Callable[[str], Place | None]


def find_directory(label: str) -> Place | None:
    """The place that a label names, if it is a directory of this machine."""
    return Directory.labelled(label)


def with_images(input: AnInput, images: Mapping[str, Image]) -> AnInput:
    """An input that names its pictures by what they are, and so says the same on every machine."""
    if not images:
        return input
    return input.model_copy(update={name: image.identity for name, image in images.items()})


@dataclass(frozen=True)
class Order:
    """What a caller wants.

    Args:
        input: What to generate.
        access: Whose account pays, and where.
        place: Where the video is to be kept.
        ledger: Where it is written down.
        take: Which of several videos of the same input.
        timeout_seconds: How long to wait for fal.
        labels: The caller's own words for it, kept in the records.
        scope: Whose budget it is on.
        limits: That scope's limits, as the caller knows them; None: as the ledger knows them.
        credentials: The saved credentials block's name, if it is one.
        run: Who asks.
        on_ambiguous: What to do about an attempt that may have been bought and is not found:
            `park` it with an error, or `resubmit`, which may pay twice.
        on_lost: What to do about a stored video that is nowhere any more: `raise` an error, or
            `resubmit`, which pays again.
        reconcile_seconds: How long a lost request is looked for.
        find_place: Finds the places that the ledger names.
        poster: Whether somebody will look at a poster of the video.
        download_connections: How many videos the process may download at once, from now on.
        webhook_url: Where fal is to tell of the end; None: nowhere, so that fal is asked.
        images: What the pictures of the input are, by field, once they were looked at; the road
            does that first.
        gate: Caps how many generations of the account are at fal at once; None: nothing does.
        approved: The names of all that may be bought, where a person was asked; None: anything.
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
    credentials: str | None = None
    run: Run = NOBODY
    on_ambiguous: OnAmbiguous = "park"
    on_lost: OnLost = "raise"
    reconcile_seconds: float = RECONCILE_SECONDS
    find_place: FindPlace = find_directory
    poster: bool = True
    download_connections: int = MOST_DOWNLOADS
    webhook_url: str | None = None
    images: Mapping[str, Image] = field(default_factory=dict)
    gate: Gate | None = None
    approved: frozenset[str] | None = None

    @cached_property
    def is_settled(self) -> bool:
        """Whether it is known what all its pictures are; without, its key is none."""
        return self.images.keys() == image_sources(self.input).keys()

    @cached_property
    def settled_input(self) -> VideoInput:
        """The input, its pictures named by what they are: so it is recorded."""
        return with_images(self.input, self.images)

    @cached_property
    def key(self) -> str:
        """The generation's key; made once, for it is asked for on every step of the road."""
        return generation_key(self.settled_input, realm=self.access.realm, take=self.take)

    @property
    def is_approved(self) -> bool:
        """Whether it may be bought."""
        if self.approved is None or purchase_name(self.key, self.input.price_usd) in self.approved:
            return True
        realm = self.access.realm
        return name_of_any_picture(self.settled_input, realm, self.take) in self.approved

    def wish(self, waiter: str, body: Mapping[str, Any] | None = None) -> Wish:
        """The order as the ledger takes it.

        Args:
            waiter: The call's name in the ledger.
            body: The exact body to send; None: the order's own, which cannot be sent before its
                pictures were brought to fal, and a slot was taken, where that is capped.
        """
        if not self.is_settled:
            raise ValueError("Its pictures were not looked at, so nobody knows what is wanted.")
        return Wish(
            key=self.key,
            realm=self.access.realm,
            endpoint=self.input.endpoint.id,
            body=self.settled_input.body() if body is None else body,
            is_ready=body is not None or not (self.images or self.gate),
            take=canonical_take(self.take),
            account=self.access.account,
            waiter=waiter,
            credentials=self.credentials,
            place=self.place.label,
            scope=self.scope,
            limits=self.limits,
            estimated_usd=self.input.price_usd,
            labels=dict(self.labels),
            run=self.run,
            is_approved=self.is_approved,
        )

    def named(self, ticket: Ticket) -> Ticket:
        """A ticket, with what it was asked for."""
        return ticket.model_copy(
            update={
                "input": self.settled_input.body(),
                "take": canonical_take(self.take),
                "labels": dict(self.labels),
                "webhook_url": self.webhook_url,
            }
        )
