"""The ledger: whether it can be written to, what disk it is on, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prefect_hailuo.checkup.findings import Finding, Surroundings, ok, refused, warning
from prefect_hailuo.connections import Connections, Emit, Job
from prefect_hailuo.errors import LedgerError
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.address import ALLOW_SETTING, LedgerAddress
from prefect_hailuo.ledger.disks import (
    file_system_of,
    in_container,
    is_fleeting,
    is_shared,
    mounts_here,
)
from prefect_hailuo.loop import process_loop
from prefect_hailuo.settings import current_settings

MOST_LOOKED_AT = 100
"""Open attempts that are looked at one by one."""


@dataclass(frozen=True)
class _Loose:
    """What a ledger has not brought to an end.

    Args:
        revision: The tables' own version.
        parked: Attempts that wait for a decision.
        forsaken: Attempts that nobody waits for, and that came to no end.
        more: Whether there may be more than were looked at.
    """

    revision: str
    parked: int
    forsaken: int
    more: bool


def check_ledger(surroundings: Surroundings) -> list[Finding]:
    """Whether purchases can be written down here; what is parked, and what nobody looks after."""
    realm = surroundings.credentials.realm
    try:
        address = current_settings().ledger_of(realm)
        loose = process_loop().run(_looking(address, realm))
    except LedgerError as error:
        return [refused("ledger", error)]
    facts = {"ledger": address.name, "realm": realm, "revision": loose.revision}
    says = f"{address.name} can be written to; revision {loose.revision}"
    found = [ok("ledger", f"{says}{_disk_of(address.file)}", **facts), *_disk(address.file)]
    return [*found, *_left(loose, realm)]


def _looking(address: LedgerAddress, realm: Realm) -> Job[_Loose]:
    # Here, for it loads SQLAlchemy, and the ledger loads it when it is first used.
    from prefect_hailuo.ledger.migrating import REVISIONS
    from prefect_hailuo.ledger.reading import Choice

    async def job(connections: Connections, emit: Emit) -> _Loose:
        ledger = connections.ledgers.at(address)
        await ledger.try_out()
        choice = Choice(realm, parked=True, limit=MOST_LOOKED_AT)
        parked = {each.attempt.key for each in await ledger.reading.entries(choice)}
        left = {each.key for each in await ledger.unfinished.attempts(realm)} - parked
        seen = sorted(left)[:MOST_LOOKED_AT]
        forsaken = [key for key in seen if not await ledger.waiters.is_awaited(key)]
        more = len(left) > len(seen) or len(parked) == MOST_LOOKED_AT
        return _Loose(REVISIONS[-1], len(parked), len(forsaken), more)

    return job


def _left(loose: _Loose, realm: Realm) -> list[Finding]:
    at_least = "at least " if loose.more else ""
    found = []
    if loose.parked:
        says = f"{at_least}{loose.parked} parked: somebody has to decide about them"
        cure = f"prefect-hailuo ledger list --parked --realm {realm}"
        found.append(warning("ledger", says, cure, parked=loose.parked))
    if loose.forsaken:
        says = f"{at_least}{loose.forsaken} came to no end, and no process waits for them"
        cure = f"prefect-hailuo ledger reconcile --realm {realm}; schedule flows/reconcile.py"
        found.append(warning("ledger", says, cure, forsaken=loose.forsaken))
    return found


def _disk_of(file: Path | None) -> str:
    kind = _kind_of(file)
    return f"; on {kind}" if kind else ""


def _disk(file: Path | None) -> list[Finding]:
    """An unfit disk that was allowed by name is worth a word all the same."""
    kind = _kind_of(file)
    if kind is None or not (is_shared(kind) or is_fleeting(kind, contained=in_container())):
        return []
    says = f"its disk ({kind}) was allowed by {ALLOW_SETTING}, and is unfit for a real account's"
    return [warning("ledger", says, "Keep it on a lasting local disk, or in PostgreSQL.")]


def _kind_of(file: Path | None) -> str | None:
    return file_system_of(file.resolve(), mounts_here()) if file else None
