"""Breaking a client's connection for real."""

from __future__ import annotations

import socket
import struct
from asyncio import BaseTransport, Transport
from typing import Any

from starlette.types import Receive, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

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
