"""The way to a server on this machine, which can be cut and mended."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType

from typing_extensions import Self


class Cable:
    """Leads to a server, from an address of its own, at which nobody listens while it is cut.

    Args:
        is_cut: Whether it is cut from the beginning.

    Attributes:
        port: The server's; to be set before anybody connects.
    """

    def __init__(self, *, is_cut: bool = False) -> None:
        self.port = 0
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._listener = self._listen(("127.0.0.1", 0))
        self._address: tuple[str, int] = self._listener.getsockname()
        if is_cut:
            self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self._address[0]}:{self._address[1]}"

    def cut(self) -> None:
        """Break every connection off, and take no more."""
        with self._lock:
            _end(self._listener)
            for each in self._ends:
                _end(each)
            self._ends.clear()

    def mend(self) -> None:
        """Take connections again."""
        self._listener = self._listen(self._address)

    def _listen(self, address: tuple[str, int]) -> socket.socket:
        listener = socket.create_server(address, backlog=512)
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                return
            with self._lock:
                self._ends += [near, far]
            for ways in ((near, far), (far, near)):
                threading.Thread(target=_hand_on, args=ways, daemon=True).start()


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(1 << 16):
            target.sendall(received)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
