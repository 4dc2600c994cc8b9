"""The synchronous run: input in, output out, past the queue."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from prefect_hailuo.emulator.incoming import AnOrder, TheEmulation
from prefect_hailuo.emulator.replies import JSON
from prefect_hailuo.emulator.results import result_of
from prefect_hailuo.emulator.streams import wait_until_completed

router = APIRouter(prefix="/run")

OVER_THE_LIMIT = "Too many requests: the account's concurrency limit is reached."


@router.post("/{endpoint_id:path}")
async def run(order: AnOrder, emulation: TheEmulation) -> Response:
    """Generate at once; 429 when every runner is busy."""
    generation = emulation.run_now(order)
    if generation is None:
        return JSON({"detail": OVER_THE_LIMIT}, 429)
    if not await wait_until_completed(generation, emulation):
        return JSON({"detail": "The emulator was stopped."}, 503)
    return await result_of(generation, emulation)
