"""An emulator whose clock stands still until a test advances it, and a client of it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from prefect_hailuo.emulator import FalEmulator, ManualClock

from .asking import Asking
from .certificates import Certificate, make_certificate


@pytest.fixture
def clock() -> ManualClock:
    """Time, in the test's hands."""
    return ManualClock()


@pytest.fixture
def emulator(clock: ManualClock) -> Iterator[FalEmulator]:
    """Two runners; a generation takes 100 s of emulator time."""
    with FalEmulator(clock=clock, durations=100, clip="plain") as emulator:
        yield emulator


@pytest.fixture
def fal(emulator: FalEmulator) -> Iterator[Asking]:
    """A client with a good key."""
    asking = Asking(emulator)
    with asking.http:
        yield asking


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1, and for the hosts that fal's examples name."""
    folder: Path = tmp_path_factory.mktemp("certificate")
    names = ("localhost", "fal.run", "queue.fal.run", "rest.fal.ai", "v3.fal.media")
    return make_certificate(folder, names)


@pytest.fixture
def tls_emulator(certificate: Certificate) -> Iterator[FalEmulator]:
    """An emulator that serves https; a generation takes a second of the machine's time."""
    with FalEmulator(durations=1, clip="plain", **certificate._asdict()) as emulator:
        yield emulator


@pytest.fixture
def trust(tls_emulator: FalEmulator, certificate: Certificate) -> Iterator[httpx.Client]:
    """A client that trusts its certificate, with a good key."""
    context = ssl.create_default_context(cafile=certificate.certificate)
    headers = {"Authorization": f"Key {tls_emulator.api_key}"}
    with httpx.Client(base_url=tls_emulator.url, verify=context, headers=headers) as client:
        yield client
