"""Refuses every connection that leaves this machine.

The tests' own process imports it, and every Python that they start finds it on its path: no test
can reach fal, whatever goes wrong in it.
"""

import ipaddress
import sys
from typing import Any

LOCAL_NAMES = {"", "localhost", "0.0.0.0", "::"}  # noqa: S104 - these are listened on, not called


def _is_local(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or name in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(str(name).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse_to_leave(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not _is_local(host):
        raise ConnectionRefusedError(f"A test tried to reach {host!r}; only loopback is allowed.")


sys.addaudithook(_refuse_to_leave)
