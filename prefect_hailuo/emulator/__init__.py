"""A stand-in for fal that anybody can run: fal's protocol, real videos, no money.

    with FalEmulator(speed=50) as emulator:
        credentials = emulator.credentials()

What goes wrong at fal goes wrong here on request, by name:

    emulator.faults.add(drop_after_accepting("submit"))
"""

from prefect_hailuo.emulator.clock import ManualClock
from prefect_hailuo.emulator.emulation import MediaRequest
from prefect_hailuo.emulator.faults import (
    Fault,
    FaultPlan,
    bare_result,
    cut,
    delay,
    drop_after_accepting,
    drop_before_accepting,
    edit,
    expire_file,
    expire_result,
    fail_inside,
    foreign_urls,
    garble,
    go_back_to_queue,
    lose_answer,
    redirect,
    refuse,
    refuse_content,
    refuse_without_credit,
    repeat_webhook,
    stop_when_cancelled,
    time_out,
    wrong_bytes,
)
from prefect_hailuo.emulator.queue import State, Submission
from prefect_hailuo.emulator.server import LOCKED_KEY, FalEmulator, serve
from prefect_hailuo.emulator.storage import Upload
from prefect_hailuo.emulator.webhooks import Delivery
from prefect_hailuo.fal.messages import EMULATOR_KEY

__all__ = [
    "EMULATOR_KEY",
    "LOCKED_KEY",
    "Delivery",
    "FalEmulator",
    "Fault",
    "FaultPlan",
    "ManualClock",
    "MediaRequest",
    "State",
    "Submission",
    "Upload",
    "bare_result",
    "cut",
    "delay",
    "drop_after_accepting",
    "drop_before_accepting",
    "edit",
    "expire_file",
    "expire_result",
    "fail_inside",
    "foreign_urls",
    "garble",
    "go_back_to_queue",
    "lose_answer",
    "redirect",
    "refuse",
    "refuse_content",
    "refuse_without_credit",
    "repeat_webhook",
    "serve",
    "stop_when_cancelled",
    "time_out",
    "wrong_bytes",
]
