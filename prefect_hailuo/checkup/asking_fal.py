"""The key and fal: whether it is there, whether fal takes it, and whether the clocks agree."""

from __future__ import annotations

from datetime import datetime, timezone

import httpx

from prefect_hailuo.checkup.findings import Finding, Surroundings, ok, problem, refused, warning
from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.endpoints import CATALOGUE
from prefect_hailuo.errors import (
    BadKeyError,
    GenerationTimeoutError,
    HailuoError,
    MissingKeyError,
    NoCreditError,
    RealmMismatchError,
)
from prefect_hailuo.fal.dates import answered_at
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.loop import process_loop

ANSWER_SECONDS = 15.0
"""How long fal may take to answer."""

SKEW_SECONDS = 30.0
"""Clocks that differ by more than this are worth a word."""

BAD_SKEW_SECONDS = 240.0
"""fal's calls carry the time, and are refused when they are five minutes off."""

KEYS_PAGE = "https://fal.ai/dashboard/keys"


def check_key(surroundings: Surroundings) -> list[Finding]:
    """Whether there is a key, and whether fal takes it; fal charges nothing for that."""
    block = surroundings.credentials
    try:
        access = block.access()
    except MissingKeyError as error:
        return [refused("key", error)]
    found = _ask(access)
    secret = access.key.get_secret_value()
    if ":" not in secret and found.verdict != "ok":
        says = f"{found.says} The key has no colon in it; fal's are written id:secret."
        return [problem("key", says, f"Copy it again, whole, from {KEYS_PAGE}.", **found.facts)]
    return [found]


def _ask(access: Access) -> Finding:
    async def job(connections: Connections, emit: Emit) -> None:
        await connections.client(access).check_key(timeout_seconds=ANSWER_SECONDS)

    facts = {"realm": access.realm, "account": access.account, "host": access.hosts.queue_url}
    try:
        process_loop().run(job)
    except (BadKeyError, NoCreditError, RealmMismatchError) as error:
        return refused("key", error, **facts)
    except GenerationTimeoutError:
        says = f"{access.hosts.queue_url} does not answer, so the key was not tried."
        cure = "See whether this machine may reach it: network, proxy, firewall, TLS certificates."
        return problem("key", says, cure, **facts)
    except HailuoError as error:
        return refused("key", error, **facts)
    whose = "the emulator" if access.realm == "emulator" else "fal"
    return ok("key", f"{whose} takes it; account {access.account}", **facts)


def check_clock(surroundings: Surroundings) -> list[Finding]:
    """Whether this machine's clock agrees with fal's, as the head of its answers tells it."""
    url = f"{surroundings.credentials.hosts().platform_url}/models"

    async def job(connections: Connections, emit: Emit) -> tuple[httpx.Response, datetime]:
        params = {"endpoint_id": next(iter(CATALOGUE))}
        response = await connections.http.get(url, params=params, timeout=ANSWER_SECONDS)
        return response, datetime.now(timezone.utc)

    try:
        response, now = process_loop().run(job)
    except httpx.HTTPError as error:
        cure = "See whether this machine may reach it: network, proxy, firewall, TLS certificates."
        return [problem("fal", f"{url} does not answer ({type(error).__name__})", cure)]
    if "date" not in response.headers:
        return [warning("clock", "fal's answer names no time", "Compare the clock yourself.")]
    return [_compare(answered_at(response), now)]


def _compare(theirs: datetime, ours: datetime) -> Finding:
    skew = (ours - theirs).total_seconds()
    says = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} fal's"
    cure = "Set this machine's clock by NTP: schedules, webhooks and lost requests go by it."
    if abs(skew) > BAD_SKEW_SECONDS:
        return problem("clock", says, cure, skew_seconds=round(skew, 1))
    if abs(skew) > SKEW_SECONDS:
        return warning("clock", says, cure, skew_seconds=round(skew, 1))
    return ok("clock", "agrees with fal's", skew_seconds=round(skew, 1))
