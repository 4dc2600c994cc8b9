"""The served deployment as a fixture: one for all tests that need it, as a plugin of theirs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployments import Served, running, until
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from prefect_hailuo import FalCredentials
from prefect_hailuo.emulator import FalEmulator, ManualClock


@pytest.fixture(scope="session")
def served(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The flows, served: about five seconds until they are."""
    folder = tmp_path_factory.mktemp("served")
    clock = ManualClock()
    with (
        FalEmulator(clock=clock, clip="plain") as emulator,
        get_client(sync_client=True, httpx_settings={"timeout": 30.0}) as client,
    ):
        environment = {
            **os.environ,
            "PREFECT_API_URL": PREFECT_API_URL.value() or "",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}",
            "PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL": emulator.url,
        }
        command = [sys.executable, str(Path(__file__).with_name("served_flows.py"))]
        with running(command, environment, folder / "served.log"):
            found = Served(client, emulator, clock, folder, environment)
            until("the last deployment is there", lambda: _is_deployed(client, "called/healed"))
            yield found


@pytest.fixture
def same_ledger(served: Served, monkeypatch: pytest.MonkeyPatch) -> FalCredentials:
    """Lets this process buy as the served ones do; returns its credentials."""
    for name in ("LEDGER_URL", "EMULATOR_URL"):
        full = f"PREFECT_INTEGRATIONS_HAILUO_{name}"
        monkeypatch.setenv(full, served.environment[full])
    return served.emulator.credentials()


def _is_deployed(client: SyncPrefectClient, name: str) -> bool:
    try:
        return client.read_deployment_by_name(name) is not None
    except ObjectNotFound:
        return False
