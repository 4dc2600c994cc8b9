"""The emulator's web application.

Faults by name: what goes wrong at fal, on the way there and on the way back.

Each takes, besides its own arguments, which requests it befalls: `nth`, `count`, `endpoint` and
`prompt`, as in `Fault`; by default the next one only.

Breaking a client's connection for real.

How a reply goes wrong: each mishap is a layer around the application that spoils its answer.

What happens around every route: counting, marking, and what goes wrong on the wire.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from asyncio import BaseTransport, Transport
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import Any, TypedDict, cast
from urllib.parse import urlsplit, urlunsplit

import anyio
from fastapi import FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import Unpack
from uvicorn.protocols.http.h11_impl import H11Protocol

from prefect_hailuo.emulator.clock import Alarms
from prefect_hailuo.emulator.emulation import Emulation
from prefect_hailuo.emulator.faults import (
    Answer,
    BackToQueue,
    Cut,
    Delay,
    Drop,
    Edit,
    Fail,
    Fault,
    Happening,
    Kind,
    RepeatWebhook,
    StopWhenCancelled,
    call_of,
)
from prefect_hailuo.emulator.outcome import model_failure
from prefect_hailuo.emulator.replies import JSON, as_json, not_found
from prefect_hailuo.emulator.routes import (
    NO_CREDIT,
    PREFIX,
    TheEmulation,
    UnknownRequestError,
    files_router,
    platform_error,
    platform_router,
    queue_router,
    run_router,
    storage_router,
)
from prefect_hailuo.fal.messages import EMULATOR_HEADER


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
    for router in (files_router, storage_router, platform_router, run_router, queue_router):
        app.include_router(router)
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
        return platform_error(refusal.status_code, str(refusal.detail))
    return await http_exception_handler(request, refusal)


async def _invalid(request: Request, error: Exception) -> Response:
    invalid = cast(RequestValidationError, error)
    if _is_platform(request):
        return platform_error(422, str(invalid.errors()))
    return await request_validation_exception_handler(request, invalid)


def _is_platform(request: Request) -> bool:
    return request.url.path.startswith(PREFIX)


NOT_JSON = b"<html><body>502 Bad Gateway</body></html>"
"""What a proxy between may answer in fal's place."""


class Which(TypedDict, total=False):
    """Which requests a fault befalls; see `Fault`."""

    nth: int
    count: int | None
    endpoint: str | None
    prompt: str | None


def refuse(
    on: Kind,
    status: int,
    detail: str = "Refused by the plan of faults",
    *,
    headers: Mapping[str, str] | None = None,
    **which: Unpack[Which],
) -> Fault:
    """The request is refused and does nothing.

    Example:
        >>> fault = refuse("submit", 429, headers={"Retry-After": "2"}, nth=2)
        >>> fault.what.status, fault.nth
        (429, 2)
    """
    return Fault(on, Answer(status, {"detail": detail}, headers or {}), **which)


def refuse_without_credit(on: Kind = "submit", **which: Unpack[Which]) -> Fault:
    """The account's balance is exhausted: 403."""
    return refuse(on, 403, NO_CREDIT, **which)


def delay(
    on: Kind, seconds: float, *, after_accepting: bool = True, **which: Unpack[Which]
) -> Fault:
    """The answer is late by seconds of the machine's time.

    With `after_accepting=False` the request itself is late: it takes effect after the delay, even
    if the client has given up by then.
    """
    return Fault(on, Delay(seconds, after_accepting), **which)


def drop_before_accepting(on: Kind, *, reset: bool = False, **which: Unpack[Which]) -> Fault:
    """The connection breaks, and the request did nothing."""
    return Fault(on, Drop(after_accepting=False, reset=reset), **which)


def drop_after_accepting(on: Kind, *, reset: bool = False, **which: Unpack[Which]) -> Fault:
    """The connection breaks without an answer, and the request took effect.

    On `submit`, the video is made and charged, and the client knows neither.
    """
    return Fault(on, Drop(after_accepting=True, reset=reset), **which)


def lose_answer(on: Kind, status: int = 502, **which: Unpack[Which]) -> Fault:
    """The request took effect, and something between answers in fal's place."""
    headers = {"content-type": "text/html"}
    return Fault(on, Answer(status, NOT_JSON, headers, after_accepting=True), **which)


def garble(on: Kind, body: Any = NOT_JSON, **which: Unpack[Which]) -> Fault:
    """The request took effect, and the answer is 200 with another body.

    Args:
        on: The kind of request.
        body: Raw bytes, or a JSON value of another shape.
        which: Which of the requests.
    """
    return Fault(on, Answer(200, body, after_accepting=True), **which)


def cut(
    on: Kind,
    at: int,
    *,
    with_length: bool = True,
    looks_whole: bool = False,
    **which: Unpack[Which],
) -> Fault:
    """The answer breaks off.

    Args:
        on: The kind of request.
        at: How many bytes of the body arrive.
        with_length: Whether the length of the whole was announced; else the answer is chunked.
        looks_whole: Whether a chunked answer ends as if it were complete.
        which: Which of the requests.
    """
    return Fault(on, Cut(at, with_length, looks_whole), **which)


