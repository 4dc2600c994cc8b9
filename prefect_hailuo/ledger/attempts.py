"""An attempt to buy a generation, as the ledger remembers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from prefect_hailuo.errors import Billed
from prefect_hailuo.fal.messages import Completed, Output, Realm, Ticket
from prefect_hailuo.ledger.fates import RERUN, Fate, Rerun


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row: an intent to POST, and everything that became of it.

    Args:
        key: The generation's key.
        number: Which attempt of the key, from 1.
        realm: fal or emulator.
        endpoint: fal's endpoint id.
        account: The label of the account that pays.
        credentials: The saved credentials block's name, if it was one.
        place: The label of the place that the video was meant for.
        scope: Whose budget it is on.
        take: Which of several videos of the same input.
        body: The exact body sent; None once it was redacted.
        body_digest: Tells equal bodies, also after that.
        labels: The caller's own words.
        fate: How far it came.
        billed: Whether it cost money; None while that is open.
        owner: Who may POST.
        lease_until: Until when the owner counts as alive; like all times here, in seconds since
            1970 on the database's clock.
        intended_at: When the intent was written.
        sent_at: When the first byte was about to leave.
        submitted_at: When fal's ticket was recorded.
        ended_at: When the fate became final.
        request_id: fal's id.
        ticket: The ticket.
        completed: How it completed.
        output: Its result.
        error: The error that was recorded, as `recorded.describe` writes it.
        parked_at: When it was given up to a person's decision.
        parked_because: Why.
        cancel_answer: What fal said to a cancellation.
        estimated_usd: What it was expected to cost; None where no price is known.
        cost_usd: What it is taken to have cost; None while that is open.
        cost_basis: `estimate`, or `unbilled`; `unknown` counts as spent.
        duplicate: A second request on a key that has another.
        adopted: Found in fal's history, not answered to a POST of ours.
    """

    key: str
    number: int
    realm: Realm
    endpoint: str
    account: str
    credentials: str | None
    place: str | None
    scope: str
    take: str
    body: dict[str, Any] | None
    body_digest: str
    labels: dict[str, str]
    fate: Fate
    billed: Billed | None
    owner: str | None
    lease_until: float
    intended_at: float
    sent_at: float | None
    submitted_at: float | None
    ended_at: float | None
    request_id: str | None
    ticket: Ticket | None
    completed: Completed | None
    output: Output | None
    error: dict[str, Any] | None
    parked_at: float | None
    parked_because: str | None
    cancel_answer: str | None
    estimated_usd: Decimal | None
    cost_usd: Decimal | None
    cost_basis: str | None
    duplicate: bool
    adopted: bool

    @property
    def rerun(self) -> Rerun:
        """What a call that finds it does, by the table."""
        return RERUN[self.fate, self.billed]

    @property
    def counted_usd(self) -> Decimal:
        """What it takes of a budget: its cost, and until that is known, its estimate."""
        known = self.estimated_usd if self.cost_usd is None else self.cost_usd
        return known or Decimal(0)

    def open_ticket(self) -> Ticket:
        """The ticket of an attempt that has one."""
        if self.ticket is None:
            raise ValueError(f"Attempt {self.number} of {self.key} has no ticket.")
        return self.ticket


class Counted(Protocol):
    """As much of an attempt as tells which one counts."""

    @property
    def billed(self) -> Billed | None:
        """Whether it cost money."""

    @property
    def duplicate(self) -> bool:
        """Whether it is a second request."""


One = TypeVar("One", bound=Counted)


def latest_of(attempts: Sequence[One]) -> One | None:
    """The attempt that counts: the latest, but for those that cost nothing, if there are others.

    An attempt may turn out to have been bought after all, when a later one has already failed:
    then it is the earlier that a call goes on with. A duplicate counts if there is nothing else.

    Args:
        attempts: Of one key, in their order.
    """
    telling = [each for each in attempts if each.billed != Billed.NO]
    single = [each for each in telling if not each.duplicate]
    return next(iter([*single[-1:], *telling[-1:], *attempts[-1:]]), None)


def attempt_of(row: Mapping[Any, Any]) -> Attempt:
    """The attempt that a row of the table holds."""
    return Attempt(
        **{
            **row,
            "fate": Fate(row["fate"]),
            "billed": row["billed"] and Billed(row["billed"]),
            "ticket": row["ticket"] and Ticket.model_validate(row["ticket"]),
            "completed": row["completed"] and Completed.model_validate(row["completed"]),
            "output": row["output"] and Output.model_validate(row["output"]),
        }
    )


def moment(seconds: float) -> datetime:
    """A time of the ledger as a date and time in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc)
