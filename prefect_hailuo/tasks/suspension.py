"""Suspending a flow run until a video is done: no process waits, and fal's call resumes the run.

`suspend_for_video` suspends it. `webhook_app` receives fal's calls, records them in the ledger, and
resumes the runs that wait. If a call is lost, the sweep resumes the run.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from uuid import UUID, uuid4

from anyio.to_thread import run_sync
from prefect import get_run_logger, suspend_flow_run
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectNotFound, Pause
from prefect.settings import PREFECT_API_URL
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from prefect_hailuo.engine.loop import Connections, Emit, Job, process_loop
from prefect_hailuo.engine.webhooks import CallReceiver, ReceivedCall
from prefect_hailuo.errors import Billed, ConfigurationError, HailuoError
from prefect_hailuo.fal.messages import Completed
from prefect_hailuo.fal.webhooks import MOST_BYTES, RefusedCallError
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.attempt import Attempt, Fate
from prefect_hailuo.runs.blocks import Credentials, resolve_credentials
from prefect_hailuo.runs.cancellation import QUESTION_SECONDS
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.ticket import Realm, Ticket

RequestName = tuple[str, str]
"""A realm, and fal's id of a request."""

MARK = "hailuo"
"""How the keys of this package's suspensions begin, which tells them from all others."""

PAGE = 200
"""How many flow runs Prefect's API returns at most at once."""

WAIT_INLINE = (
    "Deploy the flow (flow.serve(), or prefect deploy) and run its deployment; or wait in this "
    "process, with wait_for_video."
)

HELLO = "Here fal tells when a video is done.\n"

logger = logging.getLogger(__name__)


def suspend_for_video(ticket: Ticket) -> None:
    """Suspend the flow run until a request is over: its process ends, and no worker waits.

    When fal's call comes, `prefect-hailuo webhooks` resumes the run: a new process runs the flow
    from its beginning, comes here again, and goes on. So the steps before this one are done twice.
    `submit_video` finds its request in the ledger; other steps should persist their results. Where
    a call was lost, the sweep (the flow `reconcile`) resumes the run.

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
            "the flow reconcile, will resume this run.",
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


def webhook_app(credentials: Credentials = None) -> Starlette:
    """An ASGI app that takes fal's calls and writes into the ledger what they tell.

    Mount it in an app of yours, or serve it by `prefect-hailuo webhooks`. Wherever videos are
    submitted, name its public address (of a mounted app, with the slash at its end) in
    `PREFECT_INTEGRATIONS_HAILUO_WEBHOOK_URL`. It needs no API key: a call is taken if fal's
    published key has signed it, within five minutes, and the ledger knows its request. It buys
    nothing, and asks fal for its public keys only. A call that comes twice does no harm. Flow runs
    that `suspend_for_video` has suspended are resumed; for that, `PREFECT_API_URL` must be set.

    It answers 200 to a call that it recorded; 404 if the ledger does not know the request yet, and
    503 if the ledger, fal's keys or Prefect's API are out of reach, so that fal calls again; 400,
    401 or 413 to anything that is no call of fal's.

    Args:
        credentials: A block, or a saved block's name: tells the realm, and where its keys are. By
            default fal's, or those of the emulator that the settings name.

    Raises:
        ConfigurationError: There is no such block.
        LedgerError: What is set is no place for a ledger.

    Example:
        >>> from fastapi import FastAPI
        >>> app = FastAPI()
        >>> app.mount("/hailuo", webhook_app())
    """
    block = resolve_credentials(credentials)
    ledger = current_settings().ledger_of(block.realm)
    receiver = _Receiver(CallReceiver(block.realm, block.hosts().rest_url, ledger))
    return Starlette(
        routes=[
            Route("/{path:path}", receiver.receive, methods=["POST"]),
            Route("/{path:path}", _greet, methods=["GET"]),
        ]
    )


async def _greet(request: Request) -> Response:
    """An answer for people and for health checks."""
    return PlainTextResponse(HELLO)


class _Receiver:
    """Answers calls.

    Args:
        receiving: Takes them.
    """

    def __init__(self, receiving: CallReceiver) -> None:
        self._receiving = receiving

    async def receive(self, request: Request) -> Response:
        """Take a call, and say so, or why not."""
        try:
            taken = await self._take(request.headers, await _body_of(request))
        except RefusedCallError as refusal:
            logger.warning("A call was refused: %s", refusal.why)
            return PlainTextResponse(f"{refusal.why}\n", refusal.status)
        except HailuoError as error:
            logger.error("A call could not be taken: %s", error)
            return PlainTextResponse("Not now: call again.\n", 503)
        except ClientDisconnect:
            return Response(status_code=400)
        return await self._answer(taken)

    async def _answer(self, taken: ReceivedCall) -> Response:
        logger.info("%s: %s", taken.request_id, "noted" if taken.news else "known already")
        try:
            for run in await run_sync(resume, taken.runs, (taken.attempt.realm, taken.request_id)):
                logger.info("Flow run %s is resumed.", run)
        except Exception as error:  # of what kind, Prefect does not say
            logger.error("Flow runs could not be resumed: %s", type(error).__name__)
            return PlainTextResponse("Not now: call again.\n", 503)
        return PlainTextResponse("Noted.\n" if taken.news else "Known already.\n")

    async def _take(self, headers: Mapping[str, str], body: bytes) -> ReceivedCall:
        async def job(connections: Connections, emit: Emit) -> ReceivedCall:
            return await self._receiving.take(headers, body, connections)

        return await process_loop().arun(job)


async def _body_of(request: Request) -> bytes:
    """The body; no more of it is read than a call can have.

    Raises:
        RefusedCallError: It is longer.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise RefusedCallError("The body is longer than any call of fal's.", 413)
    return bytes(body)


