"""fal's queue, files and history, and the benchmark's own controls under `/_lean`."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from typing import Any

from benchmarks.lean_fal.figures import SAMPLE_SECONDS, Figures
from benchmarks.lean_fal.line import COMPLETED, QUEUED, Line, Request
from benchmarks.lean_fal.load import Load
from benchmarks.lean_fal.wire import Call, Connection

SILENCE_SECONDS = 15.0
"""By fal's documentation: after how much silence a stream says a comment."""

NO_HISTORY = b'{"items":[],"next_cursor":null,"has_more":false}'
NOT_FOUND = b'{"status":"NOT_FOUND"}'
NOT_READY = b'{"detail":"Request is still in progress"}'
BAD_KEY = b'{"detail":"invalid key credentials"}'


class Stream:
    """A client's stream of the statuses of one request."""

    def __init__(self, site: LeanSite, connection: Connection, request: Request) -> None:
        self._site = site
        self._connection = connection
        self.request = request
        self._said = b""
        self._said_at = 0.0

    def tell(self, request: Request) -> None:
        """Send the status, if it is news."""
        status = self._site.status(request)
        if status == self._said:
            return
        self._said, self._said_at = status, time.monotonic()
        self._connection.say(b"data: %s\n\n" % status)
        if request.state == COMPLETED:
            self._site.note_told(request)
            self._connection.end_stream()
            self._site.forget_stream(self._connection)

    def stay(self) -> None:
        """Called every second: tell a new position, or break a long silence."""
        if self.request.state == QUEUED:
            self.tell(self.request)
        if time.monotonic() - self._said_at > SILENCE_SECONDS:
            self._said_at = time.monotonic()
            self._connection.say(b": ping\n\n")


class LeanSite:
    """Answers every request.

    Args:
        clip: The video that it serves.
    """

    def __init__(self, clip: bytes) -> None:
        self.name = uuid.uuid4().hex[:12]
        self.url = ""
        self._clip = clip
        self._numbers = itertools.count(1)
        self._streams: dict[Connection, Stream] = {}
        self._loop = asyncio.get_running_loop()
        self._begin(Load(), 0)
        self._tick()

    def opened(self, connection: Connection) -> None:
        """Count a connection."""
        self._figures.opened()

    def closed(self, connection: Connection) -> None:
        """A connection is gone, and its stream with it."""
        self.forget_stream(connection)
        if not connection.is_controlling:
            self._figures.closed()

    def forget_stream(self, connection: Connection) -> None:
        """A stream has ended, or its client left."""
        stream = self._streams.pop(connection, None)
        if stream is not None:
            stream.request.listeners.remove(stream)

    def answer(self, connection: Connection, call: Call) -> None:
        """Answer one request."""
        path = call.path.partition("?")[0]
        if path.startswith("/_lean/"):
            self._control(connection, path, call)
        elif path.startswith("/files/"):
            self._figures.count("download")
            connection.send(200, self._clip, b"video/mp4")
        elif b"authorization: key " not in call.head:
            self._figures.count("unauthorized")
            connection.send(401, BAD_KEY)
        elif path.startswith("/platform/"):
            self._figures.count("history")
            connection.send(200, NO_HISTORY)
        elif call.method == "POST":
            self._submit(connection, path, call)
        else:
            self._about(connection, path)

    def status(self, request: Request) -> bytes:
        """The status in fal's words, with what fal's client insists on."""
        more = b""
        if request.state == QUEUED:
            more = b',"queue_position":%d' % self._line.before(request)
        elif request.cancelled:
            more = b',"error":"Request was cancelled","error_type":"client_cancelled"'
        text = b'{"status":"%s","request_id":"%s","logs":null,"metrics":{}%s}'
        return text % (request.state.encode(), request.id.encode(), more)

    def note_told(self, request: Request) -> None:
        """A client was told for the first time that a request has completed."""
        if request.told_at is None:
            request.told_at = time.monotonic()
            self._figures.told_late.append(request.told_at - request.completed_at)

    def _submit(self, connection: Connection, path: str, call: Call) -> None:
        self._figures.count("submit")
        self._figures.bodies.add(hash(call.body))
        name = f"emulator-{self.name}-{next(self._numbers)}"
        request, position = self._line.join(name)
        self._requests[name] = request
        app = "/".join(path.split("/")[1:3])
        url = f"{self.url}/{app}/requests/{name}"
        text = (
            f'{{"status":"IN_QUEUE","request_id":"{name}","response_url":"{url}",'
            f'"status_url":"{url}/status","cancel_url":"{url}/cancel",'
            f'"logs":null,"metrics":{{}},"queue_position":{position}}}'
        )
        connection.send(200, text.encode())

    def _about(self, connection: Connection, path: str) -> None:
        parts = path.split("/")
        request = self._requests.get(parts[4]) if len(parts) > 4 else None
        kind = {5: "result", 6: parts[-1], 7: "stream"}.get(len(parts), "other")
        self._figures.count(kind)
        if request is None:
            connection.send(404, NOT_FOUND)
        elif kind == "stream":
            self._stream(connection, request)
        elif kind == "status":
            self._status(connection, request)
        elif kind == "cancel":
            self._cancel(connection, request)
        else:
            self._result(connection, request)

    def _status(self, connection: Connection, request: Request) -> None:
        if request.state == COMPLETED:
            self.note_told(request)
        connection.send(200 if request.state == COMPLETED else 202, self.status(request))

    def _stream(self, connection: Connection, request: Request) -> None:
        stream = Stream(self, connection, request)
        request.listeners.append(stream)
        self._streams[connection] = stream
        connection.begin_stream()
        stream.tell(request)

    def _cancel(self, connection: Connection, request: Request) -> None:
        if request.state == COMPLETED:
            connection.send(400, b'{"status":"ALREADY_COMPLETED"}')
            return
        queued = request.state == QUEUED
        self._line.cancel(request)
        word = b"OK" if queued else b"CANCELLATION_REQUESTED"
        connection.send(200 if queued else 202, b'{"status":"%s"}' % word)

    def _result(self, connection: Connection, request: Request) -> None:
        if request.state != COMPLETED:
            connection.send(400, NOT_READY)
            return
        if request.collected_at is None:
            request.collected_at = time.monotonic()
            self._figures.collected_late.append(request.collected_at - request.completed_at)
            self._figures.completed += 1
        url = f"{self.url}/files/{request.id}/output.mp4"
        video = {"url": url, "content_type": "video/mp4", "file_size": len(self._clip)}
        connection.send(200, json.dumps({"video": video}).encode())

    def _control(self, connection: Connection, path: str, call: Call) -> None:
        if not connection.is_controlling:
            connection.is_controlling = True
            self._figures.closed()
        told: dict[str, Any] = {"lean_fal": self.name}
        if path == "/_lean/begin":
            self._line.close()
            self._begin(Load(**json.loads(call.body)), self._figures.sockets)
        else:
            told |= self._figures.told()
        connection.send(200, json.dumps(told).encode())

    def _begin(self, load: Load, open_sockets: int) -> None:
        self._line = Line(load)
        self._requests: dict[str, Request] = {}
        self._figures = Figures(open_sockets)

    def _tick(self) -> None:
        self._figures.sample()
        for stream in tuple(self._streams.values()):
            stream.stay()
        self._loop.call_later(SAMPLE_SECONDS, self._tick)
