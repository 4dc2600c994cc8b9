"""Prefect's test server.

A plugin that `conftest.py` loads.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    temporary_settings,
)

SETTINGS = {
    # The heartbeat's thread makes each synchronous flow take a second longer.
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
    # Tasks that run outside of a flow are Prefect's business, and no news.
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",
}


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One real Prefect server for all tests of this process that need one."""
    # It loads the whole of Prefect's server, which takes seconds and is not always needed.
    from prefect.testing import utilities

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utilities, "_find_available_port", free_port)
        # Events can be asked for once they are stored, which by default takes five seconds.
        patch.setenv("PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL", "0.3")
        harness = utilities.prefect_test_harness(server_startup_timeout=120)
        with harness, temporary_settings(SETTINGS):
            yield


def free_port() -> int:
    """A port that stays free while a server starts, which takes Prefect's some seconds.

    It is below those that the system hands out: of them the other processes' tests take many.
    """
    while True:
        port = random.randrange(10_000, 30_000)  # noqa: S311 - no secret
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
