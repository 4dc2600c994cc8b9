"""The last thing before a POST: many intents at once are turned into what may be on its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Double, bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import RunCancelledError
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.prepared import Texts, prepared
from prefect_hailuo.ledger.statements import lock_keys
from prefect_hailuo.ledger.tables import attempt, database_now
from prefect_hailuo.ledger.waiters import cancelled_among, unwanted_among
from prefect_hailuo.ledger.wishes import Run


@dataclass(frozen=True)
class Beginning:
    """Somebody who is about to send.

    Args:
        mine: The attempt, as its claim gave it.
        lease_seconds: How long its owner counts as alive from now on.
        run: Who claimed it.
    """

    mine: Attempt
    lease_seconds: float
    run: Run


async def begin_all(
    connection: AsyncConnection, those: Sequence[Beginning]
) -> list[bool | Exception]:
    """Let those begin to send whose attempts are still theirs, and still wanted."""
    keys = {each.mine.key for each in those}
    # A claim that finds the lease ended must not void what is being changed here.
    await lock_keys(connection, keys)
    cancelled = await cancelled_among(connection, (each.run for each in those))
    unwanted = await unwanted_among(connection, keys)
    wanted = [each for each in those if each.mine.key not in unwanted]
    begun = await _begin(connection, [each for each in wanted if not each.run.among(cancelled)])
    return [
        was_cancelled(each.run) if each.run.among(cancelled) else each.mine.owner in begun
        for each in those
    ]


def was_cancelled(run: Run) -> RunCancelledError:
    """The error for a flow run that is known to be cancelled."""
    return RunCancelledError(f"The flow run {run.flow_run_id} was cancelled.")


async def _begin(connection: AsyncConnection, those: Sequence[Beginning]) -> set[str | None]:
    """The owners of those that were theirs."""
    begun: set[str | None] = set()
    for seconds in {each.lease_seconds for each in those}:
        mine = [each.mine for each in those if each.lease_seconds == seconds]
        owners = [one.owner for one in mine if one.owner]
        keys = [one.key for one in mine]
        begun |= set((await _beginning(connection, keys, owners=owners, seconds=seconds)).scalars())
    return begun


@prepared
def _beginning(keys: Texts) -> Any:
    # `sending` too: through a proxy, which is sent a request of its own first, it is asked twice
    # for one POST.
    held = attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING])
    # An owner's name is of one attempt only; by the key it is found soon.
    owned = keys.have(attempt.c.key) & keys.named("owners").have(attempt.c.owner)
    return (
        update(attempt)
        .where(owned, held, attempt.c.lease_until > database_now())
        .values(
            fate=Fate.SENDING,
            sent_at=database_now(),
            lease_until=database_now() + bindparam("seconds", type_=Double),
        )
        .returning(attempt.c.owner)
    )
