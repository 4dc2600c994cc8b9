"""How generations end: with a video, or with one of fal's errors.

fal's own idea of an input: the schema of an endpoint, without the package's rules.

The input classes refuse what fal would take (a blank prompt), and take what it would refuse (a
number as duration, a path as picture). The emulator judges as fal does, by the schema alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic.fields import FieldInfo

from prefect_hailuo.models.catalogue import VideoInput

_RULES_OF_THE_PACKAGE = (AfterValidator, BeforeValidator, WithJsonSchema)


@cache
def model_of_fal(input_class: type[VideoInput]) -> type[BaseModel]:
    """What fal checks the inputs of an endpoint by.

    Example:
        >>> from prefect_hailuo import Hailuo23StandardTextToVideo
        >>> strict = model_of_fal(Hailuo23StandardTextToVideo)
        >>> strict.model_validate({"prompt": " ", "duration": 6})
        Traceback (most recent call last):
        pydantic_core._pydantic_core.ValidationError: 1 validation error for ...
    """
    schemas = input_class.model_json_schema()["properties"]
    fields: dict[str, Any] = {
        name: _on_the_wire(field, schemas[name]) for name, field in input_class.model_fields.items()
    }
    model: type[BaseModel] = create_model(
        input_class.endpoint.input_schema, __config__=input_class.model_config, **fields
    )
    return model


def _on_the_wire(field: FieldInfo, schema: dict[str, Any]) -> Any:
    kept = [each for each in field.metadata if not isinstance(each, _RULES_OF_THE_PACKAGE)]
    told: tuple[Any, ...] = (_kind(field, schema), *kept, Field())
    return Annotated[told], field.default


def _kind(field: FieldInfo, schema: dict[str, Any]) -> Any:
    """The type that the field's schema tells."""
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    if schema.get("type") == "string":
        return str
    if any(each.get("type") == "null" for each in schema.get("anyOf", [])):
        return str | None
    return field.annotation


UNKNOWN_KEYS_ARE_IGNORED = True
"""Whether the model passes over keys that are not in its schema. Reports about fal disagree; the
lenient reading is the dangerous one, for it bills a video made without the setting."""


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
    """What the model makes of an input: a video, or a 422 with fal's list of problems.

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
