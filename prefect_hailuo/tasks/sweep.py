"""The sweep, as a function (`sweep`) and as a hook for cancelled flows (`cancel_generations`).

It uses the keys of this process and of saved blocks, and asks Prefect which flow runs were
cancelled; `engine.sweep` does the work. Suspended runs whose video is done are resumed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from anyio.to_thread import run_sync
from prefect.client.schemas.objects import FlowRun
from prefect.logging.loggers import flow_run_logger

from prefect_hailuo.engine.events import Event, Stored
from prefect_hailuo.engine.loop import Connections, Emit, Job, process_loop
from prefect_hailuo.engine.sweep import Sweep, SweepRow
from prefect_hailuo.errors import (
    Billed,
    ConfigurationError,
    HailuoError,
    MissingKeyError,
    ParkedError,
)
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.ledger.attempt import Attempt
from prefect_hailuo.models.key import shown_key
from prefect_hailuo.models.money import dollars
from prefect_hailuo.runs.blocks import FalCredentials, resolve_credentials
from prefect_hailuo.runs.cancellation import cancelled_runs
from prefect_hailuo.runs.events import Subject, materialize, tell_completed, tell_error
from prefect_hailuo.runs.markdown import table
from prefect_hailuo.runs.orders import find_place
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.runs.storage import resolve_storage
from prefect_hailuo.tasks.suspension import resume_over
from prefect_hailuo.ticket import Realm

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledger

T = TypeVar("T")


@dataclass(frozen=True)
class SweepReport:
    """What a sweep found and did.

    Args:
        realm: Whose purchases.
        rows: One for each attempt that was open.
        resumed: The flow runs that were suspended until a video is done, and were resumed.

    Example:
        >>> SweepReport("fal", ()).to_markdown()
        'Nothing is left open.'
    """

    realm: Realm
    rows: tuple[SweepRow, ...]
    resumed: tuple[str, ...] = ()

    @property
    def cost_usd(self) -> Decimal:
        """What all of it costs, by the ledger."""
        return sum((row.cost_usd for row in self.rows), Decimal(0))

    def table(self) -> list[dict[str, str]]:
        """The rows as Prefect's table artifacts take them."""
        return [
            {
                # What matters first: Prefect shows no more columns than there is room for.
                "outcome": row.outcome,
                "cost": dollars(row.cost_usd),
                "model": row.model,
                "key": shown_key(row.key),
                "attempt": str(row.attempt),
                "detail": row.detail,
                "request": row.request_id or "",
            }
            for row in self.rows
        ]

    def to_markdown(self) -> str:
        """The rows as a table in Markdown."""
        lines = [f"Resumed the flow run {each}." for each in self.resumed]
        if not self.rows:
            return "\n".join(lines) or "Nothing is left open."
        rows = self.table()
        shown = table(list(rows[0]), (list(row.values()) for row in rows))
        return "\n".join([*lines, "", shown] if lines else [shown])


def sweep(
    realm: Realm | None = None, credentials: Sequence[FalCredentials | str] = ()
) -> SweepReport:
    """Look after every open attempt that no process waits for. It never buys.

    Lost requests are looked for in fal's history and adopted, finished videos are collected before
    fal drops them, and requests that only cancelled flow runs wanted are cancelled. Suspended flow
    runs are resumed when their video is done, if fal's call did not do so.

    Args:
        realm: Whose purchases; by default, those of the first credentials.
        credentials: Blocks, or names of saved ones, of the accounts to look after. By default, the
            key in the environment, if there is one. Saved blocks that the ledger names are used
            besides.

    Raises:
        LedgerError: The ledger cannot be used.
        ConfigurationError: There are no such credentials, or no key.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator() as emulator:
        ...     sweep(credentials=[emulator.credentials()]).rows
        ()
    """
    blocks = [resolve_credentials(each) for each in credentials] or [resolve_credentials(None)]
    chosen = realm or blocks[0].realm
    accesses = _recorded_accesses(chosen)
    try:
        accesses |= _accesses(blocks, chosen)
    except MissingKeyError:
        if credentials or not accesses:
            raise
    waiting = _ask(chosen, lambda ledger: ledger.waiters.wanting(chosen))
    cancelled = _cancelled({run for one in waiting for run in one.run.ids})
    # Of these, somebody was told before.
    parked = {(one.key, one.number) for one in _unfinished(chosen) if one.parked_at is not None}
    sweeping = _sweeping(chosen, accesses, lambda each: each.run(cancelled))
    rows = process_loop().run(sweeping, _tell_stored)
    for row in rows:
        if (row.key, row.attempt) not in parked:
            _tell_lost(chosen, row)
    return SweepReport(chosen, tuple(rows), _resumed(chosen))


