"""The last thing before a POST: many intents at once are turned into what may be on its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import RunCancelledError
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.statements import among, lock_keys
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
        # `sending` too: through a proxy, which is sent a request of its own first, it is asked
        # twice for one POST.
        held = attempt.c.fate.in_([Fate.INTENDED, Fate.SENDING])
        owned = among(connection, attempt.c.owner, [one.owner for one in mine if one.owner])
        changed = await connection.execute(
            update(attempt)
            # An owner's name is of one attempt only; by the key it is found soon.
            .where(among(connection, attempt.c.key, [one.key for one in mine]), owned, held)
            .where(attempt.c.lease_until > database_now())
            .values(
                fate=Fate.SENDING,
                sent_at=database_now(),
                lease_until=database_now() + seconds,
            )
            .returning(attempt.c.owner)
        )
        begun |= set(changed.scalars())
    return begun
