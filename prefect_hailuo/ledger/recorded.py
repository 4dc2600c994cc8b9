"""Errors as the ledger keeps them, and as they are raised again."""

from __future__ import annotations

from typing import Any

from prefect_hailuo import errors
from prefect_hailuo.errors import Billed, HailuoError, InputRefusedError, Problem
from prefect_hailuo.fal.messages import Ticket


def storable(text: str) -> str:
    """A text as every database takes it: without NUL, and without halves of characters.

    Example:
        >>> storable("a" + chr(0) + "b" + chr(0xD800))
        'a?b?'
    """
    return text.replace(chr(0), "?").encode(errors="replace").decode()


def describe(error: HailuoError) -> dict[str, Any]:
    """All of an error but its ticket, as JSON.

    Example:
        >>> describe(errors.FalFaultError("Out of order."))["kind"]
        'FalFaultError'
    """
    error_type = getattr(error, "error_type", None)
    return {
        "kind": type(error).__name__,
        "message": storable(error.message),
        "cure": storable(error.cure),
        "billed": error.billed.value,
        "error_type": error_type and storable(error_type),
        "problems": [_storable_problem(each) for each in getattr(error, "problems", ())],
    }


def _storable_problem(problem: Problem) -> list[Any]:
    loc = [storable(part) if isinstance(part, str) else part for part in problem.loc]
    return [loc, storable(problem.msg), storable(problem.type)]


def recorded_error(
    record: dict[str, Any], ticket: Ticket | None, cure: str | None = None
) -> HailuoError:
    """The error of an earlier run, to be raised again; nothing was sent for it now.

    Args:
        record: What `describe` wrote.
        ticket: The request that it is about.
        cure: What to advise instead of what was advised then.

    Example:
        >>> record = describe(errors.ContentPolicyError("Violence."))
        >>> recorded_error(record, None).message
        'By the ledger, an earlier attempt ended so: Violence.'
    """
    again = described_error(record, ticket)
    again.message = f"By the ledger, an earlier attempt ended so: {record['message']}"
    again.args = (again.message,)
    again.cure = again.cure if cure is None else cure
    again.retryable = False
    return again


def described_error(record: dict[str, Any], ticket: Ticket | None) -> HailuoError:
    """The error that `describe` described.

    Example:
        >>> described_error(describe(errors.FalFaultError("Out of order.")), None).message
        'Out of order.'
    """
    kind = getattr(errors, record["kind"], HailuoError)
    error: HailuoError = kind(
        record["message"], cure=record["cure"], billed=Billed(record["billed"]), ticket=ticket
    )
    if isinstance(error, errors.FalError):
        error.error_type = record["error_type"]
    if isinstance(error, InputRefusedError):
        error.problems = tuple(
            Problem(tuple(loc), msg, kind) for loc, msg, kind in record["problems"]
        )
    return error
