"""A PostgreSQL whose word that a transaction was committed is late, or never arrives.

It stands between a process and the server, and passes everything on, but one answer.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

PATIENCE_SECONDS = 60.0


class Withholding(socketserver.ThreadingTCPServer):
    """Withholds the answer to the first COMMIT after a word was sent, until it is released.

    Args:
        url: The database's.
        word: What tells the transaction from others.
        cutting: Whether that connection is closed then, in place of the answer.
    """

    daemon_threads = True

    def __init__(self, url: str, word: bytes, *, cutting: bool) -> None:
        parts = urlsplit(url)
        self.socket_path = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self.word = word
        self.cutting = cutting
        self.committing = threading.Event()
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"postgresql://postgres@127.0.0.1:{self.server_address[1]}{parts.path}"


@contextmanager
def withholding(url: str, word: bytes, *, cutting: bool = False) -> Iterator[Withholding]:
    """Such a server, until the end."""
    with Withholding(url, word, cutting=cutting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


class _Handler(socketserver.BaseRequestHandler):
    server: Withholding
    request: socket.socket

    def handle(self) -> None:
        self.held = False
        with socket.socket(socket.AF_UNIX) as database:
            database.connect(self.server.socket_path)
            back = threading.Thread(target=self._pass_back, args=(database,))
            back.start()
            with suppress(OSError):
                self._pass_on(database)
            with suppress(OSError):
                database.shutdown(socket.SHUT_RDWR)
            back.join()

    def _pass_on(self, database: socket.socket) -> None:
        said = False
        while data := self.request.recv(65536):
            said = said or self.server.word in data
            if said and b"COMMIT" in data and not self.server.committing.is_set():
                self.held = True
                self.server.committing.set()
            database.sendall(data)

    def _pass_back(self, database: socket.socket) -> None:
        with suppress(OSError):
            while data := database.recv(65536):
                if self.held and self.server.cutting:
                    self.request.shutdown(socket.SHUT_RDWR)
                if self.held:
                    self.server.released.wait(PATIENCE_SECONDS)
                self.request.sendall(data)
            self.request.shutdown(socket.SHUT_RDWR)
