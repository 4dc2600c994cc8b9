"""Flow runs that are suspended until a video is done: found, and resumed once it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from prefect_hailuo.connections import Connections, Emit, Job
from prefect_hailuo.fal.messages import Completed, Realm, Ticket
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.loop import process_loop
from prefect_hailuo.runs import QUESTION_SECONDS

Request = tuple[str, str]
"""A realm, and fal's id of a request."""

MARK = "hailuo"
"""How the keys of our suspensions begin, by which they are told from everybody else's."""

PAGE = 200
"""The most flow runs that Prefect's API tells at once."""


def pause_key(ticket: Ticket) -> str:
    """A key for one suspension of a flow run: a second one, for the same request, has another.

    Example:
        >>> ticket = Ticket(endpoint="fal-ai/minimax/hailuo-02/pro/text-to-video", request_id="r1")
        >>> pause_key(ticket).split()[:3]
        ['hailuo', 'fal', 'r1']
    """
    return f"{MARK} {ticket.realm} {ticket.request_id} {uuid4().hex}"


def awaited_by(run: FlowRun) -> Request | None:
    """The request that a flow run is suspended for; None where it runs, or waits for other things.

    Somebody's approval, above all, is never given in their place.
    """
    if run.state is None or not run.state.is_paused():
        return None
    mark, *rest = (run.state.state_details.pause_key or "").split()
    return (rest[0], rest[1]) if mark == MARK and len(rest) == 3 else None


def resume(flow_runs: Collection[str], request: Request) -> list[str]:
    """Resume those of some flow runs that are suspended for a request; a second time, none is.

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

    For calls that were lost, and for those that came when Prefect's API was out of reach.

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
    """Whether it was this call that resumed it."""
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
        return await connections.ledgers.at(address).told.over([(realm, each) for each in ids])

    return job
