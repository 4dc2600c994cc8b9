"""The statuses, results and other messages of fal's queue, as types: new status words go here.

Every reply is parsed into one of these. fal adds fields now and then: unknown fields are ignored.
Missing or wrong ones are errors.
Source: https://docs.fal.ai and recorded replies.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

# In the first release these two were here, and persisted results name them so.
from prefect_hailuo.ticket import Realm as Realm
from prefect_hailuo.ticket import Ticket as Ticket

EMULATOR_KEY = "emulator:no-real-key"
"""The API key that every emulator accepts: worthless, and easy to recognise in a log."""

EMULATOR_PORT = 8017
"""The port of `prefect-hailuo emulator` unless it is told otherwise."""

WEBHOOK_PORT = 8018
"""The port of `prefect-hailuo webhooks` unless it is told otherwise."""

EMULATOR_SPEED = 30.0
"""How fast the emulator's time goes unless it is told otherwise: minutes pass in seconds."""

EMULATOR_HEADER = "X-Fal-Emulator"
"""The header that marks every reply of an emulator; its value is the emulator's name."""

EMULATOR_PREFIX = "emulator-"
"""How every request id of an emulator begins; the emulator's name follows."""


class Message(BaseModel):
    """The base of all messages: a value that ignores fields that fal may add."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _whole_or_none(given: object) -> int | None:
    return given if isinstance(given, int) else None


class Accepted(Message):
    """fal's answer to a submission."""

    request_id: str = Field(min_length=1)
    status_url: str | None = None
    response_url: str | None = None
    cancel_url: str | None = None
    # It only helps with waiting: a wrong one is no reason to refuse a paid answer.
    queue_position: Annotated[int | None, BeforeValidator(_whole_or_none)] = None


class LogLine(Message):
    """One line of a model's log."""

    message: str
    level: str | None = None
    source: str | None = None
    timestamp: str | None = None


class InQueue(Message):
    """The request waits for its turn; `queue_position` counts those before it."""

    status: Literal["IN_QUEUE"] = "IN_QUEUE"
    queue_position: int | None = None
    logs: list[LogLine] | None = None


class InProgress(Message):
    """The model works on it. If fal retries, it goes back to the queue."""

    status: Literal["IN_PROGRESS"] = "IN_PROGRESS"
    logs: list[LogLine] | None = None


class Completed(Message):
    """It is over. The result tells whether it succeeded, failed or was cancelled."""

    status: Literal["COMPLETED"] = "COMPLETED"
    logs: list[LogLine] | None = None
    metrics: dict[str, Any] | None = None
    error: str | None = None
    error_type: str | None = None

    @property
    def inference_seconds(self) -> float | None:
        """How long the model worked; None if fal did not say."""
        seconds = (self.metrics or {}).get("inference_time")
        return float(seconds) if isinstance(seconds, int | float) else None


Status = InQueue | InProgress | Completed

STATUS: TypeAdapter[Status] = TypeAdapter(Annotated[Status, Field(discriminator="status")])


class File(Message):
    """A file that fal serves; only its URL is certain."""

    url: str = Field(min_length=1)
    content_type: str | None = None
    file_name: str | None = None
    file_size: int | None = None


class Output(Message):
    """The result of every Hailuo endpoint."""

    video: File


@dataclass(frozen=True)
class SynchronousReply:
    """The answer to a synchronous call.

    Args:
        output: The result.
        request_id: fal's id of the request, if it named it.
        billable_units: How many units fal charges for, as fal wrote it.
    """

    output: Output
    request_id: str | None
    billable_units: str | None


class Cancellation(str, Enum):
    """What fal said to a cancellation.

    `REMOVED`: taken from the queue; nothing ran. `REQUESTED`: the model was asked to stop and may
    still complete. `TOO_LATE`: it had completed. `UNKNOWN_REQUEST`: fal has no such request.
    """

    REMOVED = "OK"
    REQUESTED = "CANCELLATION_REQUESTED"
    TOO_LATE = "ALREADY_COMPLETED"
    UNKNOWN_REQUEST = "NOT_FOUND"

    __str__ = str.__str__


class CancelReply(Message):
    """fal's answer to a cancellation."""

    status: Cancellation
