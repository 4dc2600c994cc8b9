"""A stand-in for fal that anybody can run: the same protocol, real videos, no money.

with FalEmulator(speed=50) as emulator:
    credentials = emulator.credentials()
"""

from prefect_hailuo.emulator.clock import ManualClock
from prefect_hailuo.emulator.faults import Fault, FaultPlan
from prefect_hailuo.emulator.server import EMULATOR_KEY, LOCKED_KEY, FalEmulator

__all__ = [
    "EMULATOR_KEY",
    "LOCKED_KEY",
    "FalEmulator",
    "Fault",
    "FaultPlan",
    "ManualClock",
]
