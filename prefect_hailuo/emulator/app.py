"""The emulator's web application: all routes, and a layer around them that lets requests go wrong.

The layer counts each request, marks the answer as the emulator's, and puts one layer more around
the routes for every fault that strikes: it delays, replaces, cuts or drops the answer.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from asyncio import BaseTransport, Transport
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import Any, cast

import anyio
from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from prefect_hailuo.emulator import platform, routes
from prefect_hailuo.emulator.clock import Alarms
from prefect_hailuo.emulator.emulation import Emulation, called_as_fal
from prefect_hailuo.emulator.faults import Answer, Cut, Delay, Drop, Edit, Happening, call_of
from prefect_hailuo.emulator.replies import JSON, as_json, not_found
from prefect_hailuo.emulator.routes import TheEmulation, UnknownRequestError
from prefect_hailuo.fal.messages import EMULATOR_HEADER


def make_app(emulation: Emulation) -> FastAPI:
    """The application of one emulator, with all its routes."""

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
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["*"],
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_api_route("/", about)
    app.add_api_route("/_emulator/stats", stats)
    app.add_api_route("/rest/.well-known/jwks.json", key_set)
    app.include_router(platform.router)
    app.include_router(routes.router)  # the last, because its POST takes every path
    return app


async def keep_time(emulation: Emulation) -> None:
    """Let the queue move on by itself, so that those who wait for news are woken."""
    with emulation.alarms.new() as alarm:
        emulation.timekeeper = alarm
        while True:
            emulation.queue.settle()
            await alarm.sleep(emulation.queue.next_event())


async def about(emulation: TheEmulation) -> Response:
    """What this is, for people who open its address in a browser. No key is needed."""
    return PlainTextResponse(
        "This is an emulator of fal, of the Python package prefect-hailuo: it speaks fal's "
        "protocol, no model is asked, and nothing is charged.\n\n"
        f"Queue: POST {emulation.queue_url}/<endpoint>\n"
        f"Synchronous calls: POST {emulation.public_url}/run/<endpoint>\n"
        f"Models: GET {emulation.public_url}/platform/v1/models\n"
        f"Counts: GET {emulation.public_url}/_emulator/stats\n"
    )


async def stats(emulation: TheEmulation) -> Response:
    """The counts. No key is needed."""
    return JSON(emulation.stats())


async def key_set(emulation: TheEmulation) -> Response:
    """The keys that webhooks are signed with."""
    return JSON(emulation.signer.key_set())


async def _unknown_request(request: Request, error: Exception) -> Response:
    return not_found()


async def _refused(request: Request, error: Exception) -> Response:
    refusal = cast(HTTPException, error)
    if _is_platform(request):
        return platform.platform_error(refusal.status_code, str(refusal.detail))
    return await http_exception_handler(request, refusal)


async def _invalid(request: Request, error: Exception) -> Response:
    invalid = cast(RequestValidationError, error)
    if _is_platform(request):
        said = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in invalid.errors()
        )
        return platform.platform_error(422, said)
    return await request_validation_exception_handler(request, invalid)


def _is_platform(request: Request) -> bool:
    return request.url.path.startswith(platform.PREFIX)


PATHS_OF_FALS_HOSTS = {
    b"fal.run": "/run",
    b"rest.fal.ai": "/rest",
    b"api.fal.ai": "/platform",
    b"v3.fal.media": "/cdn",
}
"""Where fal's hosts are here, for clients that are led to the emulator under fal's own names, as
by `curl --connect-to`; its queue is at the root."""


QUEUE_HOST = b"queue.fal.run"


class Wire:
    """An ASGI layer around the routes.

    Args:
        app: The routes.
        emulation: Counts the requests, and plans what goes wrong with them.
    """

    def __init__(self, app: ASGIApp, emulation: Emulation) -> None:
        self._app = app
        self._emulation = emulation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or let it go wrong."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        called_as_fal.set(_host(scope) == QUEUE_HOST)
        scope = _placed(scope)
        call = self._emulation.known(call_of(scope))
        self._emulation.requests[call.kind] += 1
        body = await _read(receive)
        if scope["method"] == "POST" and call.kind != "upload" and is_too_deep(body):
            refusal = JSON({"detail": "The body is nested too deeply."}, 400)
            await refusal(scope, _replay(body, receive), self._marked(send))
            return
        if call.kind in ("submit", "run"):
            call = replace(call, prompt=_prompt(body))
        app = self._app
        for happening in reversed(self._emulation.faults.draw(call.kind, call)):
            app = going_wrong(happening, app, self._emulation.alarms)
        await app(scope, _replay(body, receive), self._marked(send))

    def _marked(self, send: Send) -> Send:
        now = time.time() + self._emulation.history.skew_seconds
        headers = [(b"date", formatdate(now, usegmt=True).encode())]
        if self._emulation.setup.realm == "emulator":
            headers.append((EMULATOR_HEADER.lower().encode(), self._emulation.instance.encode()))

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        return send_marked


def _host(scope: Scope) -> bytes:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return bytes(host).partition(b":")[0].lower()


def _placed(scope: Scope) -> Scope:
    prefix = PATHS_OF_FALS_HOSTS.get(_host(scope), "")
    return {**scope, "path": prefix + scope["path"]} if prefix else scope


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


MOST_DEPTH = 200
"""How deeply a body may be nested: it is written into answers, too, by code that recurs."""

_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{}\]]', re.DOTALL)


def is_too_deep(body: bytes) -> bool:
    """Whether JSON is nested deeper than any reader should have to go.

    Example:
        >>> is_too_deep(b"[" * 300 + b"]" * 300), is_too_deep(b"[[],[]]" * 300)
        (True, False)
    """
    if body.count(b"[") + body.count(b"{") <= MOST_DEPTH:
        return False
    depth = 0
    for token in _NESTING.finditer(body):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth > MOST_DEPTH:
            return True
    return False


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _prompt(body: bytes) -> str | None:
    try:
        prompt = json.loads(body)["prompt"]
    except (ValueError, TypeError, KeyError):
        return None
    return prompt if isinstance(prompt, str) else None


_START = "http.response.start"

_EVENT = b"data: "


def going_wrong(happening: Happening, app: ASGIApp, alarms: Alarms) -> ASGIApp:
    """The application, with something going wrong.

    Args:
        happening: What; other than a mishap of the wire, it changes nothing here.
        app: The application.
        alarms: End a delay when the emulator ends.
    """
    if isinstance(happening, Delay):
        return _late(happening, app, alarms)
    if isinstance(happening, Answer):
        return _answered_otherwise(happening, app)
    if isinstance(happening, Drop):
        return _dropped(happening, app)
    if isinstance(happening, Cut):
        return _cut_off(happening, app)
    if isinstance(happening, Edit):
        return _edited(happening, app)
    return app


def _late(delay: Delay, app: ASGIApp, alarms: Alarms) -> ASGIApp:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_late(message: Message) -> None:
            if message["type"] == _START and delay.after_accepting:
                await alarms.pause(delay.seconds)
            await send(message)

        if not delay.after_accepting:
            await alarms.pause(delay.seconds)
        await app(scope, receive, send_late)

    return late


def _answered_otherwise(answer: Answer, app: ASGIApp) -> ASGIApp:
    response = _response(answer)

    async def answered_otherwise(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_instead(message: Message) -> None:
            if message["type"] == _START:
                await response(scope, receive, send)

        if answer.after_accepting:
            await app(scope, receive, send_instead)
        else:
            await response(scope, receive, send)

    return answered_otherwise


def _response(answer: Answer) -> Response:
    headers = dict(answer.headers)
    if isinstance(answer.body, bytes):
        return Response(answer.body, answer.status, headers)
    return JSON(answer.body, answer.status, headers)


def _dropped(drop: Drop, app: ASGIApp) -> ASGIApp:
    async def dropped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_nothing(message: Message) -> None:
            if message["type"] == _START:
                await hang_up(scope, receive, reset=drop.reset)

        if drop.after_accepting:
            await app(scope, receive, send_nothing)
        else:
            await hang_up(scope, receive, reset=drop.reset)

    return dropped


def _cut_off(cut: Cut, app: ASGIApp) -> ASGIApp:
    async def cut_off(scope: Scope, receive: Receive, send: Send) -> None:
        left = cut.at

        async def send_until_cut(message: Message) -> None:
            nonlocal left
            if message["type"] == _START:
                await send(message if cut.with_length else _without_length(message))
            elif left > 0:
                body = message.get("body", b"")
                kept, left = body[:left], left - len(body)
                if left > 0:
                    await send(message)
                else:
                    await _send_last(cut, kept, scope, receive, send)

        await app(scope, receive, send_until_cut)

    return cut_off


async def _send_last(cut: Cut, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
    ends_well = cut.looks_whole and not cut.with_length
    await send({"type": "http.response.body", "body": body, "more_body": not ends_well})
    if not ends_well:
        await hang_up(scope, receive)


def _without_length(message: Message) -> Message:
    headers = [(name, value) for name, value in message["headers"] if name != b"content-length"]
    return {**message, "headers": headers}


def _edited(edit: Edit, app: ASGIApp) -> ASGIApp:
    async def edited(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_edited(message: Message) -> None:
            if message["type"] == _START:
                message = _without_length(message)
            elif message.get("body"):
                message = {**message, "body": _changed(edit, message["body"])}
            await send(message)

        await app(scope, receive, send_edited)

    return edited


def _changed(edit: Edit, body: bytes) -> bytes:
    """Change the JSON of a body, or of a stream's event; leave other bytes as they are."""
    is_event = body.startswith(_EVENT)
    try:
        value: Any = json.loads(body[len(_EVENT) :] if is_event else body)
    except ValueError:
        return body
    changed = as_json(edit.change(value))
    return _EVENT + changed + b"\n\n" if is_event else changed


_CONNECTION = "prefect_hailuo.connection"

_NO_LINGERING = struct.pack("ii", 1, 0)


class ExposedConnection(H11Protocol):
    """uvicorn's HTTP, with the connection in the scope so that a fault can break it."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Put the connection into the scope of every request that comes over it."""
        super().connection_made(transport)  # type: ignore[arg-type]
        app = self.app

        async def with_connection(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[_CONNECTION] = transport
            await app(scope, receive, send)

        self.app = with_connection


async def hang_up(scope: Scope, receive: Receive, *, reset: bool = False) -> None:
    """Close the connection, after all that was sent has gone out.

    Args:
        scope: Of the request.
        receive: Of the request, whose body has been read.
        reset: Whether the client sees a reset (RST) instead of an orderly end.
    """
    transport: Transport = scope["extensions"][_CONNECTION]
    if reset:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        transport.abort()
    else:
        transport.close()
    # uvicorn takes it for a mistake when an application ends on an open connection unanswered.
    while (await receive())["type"] != "http.disconnect":
        pass