def resume(flow_runs: Collection[str], request: RequestName) -> list[str]:
    """Resume the flow runs that are suspended for a request. Repeating it does nothing.

    Args:
        flow_runs: Ids of flow runs.
        request: The request, which is over.

    Raises:
        Exception: Prefect's API could not be asked; of what kind, Prefect does not say.
    """
    if not flow_runs or not PREFECT_API_URL.value():
        return []
    with _asking() as client:
        found = (_read(client, each) for each in flow_runs)
        waiting = [each for each in found if each is not None and awaited_by(each) == request]
        return [str(each.id) for each in waiting if _resume(client, each.id)]


def resume_over(realm: Realm, ledger: LedgerAddress) -> list[str]:
    """Resume every flow run that is suspended for a request which is over, by the ledger.

    For calls that were lost, or came while Prefect's API was out of reach.

    Raises:
        Exception: Prefect's API could not be asked; of what kind, Prefect does not say.
        LedgerError: The ledger cannot be read.
    """
    if not PREFECT_API_URL.value():
        return []
    with _asking() as client:
        waiting = [(each.id, awaited_by(each)) for each in _suspended(client)]
        ids = {request[1] for _, request in waiting if request and request[0] == realm}
        over = process_loop().run(_over(realm, ledger, ids)) if ids else {}
        due = [run for run, request in waiting if request in over]
        return [str(each) for each in due if _resume(client, each)]


def pause_key(ticket: Ticket) -> str:
    """A key for one suspension of a flow run; the next one, for the same request, has another.

    Example:
        >>> ticket = Ticket(endpoint="fal-ai/minimax/hailuo-02/pro/text-to-video", request_id="r1")
        >>> pause_key(ticket).split()[:3]
        ['hailuo', 'fal', 'r1']
    """
    return f"{MARK} {ticket.realm} {ticket.request_id} {uuid4().hex}"


def awaited_by(run: FlowRun) -> RequestName | None:
    """The request that a flow run is suspended for; None if it waits for none.

    So a run that waits for a person's approval is never resumed by a video.
    """
    if run.state is None or not run.state.is_paused():
        return None
    mark, *rest = (run.state.state_details.pause_key or "").split()
    return (rest[0], rest[1]) if mark == MARK and len(rest) == 3 else None


@contextmanager
def _asking() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True, httpx_settings={"timeout": QUESTION_SECONDS}) as client:
        yield client


def _read(client: SyncPrefectClient, flow_run: str) -> FlowRun | None:
    try:
        return client.read_flow_run(UUID(flow_run))
    except (ObjectNotFound, ValueError):
        return None


def _resume(client: SyncPrefectClient, flow_run: UUID) -> bool:
    """Resume it; whether this call did so."""
    return client.resume_flow_run(flow_run).status is SetStateStatus.ACCEPT


def _suspended(client: SyncPrefectClient) -> Iterator[FlowRun]:
    name = FlowRunFilterStateName(any_=["Suspended"])
    suspended = FlowRunFilter(state=FlowRunFilterState(name=name))
    page: list[FlowRun] = []
    offset = 0
    while not offset or len(page) == PAGE:
        # Without an order, the server refuses the question with newer releases of FastAPI.
        page = client.read_flow_runs(
            flow_run_filter=suspended, sort=FlowRunSort.ID_DESC, limit=PAGE, offset=offset
        )
        offset += PAGE
        yield from page


def _over(
    realm: Realm, address: LedgerAddress, ids: Collection[str]
) -> Job[dict[tuple[Realm, str], Completed]]:
    async def job(connections: Connections, emit: Emit) -> dict[tuple[Realm, str], Completed]:
        return await connections.ledgers.at(address).completions.over(
            [(realm, each) for each in ids]
        )

    return job
