"""The queue: submit, status, stream, result, cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from prefect_hailuo.emulator.generations import State
from prefect_hailuo.emulator.incoming import AGeneration, AnOrder, TheEmulation
from prefect_hailuo.emulator.replies import JSON, accepted, is_expired, not_found, status_of
from prefect_hailuo.emulator.results import result_of
from prefect_hailuo.emulator.streams import status_events
from prefect_hailuo.emulator.webhooks import tell_of_completion
from prefect_hailuo.fal.messages import Cancellation

RESULT_KEPT_SECONDS = 3600.0
"""By fal's documentation: an hour after completion (six minutes from 10 KB up, which no result
here reaches)."""

_CANCEL_STATUS = {
    Cancellation.REMOVED: 200,
    Cancellation.REQUESTED: 202,
    Cancellation.TOO_LATE: 400,
}

router = APIRouter()
"""The routes of fal's queue. They end in a catch-all, so they are included last."""

_REQUEST = "/{owner}/{app}/requests/{request_id}"


@router.get(_REQUEST + "/status")
async def status(generation: AGeneration, emulation: TheEmulation, logs: bool = False) -> Response:
    """Where a request is; 200 once it is over, 202 before."""
    body = status_of(generation, emulation.queue, emulation.clock.now(), with_logs=logs)
    return JSON(body, 200 if body["status"] == State.COMPLETED.value else 202)


@router.get(_REQUEST + "/status/stream")
async def stream(generation: AGeneration, emulation: TheEmulation, logs: bool = False) -> Response:
    """Where a request is, as server-sent events, until it is over."""
    events = status_events(generation, emulation, logs)
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"cache-control": "no-cache"}
    )


@router.get(_REQUEST)
async def result(generation: AGeneration, emulation: TheEmulation) -> Response:
    """The model's answer, once there is one and while it is kept."""
    if generation.state is not State.COMPLETED:
        return JSON({"detail": "Request is still in progress"}, 400)
    kept = emulation.kept_seconds(RESULT_KEPT_SECONDS)
    if is_expired(generation, emulation.clock.now(), kept):
        return not_found()
    return await result_of(generation, emulation)


@router.put(_REQUEST + "/cancel")
async def cancel(generation: AGeneration, emulation: TheEmulation) -> Response:
    """Cancel a request, as far as that goes."""
    verdict = emulation.queue.cancel(generation)
    return JSON({"status": verdict.value}, _CANCEL_STATUS[verdict])


@router.post("/{endpoint_id:path}")
async def submit(
    order: AnOrder,
    emulation: TheEmulation,
    fal_max_queue_length: Annotated[int | None, Query()] = None,
) -> Response:
    """Take a request into the queue. The input is not looked at yet, as at fal."""
    if fal_max_queue_length is not None and emulation.queue.waiting > fal_max_queue_length:
        return JSON({"detail": "Queue is full"}, 429)
    generation, position = emulation.accept(order)
    if order.webhook is not None and emulation.tasks is not None:
        emulation.tasks.start_soon(tell_of_completion, generation, emulation, order.webhook)
    headers = {"x-fal-request-id": generation.request_id}
    return JSON(accepted(generation, position, emulation.url), 200, headers)
