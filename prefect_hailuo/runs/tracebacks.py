"""What a run's log shows of an error of this package's: where in the caller's code, and the cure.

Prefect logs a failed task and a failed flow with every frame that the error went through: its own
machinery, this package's, and that of a connection which could not be made. That was 149 lines
around one that says what to do. Here the frames of the caller's own code are left, and the error.
What led to it is in the log at DEBUG, and stays at the error, as its `__cause__` or `__context__`.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

from prefect.logging import get_logger

from prefect_hailuo.errors import HailuoError

E = TypeVar("E", bound=HailuoError)

MACHINERY = {
    *("prefect", "prefect_hailuo", "prefect_dask", "prefect_ray", "distributed", "ray"),
    *("anyio", "asyncio", "concurrent", "contextlib", "contextvars", "threading"),
}
"""Packages whose frames say nothing to the caller of a task."""

LOGGERS = ("prefect.task_runs", "prefect.flow_runs", "prefect.engine")
"""Those that Prefect logs failed runs with."""


def without_frames(error: E) -> E:
    """An error to be raised here, as if it began here; nor do those that led to it show frames.

    Example:
        >>> try:
        ...     raise without_frames(HailuoError("It broke."))
        ... except HailuoError as error:
        ...     len(list(traceback.walk_tb(error.__traceback__)))
        1
    """
    for each in _chain(error):
        each.__traceback__ = None
    return error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        if (each := waiting.pop()) is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]


class _Shortening(logging.Filter):
    """Shortens what is logged of an error of this package's; everything else stays as it is."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let it pass, shortened."""
        kind, error, frames = record.exc_info or (None, None, None)
        if kind is not None and isinstance(error, HailuoError):
            record.exc_info = kind, error, callers_frames(frames)
            lines = traceback.format_exception(*record.exc_info, chain=False)
            record.exc_text = "".join(lines).rstrip("\n")
        return True


def callers_frames(frames: TracebackType | None) -> TracebackType | None:
    """Those frames of a traceback that are of the caller's own code; None if there are none."""
    kept: TracebackType | None = None
    for each in reversed(list(_walk(frames))):
        package = str(each.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if package not in MACHINERY:
            kept = TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return kept


def _walk(frames: TracebackType | None) -> Iterator[TracebackType]:
    while frames is not None:
        yield frames
        frames = frames.tb_next


_shortening = _Shortening()


def shorten_tracebacks() -> None:
    """Let Prefect's loggers show errors of this package's so, in this process."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_shortening)


def log_what_led_to(error: HailuoError) -> None:
    """Log an error with all its causes at DEBUG, for work on this package."""
    get_logger("hailuo").debug("What led to it:", exc_info=error)
