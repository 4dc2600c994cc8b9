"""What fal answers: a request's status and its stream of events, the model's log, the result."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
from starlette.responses import Response

from prefect_hailuo.emulator.clock import Alarm
from prefect_hailuo.emulator.queue import Generation, Simulation, State
from prefect_hailuo.fal.messages import EMULATOR_PREFIX

if TYPE_CHECKING:
    from prefect_hailuo.emulator.emulation import Emulation

LOG_WINDOW = 5
"""How many lines of the log are shown: fal shows the last ones only."""

COMMENT_SECONDS = 15.0
"""By fal's documentation: after how much silence a stream says a comment. The machine's time."""

VIDEO_FILE_NAME = "output.mp4"

SEED_BASE = 2_128_986_866
"""About as large as the seeds that fal chooses."""

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
"""The lines of the log, each with the share of the work after which it is written."""

_POSITION_SECONDS = 1.0

_SHORTEST_NAP_SECONDS = 0.2


class JSON(Response):
    """A JSON reply that also carries what UTF-8 cannot, such as the half of a surrogate pair."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status_code: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:
        """The body, in ASCII."""
        return as_json(content)


def as_json(content: Any) -> bytes:
    """JSON in ASCII, without blanks."""
    return json.dumps(content, separators=(",", ":")).encode("ascii")


def not_found() -> JSON:
    """fal's answer about a request that it does not know."""
    return JSON({"status": "NOT_FOUND"}, 404)


def accepted(generation: Generation, position: int, url: str) -> dict[str, Any]:
    """The answer to a submission.

    Args:
        generation: What was accepted.
        position: How many wait before it.
        url: The queue's.
    """
    return {
        "status": State.IN_QUEUE.value,
        "request_id": generation.request_id,
        **_links(generation, url),
        "logs": None,
        "metrics": {},
        "queue_position": position,
    }


def _links(generation: Generation, url: str) -> dict[str, str]:
    response_url = f"{url}/{generation.endpoint.app}/requests/{generation.request_id}"
    return {
        "response_url": response_url,
        "status_url": f"{response_url}/status",
        "cancel_url": f"{response_url}/cancel",
    }


def status_of(
    generation: Generation, queue: Simulation, now: float, url: str, *, with_logs: bool
) -> dict[str, Any]:
    """The body of a status reply.

    Args:
        generation: Which to tell about, with everything due having happened to it.
        queue: Where it waits.
        now: The instant, in emulator time.
        url: The queue's.
        with_logs: Whether logs were asked for.
    """
    logs = log_window(generation, now, queue.clock.speed) if with_logs else None
    body: dict[str, Any] = {
        "status": generation.state.value,
        "request_id": generation.request_id,
        **_links(generation, url),
        "logs": logs,
        "metrics": {},
    }
    if generation.state is State.IN_QUEUE:
        body["queue_position"] = queue.position(generation)
    if generation.state is State.COMPLETED:
        body.update(_end_of(generation))
    return body


def _end_of(generation: Generation) -> dict[str, Any]:
    worked = generation.worked_seconds()
    end: dict[str, Any] = {"metrics": {} if worked is None else {"inference_time": worked}}
    if not generation.outcome.is_video:
        end["error"] = error_text(generation)
        end["error_type"] = generation.outcome.error_type
    return end


def error_text(generation: Generation) -> str:
    """The queue's words for a failure. For one of the model, they name the status only."""
    if generation.outcome.level == "request":
        return str(generation.outcome.body["detail"])
    return f"Invalid status code: {generation.outcome.status}"


def is_expired(generation: Generation, now: float, kept_seconds: float) -> bool:
    """Whether a result has been dropped."""
    return generation.ended_at is not None and now > generation.ended_at + kept_seconds


