"""JSON schemas as the few facts that matter here: what a field takes, and whether it must be there.

Pydantic, FastAPI's OpenAPI and fal write the same thing in different ways; here it is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]

LOWER_LIMITS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER_LIMITS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")

MOST_REFERENCES = 20
"""References that are followed from one to the next: more go round in a circle."""


@dataclass(frozen=True)
class Facts:
    """What a field takes.

    Args:
        required: Whether it must be there.
        types: Such as `string`; none where anything is taken.
        choices: The only values that it takes; None where it is not limited to some.
        default: What it is where it is left out; None where nothing is said of that.
        limits: Its limits by name, such as `maxLength`.
        fields: The facts of its own fields, of an object.
    """

    required: bool = False
    types: frozenset[str] = frozenset()
    choices: frozenset[Any] | None = None
    default: Any = None
    limits: Mapping[str, float] = field(default_factory=dict)
    fields: Mapping[str, Facts] = field(default_factory=dict)


def fields_of(schema: Schema, root: Schema, depth: int = 2) -> dict[str, Facts]:
    """The facts of an object's fields.

    Args:
        schema: The object's schema.
        root: The document that its references point into.
        depth: How many objects deep to look.

    Example:
        >>> schema = {"properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}
        >>> fields_of(schema, schema)["prompt"].required
        True
    """
    plain = _plain(schema, root)
    required = plain.get("required", ())
    properties: Mapping[str, Schema] = plain.get("properties", {})
    return {
        name: _facts(_plain(each, root), root, name in required, depth)
        for name, each in properties.items()
    }


def _facts(plain: Schema, root: Schema, required: bool, depth: int) -> Facts:
    limits = (*LOWER_LIMITS, *UPPER_LIMITS)
    return Facts(
        required=required,
        types=_types(plain),
        choices=_choices(plain),
        default=plain.get("default"),
        limits={name: plain[name] for name in limits if plain.get(name) is not None},
        fields=fields_of(plain, root, depth - 1) if depth > 1 else {},
    )


def _plain(schema: Schema, root: Schema) -> dict[str, Any]:
    """A schema without references, with what it is put together from laid into one."""
    plain = dict(_followed(schema, root))
    for part in plain.pop("allOf", ()):
        plain = {**_plain(part, root), **plain}
    choices = [*plain.pop("anyOf", ()), *plain.pop("oneOf", ())]
    found = [_plain(each, root) for each in choices]
    found = [each for each in found if each.get("type") != "null"]
    if len(found) == 1:
        plain = {**found[0], **plain}
    elif found:
        plain["type"] = sorted({kind for each in found for kind in _types(each)})
    return plain


def _followed(schema: Schema, root: Schema) -> Schema:
    for _ in range(MOST_REFERENCES):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**_pointed_at(reference, root), **rest}
    return {}


def _pointed_at(reference: str, root: Schema) -> Schema:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _types(plain: Schema) -> frozenset[str]:
    given = plain.get("type", ())
    named = {given} if isinstance(given, str) else set(given)
    return frozenset(named - {"null"})


def _choices(plain: Schema) -> frozenset[Any] | None:
    if "const" in plain:
        return frozenset({plain["const"]})
    given = plain.get("enum")
    return None if given is None else frozenset(each for each in given if each is not None)
