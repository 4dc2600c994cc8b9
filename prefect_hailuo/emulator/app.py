"""The emulator's web application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import anyio
from fastapi import FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from prefect_hailuo.emulator import (
    routes_files,
    routes_platform,
    routes_queue,
    routes_run,
    routes_storage,
)
from prefect_hailuo.emulator.emulation import Emulation
from prefect_hailuo.emulator.incoming import TheEmulation, UnknownRequestError
from prefect_hailuo.emulator.replies import JSON, not_found


def make_app(emulation: Emulation) -> FastAPI:
    """All routes, over one emulation."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            emulation.tasks = tasks
            tasks.start_soon(keep_time, emulation)
            yield
            tasks.cancel_scope.cancel()

    app = FastAPI(openapi_url=None, redirect_slashes=False, lifespan=lifespan)
    app.state.emulation = emulation
    app.add_exception_handler(UnknownRequestError, _unknown_request)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_api_route("/_emulator/stats", stats)
    app.add_api_route("/rest/.well-known/jwks.json", key_set)
    # The queue's last route takes every path.
    for routes in (routes_files, routes_storage, routes_platform, routes_run, routes_queue):
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


async def key_set(emulation: TheEmulation) -> Response:
    """The keys that webhooks are signed with."""
    return JSON(emulation.signer.key_set())


async def _unknown_request(request: Request, error: Exception) -> Response:
    return not_found()


async def _refused(request: Request, error: Exception) -> Response:
    refusal = cast(HTTPException, error)
    if _is_platform(request):
        return routes_platform.platform_error(refusal.status_code, str(refusal.detail))
    return await http_exception_handler(request, refusal)


async def _invalid(request: Request, error: Exception) -> Response:
    invalid = cast(RequestValidationError, error)
    if _is_platform(request):
        return routes_platform.platform_error(422, str(invalid.errors()))
    return await request_validation_exception_handler(request, invalid)


def _is_platform(request: Request) -> bool:
    return request.url.path.startswith(routes_platform.PREFIX)
