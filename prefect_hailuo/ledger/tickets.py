"""Giving attempts their tickets: one request is never given to two, and none is dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import Billed
from prefect_hailuo.fal.messages import Realm, Ticket
from prefect_hailuo.ledger.attempts import Attempt, attempt_of
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.prepared import Texts, prepared
from prefect_hailuo.ledger.rows import NEWLY_SUBMITTED, add_like, as_accepted
from prefect_hailuo.ledger.statements import (
    IS_THIS,
    all_attempts,
    attempts_of_keys,
    is_attempt,
    latest_attempt,
    lock_key,
    lock_keys,
    now_in,
    this,
    void_consent,
    void_consents,
)
from prefect_hailuo.ledger.tables import attempt

Request = tuple[Realm, str]
"""A realm, and fal's id of a request."""


@dataclass(frozen=True)
class Accepted:
    """An attempt whose POST was answered with a ticket."""

    mine: Attempt
    ticket: Ticket

    @property
    def request(self) -> Request:
        """The request."""
        return self.mine.realm, self.ticket.request_id


async def owners_of(
    connection: AsyncConnection, requests: Iterable[Request]
) -> dict[Request, Attempt]:
    """The attempts that have some requests."""
    wanted = set(requests)
    realms, ids = {realm for realm, _ in wanted}, {each for _, each in wanted}
    found = await _owners(connection, ids, realms=realms)
    return {(one.realm, one.request_id or ""): one for one in all_attempts(found)}


@prepared
def _owners(ids: Texts) -> Any:
    realms = ids.named("realms")
    return select(attempt).where(realms.have(attempt.c.realm), ids.have(attempt.c.request_id))


async def accept_all(connection: AsyncConnection, those: Sequence[Accepted]) -> list[Attempt]:
    """Give each attempt its ticket; the attempts that hold them then.

    The ticket of an attempt that was given another request becomes a further attempt, shown as a
    duplicate.
    """
    keys = {each.mine.key for each in those}
    locked = await lock_keys(connection, keys)
    owners = await owners_of(connection, (each.request for each in those))
    attempts = await attempts_of_keys(connection, keys)
    now = await now_in(connection)
    given: list[Attempt] = []
    for each in those:
        if each.request in owners:
            continue
        siblings = attempts[each.mine.key]
        here = [one for one in siblings if one.number == each.mine.number and not one.request_id]
        if here:
            one = _given(here[0], each.ticket, siblings, now)
            siblings[siblings.index(here[0])] = one
            given.append(one)
        else:
            one = await add_like(connection, each.mine, each.ticket, duplicate=True, adopted=False)
            siblings.append(one)
        owners[each.request] = one
    await _write(connection, given)
    await void_consents(connection, given, locked)
    return [owners[each.request] for each in those]


async def adopt(connection: AsyncConnection, one: Attempt, ticket: Ticket) -> Attempt | None:
    """Give an attempt a request that a person names; None where that cannot be."""
    await lock_key(connection, one.key)
    owner = (await owners_of(connection, [(one.realm, ticket.request_id)])).get(
        (one.realm, ticket.request_id)
    )
    if owner is not None:
        return await _revive(connection, owner, ticket) if owner.key == one.key else None
    latest = await latest_attempt(connection, one.key)
    if latest is None or latest.number != one.number:
        return None
    if one.request_id is None and (given := await _adopted(connection, one, ticket)) is not None:
        return given
    return await add_like(connection, one, ticket, duplicate=False, adopted=True)


def _given(one: Attempt, ticket: Ticket, siblings: Sequence[Attempt], now: float) -> Attempt:
    """An attempt with its ticket, whatever it was taken for meanwhile: there is a request now.

    A late owner's request is shown as a duplicate, if a later attempt has one that cost money.
    """
    replaced = any(
        later.number > one.number and later.request_id and later.billed is not Billed.NO
        for later in siblings
    )
    return replace(
        one,
        **NEWLY_SUBMITTED,
        request_id=ticket.request_id,
        ticket=ticket,
        submitted_at=now,
        adopted=False,
        duplicate=one.duplicate or replaced,
    )


_GIVING = (
    update(attempt)
    .where(IS_THIS, attempt.c.request_id.is_(None))
    .values(
        **NEWLY_SUBMITTED,
        request_id=bindparam("new_request"),
        ticket=bindparam("new_ticket"),
        submitted_at=bindparam("now"),
        duplicate=bindparam("replaced"),
        adopted=False,
    )
)


async def _write(connection: AsyncConnection, given: Sequence[Attempt]) -> None:
    rows = [
        {
            **this(one),
            "new_request": one.request_id,
            "new_ticket": one.open_ticket().model_dump(mode="json"),
            "now": one.submitted_at,
            "replaced": one.duplicate,
        }
        for one in given
    ]
    if rows:
        await connection.execute(_GIVING, rows)


async def _revive(connection: AsyncConnection, owner: Attempt, ticket: Ticket) -> Attempt:
    """An attempt whose request a person has found to be good, though it was taken for failed."""
    if owner.fate not in (Fate.FAILED, Fate.CANCELLED):
        return owner
    changed = await connection.execute(
        update(attempt).where(is_attempt(owner)).values(as_accepted(ticket)).returning(attempt)
    )
    await void_consent(connection, owner)
    return attempt_of(changed.mappings().one())


async def _adopted(connection: AsyncConnection, one: Attempt, ticket: Ticket) -> Attempt | None:
    values: dict[str, Any] = {**as_accepted(ticket), "adopted": True}
    missing = attempt.c.request_id.is_(None)
    changed = await connection.execute(
        update(attempt).where(is_attempt(one), missing).values(values).returning(attempt)
    )
    row = changed.mappings().first()
    if row is None:
        return None
    await void_consent(connection, one)
    return attempt_of(row)
