"""A gate on the way to fal: it lets requests and answers through, or holds them, as a test says.

It speaks to the emulator behind it, and to the package before it, over real connections.
"""

from __future__ import annotations

import re
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit

from raw_server import Received, Reply, _read
from typing_extensions import Self

PATIENCE_SECONDS = 60.0

KEPT_ALIVE = re.compile(rb"\r\nConnection: keep-alive", re.IGNORECASE)
"""What asks for a connection to be kept; clients do not agree on how to write it."""

_NO_LINGERING = struct.pack("ii", 1, 0)

Where = Literal["request", "answer", "rest"]


@dataclass(eq=False)
class Hold:
    """The next request of a kind, and where it or its answer is stopped.

    Args:
        kind: The beginning of its first line, such as `POST` or `GET /files`.
        where: `request`: it has arrived whole, and fal has seen nothing of it. `answer`: fal has
            answered, and the client has seen nothing of it. `rest`: all of the answer has arrived
            but the last byte.
        instead: What the client gets in place of fal's answer.
        forwarding: Whether fal gets the request at all.
    """

    kind: str
    where: Where
    instead: Reply | None = None
    forwarding: bool = True
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Wait until it has come there."""
        assert self.reached.wait(PATIENCE_SECONDS), f"No {self.kind} came."

    def stop(self, where: Where) -> None:
        """Come there."""
        if where == self.where:
            self.reached.set()
            self.released.wait(PATIENCE_SECONDS)

    def release(self) -> None:
        """Let it go on."""
        self.released.set()

    def wait_until_left(self) -> None:
        """Wait until the client has taken the answer and closed its connection."""
        assert self.left.wait(PATIENCE_SECONDS), "The client stays."


class Gate:
    """A server on loopback before another one.

    Args:
        target: The other one's URL.
    """

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self.target = (str(address.hostname), int(address.port or 80))
        self.requests: list[Received] = []
        self._holds: list[Hold] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.gate = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def count(self, kind: str) -> int:
        """How many requests of a kind came whole."""
        return sum(_is(request, kind) for request in self.requests)

    @contextmanager
    def holding(self, kind: str, where: Where, *, forwarding: bool = True) -> Iterator[Hold]:
        """Hold the next request of a kind, until the end."""
        hold = Hold(kind, where, forwarding=forwarding)
        self._holds.append(hold)
        try:
            yield hold
        finally:
            hold.release()

    def answer_instead(self, reply: Reply, *, forwarding: bool = True) -> None:
        """Answer the next POST in fal's place, whether or not fal gets it too."""
        self._holds.append(Hold("POST", "answer", reply, forwarding))
        self._holds[-1].release()

    def receive(self, request: Received) -> Hold | None:
        """Note a request; how it is to be held, if at all."""
        with self._lock:
            self.requests.append(request)
            for hold in self._holds:
                if _is(request, hold.kind):
                    self._holds.remove(hold)
                    return hold
        return None


def _is(request: Received, kind: str) -> bool:
    return f"{request.method} {request.target}".startswith(kind)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
    gate: Gate


class _Handler(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        # Whoever is killed leaves a broken connection.
        with suppress(OSError):
            request = _read(self.request)
            hold = self.server.gate.receive(request)
            if hold is None:
                self._send(self._ask(request))
            else:
                self._hold(request, hold)

    def _ask(self, request: Received) -> Iterator[bytes]:
        """What fal answers; by closing the connection it says that this is all."""
        raw = KEPT_ALIVE.sub(b"", request.raw, count=1)
        raw = raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        with socket.create_connection(self.server.gate.target) as fal:
            fal.sendall(raw)
            while part := fal.recv(65536):
                yield part

    def _hold(self, request: Received, hold: Hold) -> None:
        hold.stop("request")
        answer = b"".join(self._ask(request)) if hold.forwarding else b""
        hold.stop("answer")
        if hold.instead:
            self._reply(hold.instead)
            return
        self.request.sendall(answer[:-1])
        hold.stop("rest")
        self._send(iter([answer[-1:]]))
        hold.left.set()

    def _send(self, parts: Iterator[bytes]) -> None:
        """Send the last parts of an answer, and wait until the client has taken them."""
        for part in parts:
            self.request.sendall(part)
        self.request.shutdown(socket.SHUT_WR)
        self.request.recv(1)

    def _reply(self, reply: Reply) -> None:
        self.request.sendall(reply.data)
        if reply.ending == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        self.request.close()