async def result_of(generation: Generation, emulation: Emulation) -> Response:
    """The model's answer to a request that is completed.

    Raises:
        MissingExtraError: The video has to be drawn, and PyAV or Pillow is not installed.
    """
    outcome = generation.outcome
    body = await video_output(generation, emulation) if outcome.is_video else outcome.body
    headers = {
        "x-fal-request-id": generation.request_id,
        "x-fal-billable-units": f"{generation.billable_units:f}",
    }
    return JSON(body, outcome.status, {**headers, **outcome.headers()})


async def video_output(generation: Generation, emulation: Emulation) -> dict[str, Any]:
    """The output of a generation that went well."""
    size = len(await emulation.video(generation))
    video = {
        "url": video_url(generation, emulation.public_url),
        "content_type": "video/mp4",
        "file_name": VIDEO_FILE_NAME,
        "file_size": size,
    }
    extra = {name: _output_field(name, generation) for name in generation.endpoint.output_fields}
    return {"video": video, **extra}


def _output_field(name: str, generation: Generation) -> Any:
    """What Hailuo 3 tells besides the video."""
    body = generation.body
    if name == "seed":
        given = body.get("seed")
        return SEED_BASE + generation.number if given is None else given
    if name == "timings":
        return {"inference": generation.worked_seconds()}
    if body.get("prompt_expansion_mode") == "disabled":
        return None
    return f"{generation.prompt} (expanded by the emulator)"


def video_url(generation: Generation, url: str) -> str:
    """Where a generation's video is."""
    return f"{url}/files/{generation.request_id}/{VIDEO_FILE_NAME}"


async def wait_until_completed(generation: Generation, emulation: Emulation) -> bool:
    """Return once a generation is over, or, with False, when the emulator ends before that."""
    with news_of(generation, emulation) as alarm:
        while not emulation.alarms.stopped:
            emulation.queue.settle()
            if generation.state is State.COMPLETED:
                return True
            await alarm.sleep()
    return False


async def status_events(
    generation: Generation, emulation: Emulation, with_logs: bool
) -> AsyncIterator[bytes]:
    """The frames of a status stream: each change as it comes, the last one when it is over."""
    told, url = b"", emulation.queue_url
    with news_of(generation, emulation) as alarm:
        while not emulation.alarms.stopped:
            now = emulation.queue.settle()
            state = generation.state
            seen = status_of(generation, emulation.queue, now, url, with_logs=with_logs)
            body = as_json(seen)
            if body != told:
                yield b"data: " + body + b"\n\n"
                told = body
            if state is State.COMPLETED:
                return
            if not await _sleep(alarm, _next_look(generation, emulation, now, with_logs)):
                yield b": ping\n\n"


@contextmanager
def news_of(generation: Generation, emulation: Emulation) -> Iterator[Alarm]:
    """An alarm that rings whenever something happens to a generation."""
    with emulation.alarms.new() as alarm:
        generation.alarms.add(alarm)
        try:
            yield alarm
        finally:
            generation.alarms.discard(alarm)


async def _sleep(alarm: Alarm, until: float | None) -> bool:
    with anyio.move_on_after(COMMENT_SECONDS) as silence:
        await alarm.sleep(until)
    return not silence.cancelled_caught


def _next_look(
    generation: Generation, emulation: Emulation, now: float, with_logs: bool
) -> float | None:
    if generation.state is State.IN_QUEUE:
        return now + max(_POSITION_SECONDS, _SHORTEST_NAP_SECONDS * emulation.clock.speed)
    return next_line_at(generation, now) if with_logs else None


def log_window(generation: Generation, now: float, speed: float) -> list[dict[str, Any]]:
    """The lines of the log that fal would show now: the last few."""
    if generation.started_at is None:
        return []
    said = [line for line in _schedule(generation) if line[0] <= _end(generation, now)]
    return [_line(generation, instant, text, speed) for instant, text in said[-LOG_WINDOW:]]


def next_line_at(generation: Generation, now: float) -> float | None:
    """When the next line of the log is written; None if there is none to come."""
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
