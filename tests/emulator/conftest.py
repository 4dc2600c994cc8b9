"""An emulator whose clock stands still until a test advances it, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prefect_hailuo.emulator import FalEmulator, ManualClock

from .asking import Asking


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
