"""Which processes talk to an emulator: those that wait for their videos."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psutil  # type: ignore[import-untyped]

from prefect_hailuo.emulator import FalEmulator


def descendants(pid: int) -> list[Any]:
    """All processes that a process has started, and theirs."""
    found: list[Any] = psutil.Process(pid).children(recursive=True)
    return found


def talking_to(emulator: FalEmulator, pid: int) -> set[int]:
    """The descendants of a process that have a connection to an emulator."""
    port = int(emulator.url.rpartition(":")[2])
    return {each.pid for each in descendants(pid) if port in _ports(each)}


def _ports(process: Any) -> set[int]:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return {link.raddr.port for link in process.net_connections() if link.raddr}
    return set()
