"""What the ledger's own tests share: a ledger, purchases, and attempts at every stage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from databases import Row, address_of, run_sql

from prefect_hailuo.errors import FalFaultError, HailuoError, RequestCancelledError
from prefect_hailuo.fal.client import SUBMIT_SECONDS
from prefect_hailuo.fal.messages import Completed, File, Output
from prefect_hailuo.ledger.attempt import (
    Attach,
    Attempt,
    Buy,
    Decision,
    Purchase,
    Reconcile,
    Reuse,
    Wait,
)
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo
from prefect_hailuo.models.video import Video
from prefect_hailuo.ticket import Realm, Ticket

FOX = Hailuo23ProTextToVideo(prompt="A red fox crosses a snowy field.")

PRICE = Decimal("0.49")

OUTPUT = Output(video=File(url="https://v3.fal.media/files/fox.mp4"))

Prepare = Callable[[Ledger, Purchase], Awaitable[Attempt]]


@asynccontextmanager
async def ledger_at(url: str, realm: Realm = "fal") -> AsyncIterator[Ledger]:
    """A ledger of this test's own, as one process has it open."""
    ledger = Ledger(address_of(url, realm))
    try:
        yield ledger
    finally:
        await ledger.close()


def purchase(key: str = "fox", **terms: Any) -> Purchase:
    """A fox, at the price of a fox."""
    usual: dict[str, Any] = {
        "realm": "fal",
        "endpoint": FOX.endpoint.id,
        "body": FOX.body(),
        "take": "0",
        "account": "studio",
        "waiter": f"waiter of {key}",
        "estimated_usd": PRICE,
    }
    return Purchase(key=key, **{**usual, **terms})


def ticket_for(request_id: str = "r1", **terms: Any) -> Ticket:
    """A ticket as fal gives it."""
    return Ticket(endpoint=FOX.endpoint.id, request_id=request_id, account="studio", **terms)


def video_for(key: str = "fox", request_id: str = "r1", place: str = "here") -> Video:
    """A stored video."""
    return Video.model_validate(
        {
            "path": None,
            "storage": place,
            "storage_key": f"{key}.mp4",
            "url": OUTPUT.video.url,
            "content_type": "video/mp4",
            "size": 1,
            "sha256": "0" * 64,
            "endpoint": FOX.endpoint.id,
            "input": FOX.body(),
            "key": key,
            "request_id": request_id,
            "account": "studio",
            "realm": "fal",
            "price_usd": PRICE,
            "stored_at": "2026-11-01T12:00:00Z",
        }
    )


async def decided(ledger: Ledger, asked: Purchase) -> str:
    """What the ledger decides, in a word; an error by its class."""
    try:
        decision: Decision = await ledger.claims.claim(asked)
    except HailuoError as error:
        return type(error).__name__
    return type(decision).__name__


async def claimed(ledger: Ledger, asked: Purchase) -> Attempt:
    """The attempt that a claim leads to, whatever it is to be used for."""
    decision = await ledger.claims.claim(asked)
    assert isinstance(decision, Buy | Wait | Reconcile | Attach | Reuse)
    return decision.attempt


async def intended(ledger: Ledger, asked: Purchase) -> Attempt:
    """An intent of the caller's own."""
    decision = await ledger.claims.claim(asked)
    assert isinstance(decision, Buy), decision
    return decision.attempt


async def sending(ledger: Ledger, asked: Purchase) -> Attempt:
    """A POST that may be on its way."""
    mine = await intended(ledger, asked)
    assert await ledger.claims.begin_sending(mine, SUBMIT_SECONDS)
    return mine


async def submitted(ledger: Ledger, asked: Purchase) -> Attempt:
    """A request that fal accepted; its id is the key's, so that each key has its own."""
    mine = await sending(ledger, asked)
    return await ledger.records.accepted(mine, ticket_for(f"{asked.key}-{mine.number}"))


async def succeeded(ledger: Ledger, asked: Purchase) -> Attempt:
    """A request with a result."""
    mine = await submitted(ledger, asked)
    await ledger.records.succeeded(mine, OUTPUT, Completed())
    return await latest(ledger, asked.key)


async def stored(ledger: Ledger, asked: Purchase) -> Attempt:
    """A video in its place."""
    mine = await succeeded(ledger, asked)
    await ledger.records.stored(mine, video_for(asked.key, mine.request_id or ""))
    return await latest(ledger, asked.key)


def failed_by(error: HailuoError) -> Prepare:
    """A request that ended with this error."""

    async def prepare(ledger: Ledger, asked: Purchase) -> Attempt:
        mine = await submitted(ledger, asked)
        await ledger.records.failed(mine, error)
        return await latest(ledger, asked.key)

    return prepare


failed = failed_by(FalFaultError("Out of order."))
"""A request that failed and cost nothing."""

cancelled = failed_by(RequestCancelledError("Cancelled."))
"""A request that was cancelled, and nobody knows what it cost."""


async def latest(ledger: Ledger, key: str = "fox") -> Attempt:
    """The latest attempt of a key."""
    found = await ledger.claims.latest(key)
    assert found is not None
    return found


def end_leases(url: str) -> None:
    """Let every owner be dead, by the database's clock."""
    run_sql(url, "UPDATE hailuo_attempt SET lease_until = 0")


def attempts_of(url: str, key: str = "fox") -> list[Row]:
    """A key's attempts as the table holds them, the oldest first."""
    return run_sql(url, f"SELECT * FROM hailuo_attempt WHERE key = '{key}' ORDER BY number")  # noqa: S608
