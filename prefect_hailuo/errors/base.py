"""What every error of this package says."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

if TYPE_CHECKING:
    from prefect_hailuo.fal.messages import Ticket


class Billed(str, Enum):
    """Whether fal charged for what failed."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"

    __str__ = str.__str__  # in every Python the value, not the member's name


class Problem(NamedTuple):
    """One complaint about an input, in fal's own words.

    Example:
        >>> Problem(("body", "prompt"), "Field required", "missing").place
        'body.prompt'
    """

    loc: tuple[str | int, ...]
    msg: str
    type: str

    @property
    def place(self) -> str:
        """`loc` as a dotted path."""
        return ".".join(str(part) for part in self.loc)


class HailuoError(Exception):
    """The base of all errors that this package raises.

    Args:
        message: What happened.
        cure: What the caller can do; by default, the class's own advice.
        billed: Whether money was spent; by default, the class's own rule.
        retryable: Whether trying again can help; by default, the class's own rule.
        retry_after: Seconds that fal asked to wait before trying again.
        ticket: The request that this is about, if one was accepted.

    Example:
        >>> error = HailuoError("The disk is full.", cure="Free some space.")
        >>> print(error)
        The disk is full. Free some space. (Money spent: no. Trying again: will not help by itself.)
    """

    default_cure: ClassVar[str] = ""
    default_billed: ClassVar[Billed] = Billed.NO
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        cure: str | None = None,
        billed: Billed | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        ticket: Ticket | None = None,
    ) -> None:
        # Only the message goes into `args`: pickling calls the class with `args`
        # and then restores the rest from `__dict__`.
        super().__init__(message)
        self.message = message
        self.cure = self.default_cure if cure is None else cure
        self.billed = self.default_billed if billed is None else billed
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after = retry_after
        self.ticket = ticket

    def __str__(self) -> str:
        again = "can help" if self.retryable else "will not help by itself"
        known = f"(Money spent: {self.billed.value}. Trying again: {again}.)"
        request = f"Request id: {self.ticket.request_id}." if self.ticket else ""
        return " ".join(part for part in (self.message, self.cure, request, known) if part)


E = TypeVar("E", bound=HailuoError)


def about(ticket: Ticket | None, error: E) -> E:
    """The error, with the request that it is about, unless it names one already."""
    error.ticket = error.ticket or ticket
    return error
