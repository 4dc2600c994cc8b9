"""How the tasks' results are written down, so that an error is the same in every process.

Prefect's own JSON keeps only an error's class and text: another process reads it without its
ticket, and with the class's defaults for what it cost. Here an error is written with all its
fields. Everything else is written as Prefect does it, and what Prefect wrote can still be read.
"""

from __future__ import annotations

from typing import Any

from prefect.serializers import (
    JSONSerializer,
    prefect_json_object_decoder,
    prefect_json_object_encoder,
)

from prefect_hailuo import errors
from prefect_hailuo.errors import Billed, HailuoError, Problem

ERROR = "__hailuo_error__"
"""The field that marks an error, and says of which class it is."""


def encode(value: Any) -> Any:
    """A value that JSON has no form for, as one that it has.

    Args:
        value: An error, or anything that Prefect's own encoder takes.

    Example:
        >>> encode(HailuoError("It broke."))["state"]["billed"].value
        'no'
    """
    if not isinstance(value, HailuoError):
        return prefect_json_object_encoder(value)
    return {ERROR: _public_name(type(value)), "state": dict(vars(value))}


def decode(document: dict[str, Any]) -> Any:
    """What `encode` has encoded, or Prefect's own encoder.

    Args:
        document: An object of JSON.

    Example:
        >>> decode({"__hailuo_error__": "BudgetError", "state": {"message": "No.", "billed": "no"}})
        BudgetError('No.')
    """
    if ERROR not in document:
        return prefect_json_object_decoder(document)
    state = {name: _read(name, value) for name, value in document["state"].items()}
    found = getattr(errors, document[ERROR], None)  # a later release may have further classes
    known = isinstance(found, type) and issubclass(found, HailuoError)
    error = (found if known and found is not None else HailuoError)(state["message"])
    vars(error).update(state)
    return error


def _public_name(kind: type[HailuoError]) -> str:
    """The name of the class that every process can import, in this release or another."""
    names = (each.__name__ for each in kind.__mro__)
    return next(name for name in names if name in errors.__all__)


def _read(name: str, value: Any) -> Any:
    match name:
        case "billed":
            return Billed(value)
        case "problems":
            return tuple(Problem(tuple(loc), msg, kind) for loc, msg, kind in value)
        case "outcomes":
            from prefect_hailuo.engine.outcome import VideoOutcomes  # which loads the ledger

            return VideoOutcomes(value)
        case _:
            return value


SERIALIZER: JSONSerializer[Any] = JSONSerializer(
    object_encoder=f"{__name__}.encode", object_decoder=f"{__name__}.decode"
)
"""What the tasks' results are written with."""
