"""Which flow run asks, and whether Prefect has it cancelled."""

from __future__ import annotations

import os
from collections.abc import Collection
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectNotFound

from prefect_hailuo.ledger.wishes import Run

QUESTION_SECONDS = 5.0
"""How long Prefect's API may take to say how a flow run stands."""

CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)

STARTED_FOR = "PREFECT__FLOW_RUN_ID"
"""Where a runner, and so every worker, tells a process which flow run it was started for."""


def current_run() -> Run:
    """The flow run that this code runs in, and the one that its process was started for.

    Example:
        >>> current_run()
        Run(flow_run_id=None, root_flow_run_id=None)
    """
    flow_run_id = _flow_run_id()
    root = os.environ.get(STARTED_FOR) or flow_run_id
    return Run(flow_run_id, root) if flow_run_id else Run()


def is_in_a_run() -> bool:
    """Whether Prefect runs this code as a flow or a task.

    Example:
        >>> is_in_a_run()
        False
    """
    return bool(TaskRunContext.get() or FlowRunContext.get())


def name_of_run() -> str:
    """What tells this flow run from others; outside of any, this task run.

    Example:
        >>> name_of_run()
        ''
    """
    task = TaskRunContext.get()
    return _flow_run_id() or (str(task.task_run.id) if task else "")


def is_supervised() -> bool:
    """Whether somebody is there to end this process when its flow run is cancelled.

    Example:
        >>> is_supervised()
        False
    """
    return bool(os.environ.get(STARTED_FOR))


def cancelled_runs(flow_runs: Collection[str]) -> set[str]:
    """Those of some flow runs that Prefect's API calls cancelled, or about to be.

    One that it does not know is none of them: whoever is not known to be cancelled wants its video.

    Args:
        flow_runs: Ids of flow runs.

    Raises:
        Exception: The API could not be asked; of what kind, Prefect does not say.
    """
    # A client of our own: the flow's ends with the flow, and its threads may outlive that.
    with get_client(sync_client=True, httpx_settings={"timeout": QUESTION_SECONDS}) as client:
        # One by one: with newer releases of FastAPI, the server refuses the client's bulk query.
        return {each for each in flow_runs if _state_of(client, each) in CANCELLED}


def _state_of(client: SyncPrefectClient, flow_run: str) -> StateType | None:
    try:
        return client.read_flow_run(UUID(flow_run)).state_type
    except ObjectNotFound:
        return None


def _flow_run_id() -> str | None:
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if flow is not None and flow.flow_run is not None:
        return str(flow.flow_run.id)
    if task is not None and task.task_run.flow_run_id is not None:
        return str(task.task_run.flow_run_id)
    return None
