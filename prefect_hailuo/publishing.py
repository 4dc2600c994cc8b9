"""What all that tell a run have in common: its log, a progress, and patience with Prefect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.blocks.abstract import LoggerOrAdapter
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from prefect_hailuo.prefect_calls import synchronously
from prefect_hailuo.runs import is_in_a_run
from prefect_hailuo.settings import current_settings


class Publisher:
    """The base of what tells a run, on the caller's side.

    What it cannot publish it lets go with a warning: a paid video is not lost over a card.
    """

    def __init__(self) -> None:
        self._logger = _run_logger()
        self._may_publish = is_in_a_run() and current_settings().artifacts
        self._progress: UUID | None = None

    def _show_progress(self, name: str, percent: float, text: str) -> None:
        """Make the progress artifact of that name, or bring it up to date."""
        if self._progress is None:
            key = f"{name}-progress"
            self._progress = synchronously(create_progress_artifact, percent, key, text)
        else:
            synchronously(update_progress_artifact, self._progress, percent, text)

    @contextmanager
    def _letting_go(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # One failure may have taken a minute; what is paid for is not held up by more of them.
            self._may_publish = False
            self._logger.warning("The %s could not be published: %s", what, error)


def _run_logger() -> LoggerOrAdapter:
    """The run's logger; outside of any, the package's."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("hailuo")
