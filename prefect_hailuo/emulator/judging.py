"""fal's own idea of an input: the schema of an endpoint, without the package's rules.

The input classes refuse what fal would take (a blank prompt), and take what it would refuse (a
number as duration, a path as picture). The emulator judges as fal does, by the schema alone.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema, create_model
from pydantic.fields import FieldInfo

from prefect_hailuo.endpoints import VideoInput

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
