"""How a reply goes wrong: each mishap is a layer around the application that spoils its answer."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_hailuo.emulator.alarms import Alarms
from prefect_hailuo.emulator.connection import hang_up
from prefect_hailuo.emulator.mishaps import Answer, Cut, Delay, Drop, Edit, Happening
from prefect_hailuo.emulator.replies import JSON, as_json

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
