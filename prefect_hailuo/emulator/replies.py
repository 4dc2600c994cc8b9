"""fal's JSON, as its queue sends it."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from prefect_hailuo.emulator.generations import Generation, State
from prefect_hailuo.emulator.model_logs import log_window
from prefect_hailuo.emulator.queue import Simulation


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
    response_url = f"{url}/{generation.endpoint.app}/requests/{generation.request_id}"
    return {
        "status": State.IN_QUEUE.value,
        "request_id": generation.request_id,
        "response_url": response_url,
        "status_url": f"{response_url}/status",
        "cancel_url": f"{response_url}/cancel",
        "logs": None,
        "metrics": {},
        "queue_position": position,
    }


def status_of(
    generation: Generation, queue: Simulation, now: float, *, with_logs: bool
) -> dict[str, Any]:
    """The body of a status reply.

    Args:
        generation: Which to tell about, with everything due having happened to it.
        queue: Where it waits.
        now: The instant, in emulator time.
        with_logs: Whether logs were asked for.
    """
    logs = log_window(generation, now, queue.clock.speed) if with_logs else None
    body: dict[str, Any] = {
        "status": generation.state.value,
        "request_id": generation.request_id,
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
    """What the queue says of a failure: of the model's, no more than its status."""
    if generation.outcome.level == "request":
        return str(generation.outcome.body["detail"])
    return f"Invalid status code: {generation.outcome.status}"


def is_expired(generation: Generation, now: float, kept_seconds: float) -> bool:
    """Whether a result has been dropped."""
    return generation.ended_at is not None and now > generation.ended_at + kept_seconds
