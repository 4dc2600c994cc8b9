"""uvicorn, as the emulator needs it: quick to start, quick to stop, its connections breakable."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from os import PathLike

import anyio
import uvicorn
from starlette.types import ASGIApp

from prefect_hailuo.emulator.connection import ExposedConnection

STOP_SECONDS = 5.0
"""For how long the end is waited for."""

_STOP_TICK_SECONDS = 0.005
_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection: none is closed under a request on its way."""


def listen(address: tuple[str, int]) -> socket.socket:
    """A socket that listens.

    Args:
        address: Host and port; port 0 for any free one.

    Raises:
        OSError: The port is taken.
    """
    listener = socket.create_server(address, backlog=_BACKLOG)
    # Connections inherit it. asyncio sets it too, but not for a socket made this way; without it
    # each reply takes 40 ms, for it is written in two parts and the second waits for the first's
    # acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class WebServer(uvicorn.Server):
    """uvicorn, which says when it is ready and loses no time stopping: tests start hundreds of it.

    Args:
        app: What to serve.
        on_stop: Called on the server's loop when the end begins: streams must end by themselves.
        certificate: Path of a PEM certificate; None serves plain http.
        private_key: Path of its PEM private key.

    Raises:
        OSError: The certificate or the key cannot be read.
    """

    def __init__(
        self,
        app: ASGIApp,
        on_stop: Callable[[], None],
        certificate: str | PathLike[str] | None = None,
        private_key: str | PathLike[str] | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=ExposedConnection,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            date_header=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            ssl_certfile=certificate,
            ssl_keyfile=None if private_key is None else str(private_key),
        )
        # Here and not in the thread: a bad certificate is the caller's to hear of.
        config.load()
        super().__init__(config)
        self.ready = threading.Event()
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        await super().startup(sockets=sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn's own looks for it every tenth of a second."""
        await self._ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End as uvicorn does, without its tenth of a second between the steps."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with anyio.move_on_after(STOP_SECONDS / 2):
            # uvicorn has no event to wait for.
            while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110
                await anyio.sleep(_STOP_TICK_SECONDS)
        await self.lifespan.shutdown()

    def stop(self) -> None:
        """Begin the end; from any thread."""
        self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._on_stop()
        self._ended.set()
