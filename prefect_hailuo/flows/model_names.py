"""The types of flow parameters that name a model: a form in Prefect's UI offers the names."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from prefect_hailuo.models.catalogue import CATALOGUE, VideoInput, find_input_class


def needs_only_a_prompt(input_class: type[VideoInput]) -> bool:
    """Whether a model makes a video of a prompt alone."""
    return input_class.endpoint.category == "text-to-video"


def text_models() -> list[str]:
    """The names of the models that make a video of a prompt alone.

    Example:
        >>> text_models()[0]
        'hailuo-2.3-pro'
    """
    return [each.endpoint.name for each in CATALOGUE.values() if needs_only_a_prompt(each)]


def _text_model(name: str) -> str:
    found = find_input_class(name)
    if not needs_only_a_prompt(found):
        raise ValueError(f"{found.endpoint.name} needs a picture; use one of {text_models()}")
    return found.endpoint.name


def _names(*names: str) -> Any:
    return Field(json_schema_extra={"enum": list(names)})


AnyModel = Annotated[
    str,
    AfterValidator(lambda name: find_input_class(name).endpoint.name),
    _names(*(each.endpoint.name for each in CATALOGUE.values())),
]
"""The name of any model; a form offers all of them."""

TextModel = Annotated[str, AfterValidator(_text_model), _names(*text_models())]
"""The name of a model that makes a video of a prompt alone; a form offers all of them."""
