"""How a generation ends: with a video, or with one of fal's errors.

fal judges an input by the endpoint's JSON schema alone, and so does the emulator. The package's
input classes are stricter in places, and looser in others: they refuse a blank prompt, and take a
number as duration or a path as picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, Field, Strict, ValidationError, create_model

from prefect_hailuo.models.catalogue import VideoInput

UNKNOWN_KEYS_ARE_IGNORED = True
"""Whether the model passes over keys that are not in its schema. Reports about fal disagree. This
is the reading that may cost money: the video is made and billed without the setting."""

TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "object": dict[str, Any],
    "null": None,
}
"""By the name that a JSON schema has for a type."""

LIMITS = {
    "minimum": "ge",
    "exclusiveMinimum": "gt",
    "maximum": "le",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
}
"""By the name that a JSON schema has for a limit, the name that pydantic has for it."""


NO_CREDIT = (
    "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
)
"""What fal says to an account whose balance is exhausted."""


@dataclass(frozen=True)
class Outcome:
    """How a generation ends.

    Args:
        status: The HTTP status of its result.
        body: The body of its result, JSON; None for a video.
        error_type: fal's word for the failure; None for a video.
        charged: Whether fal charges for it.
        retryable: What `X-Fal-Retryable` says; None leaves the header out.
        seconds: How long the model works on it, in emulator time; None for the usual duration.
        level: Whether the model failed, or fal's handling of the request.
    """

    status: int
    body: Any = None
    error_type: str | None = None
    charged: bool = False
    retryable: bool | None = None
    seconds: float | None = None
    level: Literal["model", "request"] = "model"

    @property
    def is_video(self) -> bool:
        """Whether it ends well."""
        return self.error_type is None

    def headers(self) -> dict[str, str]:
        """The headers by which fal tells what kind of failure it is."""
        headers = {}
        if self.error_type is not None and self.level == "request":
            headers["x-fal-error-type"] = self.error_type
        if self.retryable is not None:
            headers["x-fal-retryable"] = str(self.retryable).lower()
        return headers


VIDEO = Outcome(200, charged=True)


def request_failure(status: int, detail: str, error_type: str) -> Outcome:
    """A failure of fal's own, not of the model.

    Example:
        >>> request_failure(504, "Request timed out", "request_timeout").body
        {'detail': 'Request timed out', 'error_type': 'request_timeout'}
    """
    body = {"detail": detail, "error_type": error_type}
    return Outcome(status, body, error_type, level="request")


def model_failure(
    status: int, text: str, error_type: str, *, charged: bool = False, field: str = "prompt"
) -> Outcome:
    """A failure that the model tells of, in fal's form.

    Args:
        status: HTTP's: 422 for a flaw of the input.
        text: What it says.
        error_type: fal's word for it.
        charged: Whether it costs money.
        field: Which field of the input has the flaw.

    Example:
        >>> failure = model_failure(504, "Generation timed out", "generation_timeout")
        >>> failure.retryable, failure.body["detail"][0]["type"]
        (True, 'generation_timeout')
    """
    problem = {
        "loc": ["body", field] if status == 422 else ["body"],
        "msg": text,
        "type": error_type,
        "url": f"https://docs.fal.ai/errors/#{error_type}",
        "ctx": {},
        "input": {},
    }
    return Outcome(status, {"detail": [problem]}, error_type, charged, retryable=status >= 500)


CANCELLED = request_failure(499, "Request was cancelled", "client_cancelled")
NOT_STARTED_IN_TIME = request_failure(504, "Request timed out", "request_timeout")


def validate(input_class: type[VideoInput], body: Mapping[str, Any]) -> Outcome:
    """The outcome of an input: a video, or a 422 with fal's list of problems.

    Example:
        >>> from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo
        >>> validate(Hailuo23ProTextToVideo, {"prompt": ""}).body["detail"][0]["type"]
        'string_too_short'
    """
    problems = _problems(input_class, body)
    if not problems:
        return VIDEO
    return Outcome(422, {"detail": problems}, problems[0]["type"], retryable=False, seconds=0)


def _problems(input_class: type[VideoInput], body: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = input_class.model_fields
    kept = {key: body[key] for key in body if key in known or not UNKNOWN_KEYS_ARE_IGNORED}
    try:
        model_of_fal(input_class).model_validate(kept)
    except ValidationError as error:
        found = error.errors(include_url=False)
        return [{**problem, "loc": ["body", *problem["loc"]]} for problem in found]
    return []


@cache
def model_of_fal(input_class: type[VideoInput]) -> type[BaseModel]:
    """A model of an endpoint's inputs that has the types and limits of its JSON schema, no more.

    Example:
        >>> from prefect_hailuo import Hailuo23StandardTextToVideo
        >>> strict = model_of_fal(Hailuo23StandardTextToVideo)
        >>> strict.model_validate({"prompt": " ", "duration": 6})
        Traceback (most recent call last):
        pydantic_core._pydantic_core.ValidationError: 1 validation error for ...
    """
    schema = input_class.model_json_schema()
    fields: dict[str, Any] = {
        name: (
            _type_of(schema["properties"][name], input_class.endpoint.exact_types),
            field.get_default(call_default_factory=True),
        )
        for name, field in input_class.model_fields.items()
    }
    model: type[BaseModel] = create_model(
        input_class.endpoint.input_schema, __config__=input_class.model_config, **fields
    )
    return model


def _type_of(schema: Mapping[str, Any], exact: bool) -> Any:
    """The type that a JSON schema describes; anything where it describes none.

    Args:
        schema: The schema.
        exact: Whether a text is no number and no boolean, whatever it says.
    """
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    if "const" in schema:
        return Literal[schema["const"]]
    if "anyOf" in schema:
        return Union[tuple(_type_of(each, exact) for each in schema["anyOf"])]  # noqa: UP007 (at run time)
    if schema.get("type") == "array":
        kind: Any = list[_type_of(schema.get("items", {}), exact)]  # type: ignore[misc]  # made at run time
    else:
        kind = TYPES.get(schema.get("type", ""), Any)
        if exact and kind in (int, float, bool):
            kind = Annotated[kind, Strict()]
    limits: dict[str, Any] = {LIMITS[name]: schema[name] for name in LIMITS if name in schema}
    # Only where there are any: pydantic knows an optional field by a bare None.
    return Annotated[kind, Field(**limits)] if limits else kind
