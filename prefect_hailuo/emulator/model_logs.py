"""What the model says while it works."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect_hailuo.emulator.generations import Generation, State
from prefect_hailuo.fal.messages import EMULATOR_PREFIX

LOG_WINDOW = 5
"""fal shows a moving window of the log; how many lines fit into it here."""

_MARK = "Made by the emulator of prefect_hailuo: no model is asked, nothing is charged"
_LINES = (
    (0.02, "Loading the model"),
    (0.10, "Reading the prompt"),
    (0.20, "Generating:  20%"),
    (0.40, "Generating:  40%"),
    (0.60, "Generating:  60%"),
    (0.80, "Generating:  80%"),
    (0.90, "Generating: 100%"),
    (0.95, "Encoding the video"),
)
"""When, as a share of the work, a line is said."""


def log_window(generation: Generation, now: float, speed: float) -> list[dict[str, Any]]:
    """The lines that fal would show now: the last few of those that were said."""
    if generation.started_at is None:
        return []
    said = [line for line in _schedule(generation) if line[0] <= _end(generation, now)]
    return [_line(generation, instant, text, speed) for instant, text in said[-LOG_WINDOW:]]


def next_line_at(generation: Generation, now: float) -> float | None:
    """The instant of the next line to come, if the model works and has more to say."""
    if generation.state is not State.IN_PROGRESS:
        return None
    return next((instant for instant, _ in _schedule(generation) if instant > now), None)


def _schedule(generation: Generation) -> list[tuple[float, str]]:
    started = generation.started_at or 0.0
    lines = [(started + share * generation.duration, text) for share, text in _LINES]
    return [(started, _MARK), *lines] if _is_marked(generation) else lines


def _is_marked(generation: Generation) -> bool:
    return generation.request_id.startswith(EMULATOR_PREFIX)


def _end(generation: Generation, now: float) -> float:
    return now if generation.ended_at is None else generation.ended_at


def _line(generation: Generation, instant: float, text: str, speed: float) -> dict[str, Any]:
    said = generation.sent_at + timedelta(seconds=(instant - generation.submitted_at) / speed)
    timestamp = said.isoformat().replace("+00:00", "Z")
    return {"message": text, "level": "INFO", "source": "USER", "timestamp": timestamp}
