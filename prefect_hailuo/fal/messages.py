"""What fal's queue says and is told, as types.

Every reply is parsed into one of these. Unknown fields are passed over, for fal
adds some now and then; missing or wrong ones are errors.
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
"""The API key that every emulator accepts: worthless, and recognisable in a log."""

EMULATOR_PORT = 8017
"""Where `prefect-hailuo emulator` listens unless it is told otherwise."""

WEBHOOK_PORT = 8018
"""Where `prefect-hailuo webhooks` listens unless it is told otherwise."""

EMULATOR_SPEED = 30.0
"""How fast its time goes, unless it is told otherwise: a model's minutes pass in seconds."""

EMULATOR_HEADER = "X-Fal-Emulator"
"""The header that marks every reply of the emulator; its value names the one that answered."""

EMULATOR_PREFIX = "emulator-"
"""How every request id of the emulator begins; the emulator's own name follows."""


class Message(BaseModel):
    """The base of all messages: a value, which tolerates what fal may add."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _whole_or_none(given: object) -> int | None:
    return given if isinstance(given, int) else None


class Accepted(Message):
    """fal's answer to a submission."""

    request_id: str = Field(min_length=1)
    status_url: str | None = None
    response_url: str | None = None
    cancel_url: str | None = None
    # It only helps to wait: a paid answer is not refused over it.
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
    """The model works on it. It may go back to the queue when fal retries."""

    status: Literal["IN_PROGRESS"] = "IN_PROGRESS"
    logs: list[LogLine] | None = None


class Completed(Message):
    """It is over: with a result, an error or a cancellation, which the result tells."""

    status: Literal["COMPLETED"] = "COMPLETED"
    logs: list[LogLine] | None = None
    metrics: dict[str, Any] | None = None
    error: str | None = None
    error_type: str | None = None

    @property
    def inference_seconds(self) -> float | None:
        """How long the model worked, if fal said so."""
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
        billable_units: What fal charges for, as it said it.
    """

    output: Output
    request_id: str | None
    billable_units: str | None


class Cancellation(str, Enum):
    """What fal said to a cancellation.

    `REMOVED`: taken from the queue, nothing ran. `REQUESTED`: the model was asked to stop and may
    complete all the same. `TOO_LATE`: it had completed. `UNKNOWN_REQUEST`: fal knows no such one.
    """

    REMOVED = "OK"
    REQUESTED = "CANCELLATION_REQUESTED"
    TOO_LATE = "ALREADY_COMPLETED"
    UNKNOWN_REQUEST = "NOT_FOUND"

    __str__ = str.__str__


class CancelReply(Message):
    """fal's answer to a cancellation."""

    status: Cancellation
