"""Emulators for the tests that look into no picture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from file_server import smallest_video

from prefect_hailuo.emulator import FalEmulator


@pytest.fixture
def tiny() -> Iterator[FalEmulator]:
    """An emulator of tiny videos, made at once, that hold no pictures."""
    with FalEmulator(speed=1000, clip=smallest_video(), durations=10) as started:
        yield started


@pytest.fixture
def fal() -> Iterator[FalEmulator]:
    """The same, as one that plays fal itself."""
    with FalEmulator(speed=1000, clip=smallest_video(), durations=10, realm="fal") as started:
        yield started