async def asweep(
    realm: Realm | None = None, credentials: Sequence[FalCredentials | str] = ()
) -> SweepReport:
    """The asynchronous twin of `sweep`."""
    return await run_sync(partial(sweep, realm, credentials))


def cancel_generations(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """For `@flow(on_cancellation=[cancel_generations])`: cancel at fal what the flow run wanted.

    A cancelled run usually cancels its requests itself, before it ends. If it was killed before
    that, this hook does so from the ledger, in the process that runs the hook: with the saved
    credentials blocks that the ledger names, and the key in that process's environment. Requests
    that another flow run wants go on; videos that completed all the same are collected. Failures
    are logged, and left to the next sweep.

    Args:
        flow: The flow.
        flow_run: The cancelled run of it.
        state: Its state.

    Example:
        >>> from prefect import flow
        >>> from prefect_hailuo import hailuo_23_pro_text_to_video
        >>> @flow(on_cancellation=[cancel_generations])
        ... def morning_clip(prompt: str):
        ...     return hailuo_23_pro_text_to_video(prompt)
    """
    for realm in get_args(Realm):
        try:
            file = current_settings().ledger_of(realm).file
            if file is None or file.exists():
                cancel_unwanted(realm, [str(flow_run.id)])
        except Exception as error:  # what it misses, the next sweep does
            flow_run_logger(flow_run).error("Cancelling at %s: %s", realm, error)


def cancel_unwanted(realm: Realm, flow_runs: Collection[str]) -> list[SweepRow]:
    """Cancel at fal what only some cancelled flow runs wanted.

    Args:
        realm: Whose purchases.
        flow_runs: The flow runs that were cancelled.
    """
    accesses = _recorded_accesses(realm)
    with suppress(ConfigurationError):  # there may be no key in the environment
        accesses |= _accesses([resolve_credentials(None)], realm)
    return process_loop().run(_sweeping(realm, accesses, lambda each: each.cancel(flow_runs)))


def _sweeping(
    realm: Realm,
    accesses: Mapping[str, Access],
    act: Callable[[Sweep], Awaitable[T]],
) -> Job[T]:
    """What a sweep does, with the settings of this thread."""
    settings = current_settings()
    address = settings.ledger_of(realm)
    default_place = resolve_storage(None, realm)

    async def job(connections: Connections, emit: Emit) -> T:
        connections.downloads.trust(settings.file_hosts)
        return await act(
            Sweep(
                connections.ledgers.at(address),
                realm,
                accesses,
                connections,
                find_place=find_place,
                default_place=default_place,
                reconcile_seconds=settings.reconcile_seconds,
                emit=emit,
            )
        )

    return job


def _accesses(blocks: Iterable[FalCredentials], realm: Realm) -> dict[str, Access]:
    """The accounts of some blocks, by label."""
    found = (block.access() for block in blocks if block.realm == realm)
    return {access.account: access for access in found}


def _recorded_accesses(realm: Realm) -> dict[str, Access]:
    """The accounts of the saved blocks that the ledger names, as far as they can be loaded."""
    blocks = []
    for name in {one.credentials for one in _unfinished(realm) if one.credentials}:
        with suppress(ConfigurationError):
            blocks.append(resolve_credentials(name))
    return _accesses(blocks, realm)


def _unfinished(realm: Realm) -> list[Attempt]:
    return _ask(realm, lambda ledger: ledger.unfinished.attempts(realm))


def _ask(realm: Realm, question: Callable[[Ledger], Awaitable[T]]) -> T:
    """Ask a realm's ledger, on the package's loop."""
    address = current_settings().ledger_of(realm)

    async def job(connections: Connections, emit: Emit) -> T:
        return await question(connections.ledgers.at(address))

    return process_loop().run(job)


def _cancelled(flow_runs: Collection[str]) -> set[str]:
    if not flow_runs:
        return set()
    try:
        return cancelled_runs(flow_runs)
    except Exception:
        return set()  # a run that is not known to be cancelled wants its video


def _tell_stored(event: Event) -> None:
    if isinstance(event, Stored):
        materialize(event.video, alone=False)
        tell_completed(Subject.of_video(event.video), event.video)


def _tell_lost(realm: Realm, row: SweepRow) -> None:
    """Send an event, once, for each attempt that now waits for a decision, or has failed."""
    kinds: dict[str, type[HailuoError]] = {"parked": ParkedError, "failed": HailuoError}
    if row.outcome in kinds:
        error = kinds[row.outcome](row.detail, billed=Billed.UNKNOWN)
        tell_error(Subject(row.endpoint, realm, row.key, row.request_id), error, crowded=True)


def _resumed(realm: Realm) -> tuple[str, ...]:
    try:
        return tuple(resume_over(realm, current_settings().ledger_of(realm)))
    except Exception:
        return ()  # they stay suspended until the next sweep
