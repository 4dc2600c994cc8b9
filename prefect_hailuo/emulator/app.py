"""The emulator's web application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, Request
from starlette.responses import Response

from prefect_hailuo.emulator import routes_files, routes_queue, routes_run
from prefect_hailuo.emulator.emulation import Emulation
from prefect_hailuo.emulator.incoming import TheEmulation, UnknownRequestError
from prefect_hailuo.emulator.replies import JSON, not_found


def make_app(emulation: Emulation) -> FastAPI:
    """All routes, over one emulation."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_time, emulation)
            yield
            tasks.cancel_scope.cancel()

    app = FastAPI(openapi_url=None, redirect_slashes=False, lifespan=lifespan)
    app.state.emulation = emulation
    app.add_exception_handler(UnknownRequestError, _unknown_request)
    app.add_api_route("/_emulator/stats", stats)
    for routes in (routes_files, routes_run, routes_queue):
        app.include_router(routes.router)
    return app


async def keep_time(emulation: Emulation) -> None:
    """Let the queue move on by itself, so that those who wait for news are woken."""
    with emulation.alarms.new() as alarm:
        emulation.timekeeper = alarm
        while True:
            emulation.queue.settle()
            await alarm.sleep(emulation.queue.next_event())


async def stats(emulation: TheEmulation) -> Response:
    """The tallies; no key is needed."""
    return JSON(emulation.stats())


async def _unknown_request(request: Request, error: Exception) -> Response:
    return not_found()
