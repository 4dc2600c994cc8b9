"""Suspending a flow run while fal works: no process waits, and fal's call brings one back."""

from __future__ import annotations

from contextlib import suppress

from anyio.to_thread import run_sync
from prefect import get_run_logger, suspend_flow_run
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import Pause

from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.errors import Billed, ConfigurationError
from prefect_hailuo.fal.messages import Ticket
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.loop import process_loop
from prefect_hailuo.resuming import pause_key, resume
from prefect_hailuo.settings import current_settings

WAIT_INLINE = (
    "Deploy the flow (flow.serve(), or prefect deploy) and run its deployment; or wait in this "
    "process, with wait_for_video."
)


def check_suspendable() -> None:
    """Refuse, before anything is bought, a flow run that cannot be suspended.

    Raises:
        ConfigurationError: It has no deployment to start it again, or is a subflow, or a task's.

    Example:
        >>> check_suspendable()
        Traceback (most recent call last):
        ...
        prefect_hailuo.errors.ConfigurationError: There is no flow run to ...
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise ConfigurationError("There is no flow run to suspend.", cure=WAIT_INLINE)
    if TaskRunContext.get() is not None:
        raise ConfigurationError("A task cannot suspend its flow run.", cure="Call it in the flow.")
    if context.flow_run.parent_task_run_id is not None:
        raise ConfigurationError(
            "A subflow cannot be suspended.", cure="Suspend the flow that calls it."
        )
    if context.flow_run.deployment_id is None:
        raise ConfigurationError(
            "The flow run has no deployment, so nothing could start it again.", cure=WAIT_INLINE
        )


def suspend_for_video(ticket: Ticket) -> None:
    """Suspend the flow run until a request is over: its process ends, and no worker waits.

    When fal's call comes, `prefect-hailuo webhooks` resumes the run: a new process runs the flow
    from its beginning, comes here again, and goes on. What the flow does before must bear to be
    done twice: `submit_video` does, for it finds its request in the ledger; other steps should
    persist their results. Where a call was lost, the sweep (`flows/reconcile.py`) resumes the run.

    A request that is over already suspends nothing, whether it went well or not: `fetch_video`
    tells which.

    Args:
        ticket: The request, as `submit_video` returned it.

    Raises:
        ConfigurationError: The flow run cannot be suspended, or the ledger does not know the
            request, so that nobody would resume it.
        LedgerError: The ledger cannot be read.

    Example:
        >>> from prefect import flow
        >>> from prefect_hailuo import Hailuo23ProTextToVideo, fetch_video, submit_video
        >>> @flow
        ... def patient(prompt: str):
        ...     ticket = submit_video(Hailuo23ProTextToVideo(prompt=prompt))
        ...     suspend_for_video(ticket)
        ...     return fetch_video(ticket)
    """
    check_suspendable()
    if _is_over(ticket):
        return
    if ticket.webhook_url is None:
        get_run_logger().warning(
            "fal was not asked to call when %s is done (webhook_url is not set): only the sweep, "
            "flows/reconcile.py, will resume this run.",
            ticket.request_id,
        )
    try:
        suspend_flow_run(key=pause_key(ticket))
    except Pause:
        # A call that came a moment ago found a run that was not suspended yet.
        with suppress(Exception):  # the sweep will resume it
            if _is_over(ticket):
                resume([_flow_run_id()], (ticket.realm, ticket.request_id))
        raise


async def asuspend_for_video(ticket: Ticket) -> None:
    """The asynchronous twin of `suspend_for_video`."""
    await run_sync(suspend_for_video, ticket)


def _is_over(ticket: Ticket) -> bool:
    address = current_settings().ledger_of(ticket.realm)

    async def job(connections: Connections, emit: Emit) -> Attempt | None:
        ledger = connections.ledgers.at(address)
        return await ledger.records.of_request(ticket.realm, ticket.request_id)

    one = process_loop().run(job)
    if one is None:
        raise ConfigurationError(
            f"The ledger does not know the request {ticket.request_id}, so that nobody would "
            "resume the flow run.",
            cure="Submit it by submit_video, with the same ledger.",
            billed=Billed.UNKNOWN,
            ticket=ticket,
        )
    return one.fate is not Fate.SUBMITTED or one.completed is not None


def _flow_run_id() -> str:
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else ""
