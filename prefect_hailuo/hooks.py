"""Hooks for flows."""

from __future__ import annotations

from typing import Any, get_args

from prefect.client.schemas.objects import FlowRun
from prefect.logging.loggers import flow_run_logger

from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.settings import current_settings


def cancel_generations(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """For `@flow(on_cancellation=[cancel_generations])`: cancel at fal what the flow run wanted.

    A cancelled run usually does so itself, before it ends. Where it could not, for it was killed
    at once, this does it from the ledger, in the process that runs the hook: with the saved
    credentials blocks that the ledger names, and the key in that process's environment. What is
    wanted by another flow run goes on; what completed all the same is collected. What goes wrong is
    logged, and left to the next sweep.

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
    # Here, for it loads the ledger's database, and this module is loaded with the package.
    from prefect_hailuo.sweep import cancel_unwanted

    for realm in get_args(Realm):
        try:
            file = current_settings().ledger_of(realm).file
            if file is None or file.exists():
                cancel_unwanted(realm, [str(flow_run.id)])
        except Exception as error:  # what it misses, the next sweep does
            flow_run_logger(flow_run).error("Cancelling at %s: %s", realm, error)
