"""The shards of a batch: several runs of one deployment, spread over the workers.

Shards that overlap, or are run again, buy nothing twice: the ledger prevents it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from textwrap import shorten
from typing import Any

from anyio.to_thread import run_sync
from prefect import runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import arun_deployment
from prefect.settings import get_current_settings
from prefect.states import Scheduled

from prefect_hailuo.errors import Billed, ConfigurationError, HailuoError
from prefect_hailuo.flows.report import ending
from prefect_hailuo.runs.blocks import FalCredentials
from prefect_hailuo.runs.markdown import quote, unquote

POLL_SECONDS = 5.0
"""How often Prefect is asked how a shard stands."""

ROOM = 0.9
"""How much of what Prefect takes as parameters is used: the server may count a little more."""

SUMMARY_KEY = "hailuo-batch-summary"

TEXT_CHARACTERS = 300

Parameters = dict[str, Any]
"""Of a flow run, as JSON has them."""


def split_parameters(
    name: str, items: Sequence[Any], shards: int, common: Mapping[str, Any]
) -> list[Parameters]:
    """The parameters of each shard.

    Args:
        name: The parameter that is split.
        items: What is split, in order.
        shards: Into how many parts; into more, where Prefect would not take the parameters of so
            few (`PREFECT_SERVER_API_MAX_PARAMETER_SIZE`, 512 KB).
        common: The parameters that all have.

    Example:
        >>> split_parameters("prompts", ["a", "b", "c"], 2, {"take": 1})
        [{'take': 1, 'prompts': ['a', 'b']}, {'take': 1, 'prompts': ['c']}]
    """
    limit = get_current_settings().server.api.max_parameter_size * ROOM
    for parts in range(shards, max(shards, len(items)) + 1):
        found = [{**common, name: part} for part in _parts(items, parts)]
        if not limit or all(len(json.dumps(each)) <= limit for each in found):
            break
    return found


def _parts(items: Sequence[Any], number: int) -> list[list[Any]]:
    """Parts that differ in size by one at most; none is empty."""
    size, more = divmod(len(items), number)
    starts = [part * size + min(part, more) for part in range(number + 1)]
    return [list(items[start:end]) for start, end in pairwise(starts) if end > start]


def saved_name(credentials: FalCredentials | str | None) -> str | None:
    """The name by which another machine finds credentials; a key is never a parameter.

    Raises:
        ConfigurationError: They are not saved.
    """
    if not isinstance(credentials, FalCredentials):
        return credentials
    name: str | None = credentials._block_document_name
    if name is None:
        raise ConfigurationError(
            "Shards cannot be given credentials that are not saved.",
            cure="Save the block, and pass its name.",
        )
    return name


async def tell_summary(summary: Mapping[str, Any]) -> None:
    """Say what came of this flow run, in an artifact that `run_shards` reads.

    It goes through Prefect's API: the machines need no storage in common for results.

    Args:
        summary: Small, and JSON.
    """
    # Prefect's UI shows a table's cells as Markdown: it would fetch an image that a prompt names.
    rows = [{"name": name, "value": _each_text(quote, value)} for name, value in summary.items()]
    await acreate_table_artifact(rows, SUMMARY_KEY, "What became of the batch.")


async def run_shards(
    deployment: str | None, all_parameters: Sequence[Parameters]
) -> list[dict[str, Any]]:
    """Run a deployment once for each, all at the same time, to be called in a flow run.

    Where that flow run is started once more, its shards that still run are waited for, and those
    that crashed are started once more, too. Where it is cancelled, Prefect cancels its shards.

    Args:
        deployment: As `flow name/deployment name`; None: the one that this flow run is of.
        all_parameters: Each shard's.

    Returns:
        Each shard's report, in order; also of a shard that is Failed because some videos failed.

    Raises:
        ConfigurationError: This flow run is of no deployment.
        HailuoError: Some ended without saying what became of their part, when all had ended; the
            message says which.
    """
    if deployment is None:
        deployment = await run_sync(_own_deployment)
    async with get_client() as client:
        shards = [_run_shard(client, deployment, each) for each in all_parameters]
        runs = await asyncio.gather(*shards)
        told = [await _told_by(client, each) for each in runs]
        if bad := [run for run, one in zip(runs, told, strict=True) if not _has_said(run, one)]:
            raise _error(bad, len(runs))
        return [one or {} for one in told]


def _own_deployment() -> str:
    name = runtime.deployment.name
    if name is None:
        raise ConfigurationError(
            "Shards are runs of a deployment, and this run is of none.",
            cure="Pass deployment='flow name/deployment name'.",
        )
    return f"{runtime.flow_run.flow_name}/{name}"


async def _run_shard(client: PrefectClient, deployment: str, parameters: Parameters) -> FlowRun:
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]
    run = await arun_deployment(
        deployment,
        client,
        parameters=parameters,
        idempotency_key=f"{runtime.flow_run.id}-{digest}",
        timeout=0,
    )
    if _has_ended(run) and not _is_well(run):  # of an earlier attempt of this flow run
        await client.set_flow_run_state(run.id, Scheduled(), force=True)
        run = await client.read_flow_run(run.id)
    while not _has_ended(run):
        await asyncio.sleep(POLL_SECONDS)
        run = await client.read_flow_run(run.id)
    return run


def _has_ended(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def _is_well(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_completed()


def _has_said(run: FlowRun, told: dict[str, Any] | None) -> bool:
    """Whether a shard ended, and reported what became of its part.

    One that failed half-way may have said it in an earlier attempt: then its state says otherwise.
    """
    if run.state is None or told is None:
        return False
    if run.state.is_completed():
        return True
    ended = ending(*(told.get(name, 0) for name in ("done", "videos", "failed")))
    return run.state.is_failed() and run.state.message == ended


async def _told_by(client: PrefectClient, run: FlowRun) -> dict[str, Any] | None:
    # Its own method sends `null` for each filter that is not given, which the server refuses.
    only = {"flow_run_id": {"any_": [str(run.id)]}, "key": {"any_": [SUMMARY_KEY]}}
    wanted = {"artifacts": only, "sort": "UPDATED_DESC", "limit": 1}
    found = (await client.request("POST", "/artifacts/filter", json=wanted)).json()
    if not found and not _is_well(run):
        return None
    if not found:
        raise HailuoError(
            f"The shard {run.name} ({run.id}) left no summary.",
            cure="Pass a deployment of the same flow, in the same version.",
            billed=Billed.UNKNOWN,
        )
    rows = json.loads(found[0]["data"])
    return {row["name"]: _each_text(unquote, row["value"]) for row in rows}


def _each_text(change: Callable[[str], str], value: Any) -> Any:
    """A value of JSON with each of its texts changed, also in a list."""
    if isinstance(value, list):
        return [_each_text(change, each) for each in value]
    return change(value) if isinstance(value, str) else value


def _error(bad: Sequence[FlowRun], number: int) -> HailuoError:
    return HailuoError(
        f"{len(bad)} of {number} shards did not end well: "
        f"{'; '.join(_describe(each) for each in bad)}.",
        cure="Run the whole as it is once more, or those shards: nothing is bought again.",
        billed=Billed.UNKNOWN,
        retryable=True,
    )


def _describe(run: FlowRun) -> str:
    state = run.state
    how = f"{state.name}, {state.message}" if state else "without a state"
    return shorten(f"{run.name} ({run.id}): {how}", TEXT_CHARACTERS, placeholder="…").rstrip(".")
