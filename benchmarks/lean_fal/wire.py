"""HTTP/1.1, as much of it as clients of fal use, straight on the transport."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import NamedTuple, Protocol, cast

REASONS = {200: b"OK", 202: b"Accepted", 400: b"Bad Request", 401: b"Unauthorized"}


class Call(NamedTuple):
    """A request of a client's; the head in lower case."""

    method: str
    path: str
    head: bytes
    body: bytes


class Site(Protocol):
    """What answers."""

    def opened(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...
    def answer(self, connection: Connection, call: Call) -> None: ...


class Connection(asyncio.Protocol):
    """One client's connection.

    Args:
        site: What answers.
        name: The emulator's name, which marks every reply.
    """

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self._mark = b"x-fal-emulator: %s\r\ndate: %s\r\n"
        self._name = name.encode()
        self._buffer = b""
        self._closing = False
        self._transport: asyncio.Transport
        self.is_controlling = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._site.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self._site.closed(self)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._buffer += data
        while (call := self._take()) is not None:
            self._site.answer(self, call)

    def send(self, status: int, body: bytes, content_type: bytes = b"application/json") -> None:
        """Send a whole reply."""
        head = self._head(status, content_type)
        self._write(b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body))
        self._end()

    def begin_stream(self) -> None:
        """Send the head of a stream of events."""
        head = self._head(200, b"text/event-stream")
        self._write(head + b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n")

    def say(self, text: bytes) -> None:
        """Send a piece of a stream."""
        self._write(b"%x\r\n%s\r\n" % (len(text), text))

    def end_stream(self) -> None:
        """End a stream; the connection may carry more requests."""
        self._write(b"0\r\n\r\n")
        self._end()

    def _take(self) -> Call | None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        line, _, headers = head.partition(b"\r\n")
        headers = headers.lower() + b"\r\n"
        length = _content_length(headers)
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        self._closing = b"connection: close\r\n" in headers
        method, path, _ = line.decode("latin-1").split(" ", 2)
        return Call(method, path, headers, rest[:length])

    def _head(self, status: int, content_type: bytes) -> bytes:
        first = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\n"
        reason = REASONS.get(status, b"Not Found")
        return first % (status, reason, content_type) + self._mark % (self._name, _date())

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def _end(self) -> None:
        if self._closing:
            self._transport.close()


def _content_length(headers: bytes) -> int:
    _, found, rest = headers.partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


_dates: dict[int, bytes] = {}


def _date() -> bytes:
    second = int(time.time())
    if second not in _dates:
        _dates.clear()
        _dates[second] = formatdate(second, usegmt=True).encode()
    return _dates[second]
