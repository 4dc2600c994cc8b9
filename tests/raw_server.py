"""What the tests of fal's client share: servers that answer byte for byte, and a hurried clock.

The emulator plays fal, and what is known to go wrong there. `RawServer` plays everything else: it
reads one request a connection, sends the bytes that it was given, and ends the connection.
"""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import anyio.lowlevel
from pydantic import SecretStr
from typing_extensions import Self

from prefect_hailuo.fal.hosts import Access, Hosts
from prefect_hailuo.ticket import Realm, Ticket

KEY = "11112222-3333-4444-5555-666677778888:5ec4e75ec4e75ec4e75ec4e75ec4e75e"
"""A key like fal's: an id, which is no secret, and a secret."""

SECRET = KEY.partition(":")[2]

ENDPOINT = "fal-ai/minimax/hailuo-02/pro/text-to-video"
BODY = {"prompt": "A red fox crosses a snowy field.", "prompt_optimizer": True}
TICKET = Ticket(endpoint=ENDPOINT, request_id="r1")

HTML = b"<html><body><h1>Bad Gateway</h1></body></html>"

_NO_LINGERING = struct.pack("ii", 1, 0)
_TRICKLE_SECONDS = 0.02
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Reply:
    """What a client gets to its request.

    Args:
        data: The bytes, head and all.
        ending: What follows: an orderly end, a reset, silence, or a blank now and then for ever.
            `slam`: the connection is closed before the request is read.
    """

    data: bytes = b""
    ending: Literal["close", "reset", "hang", "trickle", "slam"] = "close"

    def cut(self, *, by: int) -> Reply:
        """The same, without its last bytes."""
        return Reply(self.data[:-by], self.ending)


@dataclass(frozen=True)
class Received:
    """A request that a server saw."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    raw: bytes


def answer(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
    """A well-formed answer; a body that is not bytes is sent as JSON."""
    given = {} if isinstance(body, bytes) else {"Content-Type": "application/json"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {**given, "Content-Length": str(len(content)), "Connection": "close"}
    return Reply(_head(status, {**fields, **(headers or {})}) + content)


def events(*frames: str, whole: bool = True, kind: str = "text/event-stream") -> Reply:
    """A stream of server-sent events; `whole` says whether it ends as HTTP wants it to."""
    fields = {"Content-Type": kind, "Transfer-Encoding": "chunked", "Connection": "close"}
    chunks = [b"%x\r\n%s\r\n" % (len(each), each) for each in (f.encode() for f in frames)]
    return Reply(_head(200, fields) + b"".join(chunks) + (b"0\r\n\r\n" if whole else b""))


def event(status: dict[str, Any]) -> str:
    """One event, as fal sends it."""
    return f"data: {json.dumps(status)}\n\n"


def _head(status: int, fields: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {fields[name]}" for name in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class RawServer:
    """A server on loopback that gives these replies in turn, the last one again and again.

    Args:
        replies: What to send.
        host: Where to listen.

    Raises:
        OSError: This machine has no such address.
    """

    def __init__(self, *replies: Reply, host: str = "127.0.0.1") -> None:
        self._replies = list(replies) or [answer(200, {})]
        self._lock = threading.Lock()
        self.stopped = threading.Event()
        self.requests: list[Received] = []
        self.connections = 0
        self._server = (_Server6 if ":" in host else _Server)((host, 0), _Handler)
        self._server.owner = self
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
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    @property
    def methods(self) -> list[str]:
        """The methods of the requests that it saw."""
        return [request.method for request in self.requests]

    def access(self, realm: Realm = "fal", key: str = KEY) -> Access:
        """A key, and this server as its only host."""
        return access_to(self.url, realm, key)

    def next_reply(self) -> Reply:
        """What the connection that has just come gets."""
        with self._lock:
            self.connections += 1
            return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


def access_to(url: str, realm: Realm = "fal", key: str = KEY) -> Access:
    """A key, and one server as all of fal's hosts."""
    return Access(
        SecretStr(key), Hosts(url, f"{url}/run", f"{url}/rest", f"{url}/platform/v1"), realm
    )


class _Server(socketserver.ThreadingTCPServer):
    owner: RawServer


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        owner = self.server.owner
        reply = owner.next_reply()
        if reply.ending == "slam":
            return
        self.request.settimeout(_PATIENCE_SECONDS)
        try:
            owner.requests.append(_read(self.request))
            self.request.sendall(reply.data)
            self._end(reply, owner.stopped)
        except OSError:  # the client has gone
            return

    def _end(self, reply: Reply, stopped: threading.Event) -> None:
        if reply.ending == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
            self.request.close()
        elif reply.ending == "hang":
            stopped.wait(_PATIENCE_SECONDS)
        elif reply.ending == "trickle":
            while not stopped.wait(_TRICKLE_SECONDS):
                self.request.sendall(b" ")


def _read(connection: socket.socket) -> Received:
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += _more(connection)
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        more = _more(connection)
        raw, body = raw + more, body + more
    return Received(method, target, headers, body, raw)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionAbortedError
    return data


@contextmanager
def closed_port() -> Iterator[str]:
    """The address of a port at which nobody listens, and which nobody else is given meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


MOST_SLEEPS = 2000


class HurriedClock:
    """A clock on which all waiting is over at once; it remembers what was slept."""

    def __init__(self) -> None:
        self.moment = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        """Seconds that were slept so far."""
        return self.moment

    async def sleep(self, seconds: float) -> None:
        """Let seconds pass at once."""
        self.slept.append(seconds)
        assert len(self.slept) < MOST_SLEEPS, "It goes on and on."
        self.moment += seconds
        await anyio.lowlevel.checkpoint()
