"""A request that fal accepted, as a value with which any process can go on."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Realm = Literal["fal", "emulator"]
"""Who is at the other end: fal, where money is spent, or the emulator, where nothing costs."""


class Ticket(BaseModel):
    """An accepted request: everything that it takes to follow, collect or cancel it.

    Any process that has the ticket and the account's key can go on with it.

    Args:
        endpoint: fal's endpoint id.
        request_id: fal's id of the request.
        status_url: Its status, as fal named the URL; used only on the configured hosts.
        response_url: Its result, likewise.
        cancel_url: Its cancellation, likewise.
        realm: Whether fal or the emulator accepted it.
        account: The label of its account.
        submitted_at: When it was accepted, UTC; unknown for an adopted request.
        input: Its input; unknown for an adopted request.
        take: Which of several videos of the same input.
        labels: The caller's labels, such as shot and client.
        queue_position: How many requests were before it when it was accepted, if fal said so.
        webhook_url: The URL that fal calls when it ends.
        key: The key of its generation; unknown for a request that is known by its id alone.
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

    def __setstate__(self, state: dict[Any, Any]) -> None:
        # What an earlier release pickled has no field that came since.
        fields = type(self).model_fields.items()
        added = {name: each.get_default() for name, each in fields if not each.is_required()}
        super().__setstate__({**state, "__dict__": added | {"labels": {}} | state["__dict__"]})
