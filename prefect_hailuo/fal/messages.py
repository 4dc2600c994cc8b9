"""The statuses, results and other messages of fal's queue, as types: new status words go here.

Every reply is parsed into one of these. fal adds fields now and then: unknown fields are ignored.
Only a status, a request's id and a file's address are required; any other field that is malformed
counts as left out, because no paid video may be lost over it.
Source: https://docs.fal.ai and recorded replies.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

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


T = TypeVar("T")

LONGEST_REQUEST_ID = 512
"""Characters of a request id, at most; fal's have 36. A longer one fits into no address."""

RequestId = Annotated[str, Field(min_length=1, max_length=LONGEST_REQUEST_ID)]


def _or_none(given: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(given)
    except ValidationError:
        return None


Lenient = Annotated[T | None, WrapValidator(_or_none)]
"""A field that is useful and not required: of another type, it counts as left out."""


class Accepted(Message):
    """fal's answer to a submission."""

    request_id: RequestId
    status_url: Lenient[str] = None
    response_url: Lenient[str] = None
    cancel_url: Lenient[str] = None
    queue_position: Lenient[int] = None


LARGEST = sys.float_info.max


def storable_json(given: Any) -> Any:
    """JSON as every database takes it: without halves of characters, and numbers that are none.

    Example:
        >>> storable_json({"a": ["b" + chr(0xD83E), float("nan"), 10**400, 0.5]})
        {'a': ['b?', None, None, 0.5]}
    """
    if isinstance(given, str):
        return given.encode(errors="replace").decode()
    if isinstance(given, int | float) and not -LARGEST <= given <= LARGEST:
        return None
    if isinstance(given, dict):
        return {storable_json(name): storable_json(each) for name, each in given.items()}
    return [storable_json(each) for each in given] if isinstance(given, list) else given


class LogLine(Message):
    """One line of a model's log."""

    message: str
    level: Lenient[str] = None
    source: Lenient[str] = None
    timestamp: Lenient[str] = None


def _lines(given: Any) -> list[Any] | None:
    """The lines that can be read: fal documents a list of objects, an object, and nothing."""
    if not isinstance(given, list):
        return None
    return [each for each in given if isinstance(each, LogLine) or _has_message(each)]


def _has_message(line: Any) -> bool:
    return isinstance(line, dict) and isinstance(line.get("message"), str)


def _text(given: Any) -> str | None:
    """What fal says is wrong, in whatever shape; nothing, if that is empty or false."""
    return given if isinstance(given, str) else str(given) if given else None


Logs = Annotated[list[LogLine] | None, BeforeValidator(_lines)]


class InQueue(Message):
    """The request waits for its turn; `queue_position` counts those before it."""

    status: Literal["IN_QUEUE"] = "IN_QUEUE"
    queue_position: Lenient[int] = None
    logs: Logs = None


class InProgress(Message):
    """The model works on it. If fal retries, it goes back to the queue.

    An unknown status word is taken for this, because the request is not over. `word` is that word.
    """

    status: Literal["IN_PROGRESS"] = "IN_PROGRESS"
    logs: Logs = None
    word: Lenient[str] = None


class Completed(Message):
    """It is over. The result tells whether it succeeded, failed or was cancelled."""

    status: Literal["COMPLETED"] = "COMPLETED"
    logs: Logs = None
    metrics: Annotated[Lenient[dict[str, Any]], BeforeValidator(storable_json)] = None
    error: Annotated[str | None, BeforeValidator(_text)] = None
    error_type: Lenient[str] = None

    @property
    def inference_seconds(self) -> float | None:
        """How long the model worked; None if fal did not say."""
        seconds = (self.metrics or {}).get("inference_time")
        return float(seconds) if isinstance(seconds, int | float) else None


Status = InQueue | InProgress | Completed

WORD = re.compile("[A-Za-z_ -]{1,40}")
"""What an unknown status may look like, so that it is no secret that a server repeats."""

STATUS_WORDS = ("IN_QUEUE", "IN_PROGRESS", "COMPLETED")


def _in_known_words(given: Any) -> Any:
    word = given.get("status") if isinstance(given, dict) else None
    if not isinstance(word, str) or word in STATUS_WORDS or not WORD.fullmatch(word):
        return given
    return {**given, "status": "IN_PROGRESS", "word": word}


STATUS: TypeAdapter[Status] = TypeAdapter(
    Annotated[Status, Field(discriminator="status"), BeforeValidator(_in_known_words)]
)


def _without_password(url: str) -> str:
    """A link as it may be kept: with asterisks for a user name and password, if it has them.

    Example:
        >>> File(url="https://fox:red@v3.fal.media/fox.mp4").url
        'https://***@v3.fal.media/fox.mp4'
    """
    return re.sub(r"^([^/?#]*//)[^/?#]*@", r"\1***@", url)


class File(Message):
    """A file that fal serves; only its URL is certain."""

    url: Annotated[str, AfterValidator(_without_password)] = Field(min_length=1)
    content_type: Lenient[str] = None
    file_name: Lenient[str] = None
    file_size: Lenient[int] = None


class Output(Message):
    """The result of every Hailuo endpoint. What else fal tells is kept as it is."""

    model_config = ConfigDict(extra="allow")

    video: File

    @property
    def told(self) -> dict[str, Any]:
        """What fal told besides the file, such as `seed` and `expanded_prompt`."""
        return dict(self.model_extra or {})


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
