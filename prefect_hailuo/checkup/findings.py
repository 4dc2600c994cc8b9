"""What a check found, and how checks are made: side by side, each with its own time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from prefect_hailuo.blocks import FalCredentials
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.storage import Storage

Verdict = Literal["ok", "warning", "problem"]

CHECK_SECONDS = 30.0
"""How long a check may take; one that waits for something else is not waited for any longer."""


class Finding(BaseModel):
    """What one check found.

    Args:
        check: What was looked at, such as `ledger`.
        verdict: `problem` where something will not work, `warning` where something may not.
        says: What was found.
        cure: What to do about it; empty where all is well.
        facts: Figures, for programs.

    Example:
        >>> Finding(check="disk", verdict="problem", says="It is full.", cure="Free space.").verdict
        'problem'
    """

    model_config = ConfigDict(frozen=True)

    check: str
    verdict: Verdict
    says: str
    cure: str = ""
    facts: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What is looked at.

    Args:
        credentials: The block, which may have no key; by default, one that has none of its own.
        storage: Where videos go; None for the default.
    """

    credentials: FalCredentials = field(default_factory=FalCredentials)
    storage: Storage = None


Check = Callable[[Surroundings], list[Finding]]


def ok(check: str, says: str, **facts: Any) -> Finding:
    """All is well."""
    return Finding(check=check, verdict="ok", says=says, facts=facts)


def warning(check: str, says: str, cure: str, **facts: Any) -> Finding:
    """Something may not work, or not for long."""
    return Finding(check=check, verdict="warning", says=says, cure=cure, facts=facts)


def problem(check: str, says: str, cure: str, **facts: Any) -> Finding:
    """Something does not work."""
    return Finding(check=check, verdict="problem", says=says, cure=cure, facts=facts)


def refused(check: str, error: HailuoError, **facts: Any) -> Finding:
    """Something does not work, and its error says why, and what cures it."""
    return problem(check, error.message, error.cure, **facts)


def make_checks(
    checks: Mapping[str, Check], surroundings: Surroundings, seconds: float = CHECK_SECONDS
) -> list[Finding]:
    """Make checks side by side; none that fails or hangs hides what the others find.

    Args:
        checks: By name, in the order of the findings.
        surroundings: What to look at.
        seconds: How long all of them may take.
    """
    begun = [_Making(name, check) for name, check in checks.items()]
    for making in begun:
        making.start(surroundings)
    deadline = time.monotonic() + seconds
    return [finding for making in begun for finding in making.findings(deadline, seconds)]


@dataclass
class _Making:
    """A check that is being made, in a thread that the interpreter's end does not wait for."""

    name: str
    check: Check
    found: list[Finding] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def start(self, surroundings: Surroundings) -> None:
        """Begin."""
        context = copy_context()  # Prefect's settings are in context variables

        def make() -> None:
            try:
                self.found = context.run(self._make, surroundings)
            finally:
                self.over.set()

        threading.Thread(target=make, name=f"check {self.name}", daemon=True).start()

    def findings(self, deadline: float, seconds: float) -> list[Finding]:
        """What it found, or that it takes too long."""
        if self.over.wait(max(0.0, deadline - time.monotonic())):
            return self.found
        says = f"No answer within {seconds:g} seconds."
        return [problem(self.name, says, "See whether what it asks for can be reached from here.")]

    def _make(self, surroundings: Surroundings) -> list[Finding]:
        try:
            return self.check(surroundings)
        except HailuoError as error:
            return [refused(self.name, error)]
        except Exception as error:  # its own words might hold what is secret
            says = f"The check ended by an error that is not foreseen: {type(error).__name__}."
            return [problem(self.name, says, "Report it, with the versions above.")]
