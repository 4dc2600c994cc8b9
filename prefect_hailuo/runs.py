"""Which flow run asks, and whether Prefect has it cancelled."""

from __future__ import annotations

import os
from collections.abc import Collection
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext, TaskRunContext

from prefect_hailuo.ledger.wishes import Run

CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)


def current_run() -> Run:
    """The flow run that this code runs in, and the one that its process was started for.

    Example:
        >>> current_run()
        Run(flow_run_id=None, root_flow_run_id=None)
    """
    flow_run_id = _flow_run_id()
    # A runner, and so every worker, tells a process which flow run it was started for.
    root = os.environ.get("PREFECT__FLOW_RUN_ID") or flow_run_id
    return Run(flow_run_id, root) if flow_run_id else Run()


def cancelled_runs(flow_runs: Collection[str]) -> set[str]:
    """Those of some flow runs that Prefect's API calls cancelled, or about to be.

    Whatever keeps it from answering leaves them uncancelled: whoever is not known to be cancelled
    wants its video.
    """
    wanted = [UUID(each) for each in flow_runs]
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=wanted))
        )
    return {str(run.id) for run in found if run.state_type in CANCELLED}


def _flow_run_id() -> str | None:
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if flow is not None and flow.flow_run is not None:
        return str(flow.flow_run.id)
    if task is not None and task.task_run.flow_run_id is not None:
        return str(task.task_run.flow_run_id)
    return None
