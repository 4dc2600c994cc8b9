"""What happens around every route: counting, marking, and what goes wrong on the wire."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from email.utils import formatdate

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_hailuo.emulator.breaking import going_wrong
from prefect_hailuo.emulator.calls import call_of
from prefect_hailuo.emulator.emulation import Emulation
from prefect_hailuo.fal.messages import EMULATOR_HEADER

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