def edit(on: Kind, change: Callable[[Any], Any], **which: Unpack[Which]) -> Fault:
    """The answer's JSON is changed on its way.

    Example:
        >>> fault = edit("status", lambda body: {**body, "status": "PONDERING"}, count=None)
    """
    return Fault(on, Edit(change), **which)


def redirect(on: Kind, location: str, status: int = 302, **which: Unpack[Which]) -> Fault:
    """The request is sent elsewhere."""
    return Fault(on, Answer(status, headers={"location": location}), **which)


def foreign_urls(url: str, **which: Unpack[Which]) -> Fault:
    """The answer to a submission names addresses on another host.

    Args:
        url: Scheme and host to put in place of the emulator's.
        which: Which of the submissions.
    """
    return edit("submit", lambda body: _moved(body, url), **which)


def _moved(body: dict[str, Any], url: str) -> dict[str, Any]:
    elsewhere = urlsplit(url)[:2]
    names = [name for name in body if name.endswith("_url")]
    return {
        **body,
        **{name: urlunsplit((*elsewhere, *urlsplit(body[name])[2:])) for name in names},
    }


def bare_result(**which: Unpack[Which]) -> Fault:
    """The result tells no more than fal guarantees: no size, no name, a type of null."""
    return edit("result", lambda body: {"video": _bare(body["video"])}, **which)


def _bare(video: dict[str, Any]) -> dict[str, Any]:
    return {"url": video["url"], "content_type": None}


def expire_result(**which: Unpack[Which]) -> Fault:
    """The result is no longer kept."""
    return Fault("result", Answer(404, {"status": "NOT_FOUND"}), **which)


def expire_file(status: int = 404, **which: Unpack[Which]) -> Fault:
    """The file is no longer served."""
    return refuse("media", status, "Not Found", **which)


def wrong_bytes(body: bytes = b"not a video", **which: Unpack[Which]) -> Fault:
    """Another file is served as the video."""
    return Fault("media", Answer(200, body, {"content-type": "video/mp4"}), **which)


def go_back_to_queue(after_seconds: float = 1.0, times: int = 1, **which: Unpack[Which]) -> Fault:
    """fal loses the runner at work and queues the request again.

    Args:
        after_seconds: Emulator seconds of work before that.
        times: How often it happens to a request.
        which: Which of the generations.
    """
    return Fault("generation", BackToQueue(after_seconds, times), **which)


def refuse_content(*, charged: bool = False, **which: Unpack[Which]) -> Fault:
    """The model refuses what the prompt asks to see; fal says that a 422 may be charged."""
    text = "The content could not be processed: it was flagged by a content checker."
    outcome = model_failure(422, text, "content_policy_violation", charged=charged)
    return Fault("generation", Fail(outcome), **which)


def fail_inside(**which: Unpack[Which]) -> Fault:
    """The model fails with an error of its own: 500, not charged."""
    outcome = model_failure(500, "Internal server error", "internal_server_error")
    return Fault("generation", Fail(outcome), **which)


def time_out(**which: Unpack[Which]) -> Fault:
    """The model takes too long for fal: 504, not charged."""
    outcome = model_failure(504, "Generation timed out", "generation_timeout")
    return Fault("generation", Fail(outcome), **which)


def stop_when_cancelled(**which: Unpack[Which]) -> Fault:
    """The model heeds a cancellation at work, and nothing is charged; by default it ignores it."""
    return Fault("generation", StopWhenCancelled(), **which)


def repeat_webhook(times: int = 2, **which: Unpack[Which]) -> Fault:
    """The webhook is delivered more than once."""
    return Fault("generation", RepeatWebhook(times), **which)


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
    """Close the connection, once what was sent is out.

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
    """A JSON body, or the one in a frame of a status stream, changed; other bytes as they are."""
    is_event = body.startswith(_EVENT)
    try:
        value: Any = json.loads(body[len(_EVENT) :] if is_event else body)
    except ValueError:
        return body
    changed = as_json(edit.change(value))
    return _EVENT + changed + b"\n\n" if is_event else changed


PATHS_OF_FALS_HOSTS = {
    b"fal.run": "/run",
    b"rest.fal.ai": "/rest",
    b"api.fal.ai": "/platform",
    b"v3.fal.media": "/cdn",
}
"""Where fal's hosts are here, for clients that are led to the emulator under fal's own names, as
by `curl --connect-to`; its queue is at the root."""


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
        scope = _placed(scope)
        call = self._emulation.known(call_of(scope))
        self._emulation.requests[call.kind] += 1
        body = await _read(receive)
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


def _placed(scope: Scope) -> Scope:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    prefix = PATHS_OF_FALS_HOSTS.get(host.partition(b":")[0], "")
    return {**scope, "path": prefix + scope["path"]} if prefix else scope


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


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
