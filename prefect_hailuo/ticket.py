"""A request that fal accepted, as a value that any process can go on from."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Realm = Literal["fal", "emulator"]
"""Who is at the other end: fal, where money is spent, or the emulator, where none is."""


class Ticket(BaseModel):
    """A request that was accepted: all that it takes to follow, collect or cancel it.

    A ticket is a plain value. Any process that holds it and the account's key can go on from it.

    Args:
        endpoint: fal's endpoint id.
        request_id: fal's id of the request.
        status_url: Where fal said its status is; used only if it is on the configured hosts.
        response_url: The same of its result.
        cancel_url: The same of cancelling it.
        realm: Whether fal or the emulator accepted it.
        account: The label of the account that it belongs to.
        submitted_at: When it was accepted, UTC; unknown for an adopted request.
        input: What was asked for; unknown for an adopted request.
        take: Which of several videos of the same input.
        labels: The caller's own words for it, such as shot and client.
        queue_position: How many were before it when it was accepted, if fal said so.
        webhook_url: Where fal is to tell of its end, for the ledger to hear of it.
        key: The key of its generation; unknown for an adopted request.
        price_usd: What it costs by the catalogue, in US dollars, as its buyer knew it.
        expected_seconds: How long it usually takes, as its buyer knew it.

    Example:
        >>> ticket = Ticket(endpoint="fal-ai/minimax/hailuo-02/pro/text-to-video", request_id="r1")
        >>> Ticket.model_validate_json(ticket.model_dump_json()) == ticket
        True
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    endpoint: str
    request_id: str = Field(min_length=1)
    status_url: str | None = None
    response_url: str | None = None
    cancel_url: str | None = None
    realm: Realm = "fal"
    account: str | None = None
    submitted_at: datetime | None = None
    input: dict[str, Any] | None = None
    take: str = "0"
    labels: dict[str, str] = Field(default_factory=dict)
    queue_position: int | None = None
    webhook_url: str | None = None
    key: str | None = None
    price_usd: Decimal | None = None
    expected_seconds: float | None = None
