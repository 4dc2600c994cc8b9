"""A Prefect server in processes of its own, and the CPU time that they take."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

SETTINGS: Mapping[str, str] = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
"""All that differs from a Prefect server as it comes: nobody is told of the benchmark."""

START_SECONDS = 120.0
QUIET_SHARE = 0.1
LOOK_SECONDS = 0.5
MOST_LOOKS = 240


@dataclass(frozen=True)
class PrefectServer:
    """A server that runs.

    Args:
        api_url: Its API.
        session: Of the processes that it consists of; None for somebody else's server.
    """

    api_url: str
    session: int | None = None

    def cpu_seconds(self) -> float | None:
        """What its processes have used so far; None where that cannot be told."""
        if self.session is None or not Path("/proc/self/stat").exists():
            return None
        return sum(_cpu_seconds(path, self.session) for path in Path("/proc").glob("[0-9]*/stat"))

    def settle(self) -> None:
        """Wait until it has worked off what it was sent."""
        before = self.cpu_seconds()
        for _ in range(MOST_LOOKS):
            if before is None:
                return
            time.sleep(LOOK_SECONDS)
            now = self.cpu_seconds() or 0.0
            if now - before < QUIET_SHARE * LOOK_SECONDS:
                return
            before = now


@contextmanager
def prefect_server(folder: Path, environment: Mapping[str, str]) -> Iterator[PrefectServer]:
    """Start a server with an empty SQLite database, and end it.

    Args:
        folder: Where its database goes, and what it prints.
        environment: Of its process.
    """
    port = _free_port()
    address = ["--host", "127.0.0.1", "--port", str(port)]
    home = {"PREFECT_HOME": str(folder / "prefect-server"), **SETTINGS}
    with (folder / "prefect-server.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", *address],
            env={**environment, **home},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        api_url = f"http://127.0.0.1:{port}/api"
        _wait_for(f"{api_url}/health", child)
        yield PrefectServer(api_url, child.pid)
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _cpu_seconds(stat: Path, session: int) -> float:
    """Of one process, and of its children that are gone, if it is of that session."""
    try:
        # The name in the second field may hold blanks, but nothing after its last bracket does.
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return 0.0
    if int(fields[3]) != session:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _wait_for(url: str, child: subprocess.Popen[bytes]) -> None:
    directly = build_opener(ProxyHandler({}))
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and child.poll() is None:
        with suppress(URLError, OSError), directly.open(url, timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"The Prefect server did not start within {START_SECONDS:g} s.")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
