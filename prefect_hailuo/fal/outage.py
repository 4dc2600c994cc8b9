"""Outages: since when fal cannot be asked, so that a run can say so.

A read that fails is repeated, and nothing is logged meanwhile. So failures and answers are noted
here, once for all reads of a process from the same hosts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from textwrap import shorten

import httpx

from prefect_hailuo.errors import HailuoError, UnreachableError

SILENT_SECONDS = 3.0
"""How long something may take before it is said what is waited for."""

REMEMBERED_SECONDS = 150.0
"""For how long a failed question says anything of now: nobody pauses longer before the next."""

WHY_CHARACTERS = 200


@dataclass(frozen=True)
class Outage:
    """fal cannot be asked for now, or could not until now.

    Args:
        since: When the first question failed, UTC.
        seconds: For how long it has lasted, or did.
        why: How the latest question failed.
        unreachable: Whether there was no connection; else something answered, and not as fal does.
        is_over: Whether fal answers again.
    """

    since: datetime
    seconds: float
    why: str
    unreachable: bool
    is_over: bool = False

    def __str__(self) -> str:
        if self.is_over:
            return f"fal answers again, after {self.seconds:.0f} s."
        what = "is out of reach" if self.unreachable else "gives no good answer"
        return f"fal {what} since {self.since:%H:%M:%S} UTC ({self.why})."


class Reachability:
    """Whether fal can be asked.

    Example:
        >>> reach = Reachability()
        >>> str(reach.failed(httpx.ConnectError("refused")))[:26], reach.outage is None
        ('fal is out of reach since ', False)
        >>> print(reach.answered(), reach.outage)
        fal answers again, after 0 s. None
    """

    def __init__(self) -> None:
        self._began = self._failed = 0.0
        self._error: Exception | None = None
        self._last: Outage | None = None

    @property
    def outage(self) -> Outage | None:
        """The one that there is; None while fal answers, or nobody asks."""
        if self._error is None or time.monotonic() - self._failed > REMEMBERED_SECONDS:
            return None
        return self._now(self._error)

    def failed(self, error: Exception) -> Outage:
        """A question failed, in a way that may pass."""
        now = time.monotonic()
        if self.outage is None:
            self._began = now
        self._failed, self._error = now, error
        return self._now(error)

    def answered(self) -> Outage | None:
        """A question is answered that had failed: the outage that is over, or was before."""
        if (outage := self.outage) is not None:
            self._last = replace(outage, is_over=True)
        self._error = None
        return self._last

    def _now(self, error: Exception) -> Outage:
        seconds = time.monotonic() - self._began
        return Outage(
            since=datetime.now(timezone.utc) - timedelta(seconds=seconds),
            seconds=seconds,
            why=_words(error),
            unreachable=isinstance(error, httpx.RequestError | UnreachableError),
        )


@dataclass(frozen=True)
class Witness:
    """Tells somebody of what a question meets.

    Args:
        reach: Where it is noted.
        tell: Called after each failure, unless the outage is over sooner than is worth a word; and
            once fal answers again.
    """

    reach: Reachability
    tell: Callable[[Outage], object]

    def failed(self, error: Exception, pause: float) -> None:
        """A question failed, and is asked again after a pause of so many seconds."""
        outage = self.reach.failed(error)
        if outage.seconds + pause >= SILENT_SECONDS:
            self.tell(outage)

    def answered(self) -> None:
        """The question is answered."""
        if outage := self.reach.answered():
            self.tell(outage)


UNWITNESSED = Witness(Reachability(), lambda _: None)
"""Tells nobody."""


def _words(error: Exception) -> str:
    said = error.message if isinstance(error, HailuoError) else str(error)
    text = f"{type(error).__name__}: {said}".rstrip(". :")
    return shorten(text, WHY_CHARACTERS, placeholder="…")
