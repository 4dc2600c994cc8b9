"""What a run shows of a batch: a few log lines, one progress, one summary; however many it holds.

Prefect's server drops what comes in bursts, without a word. So a batch says little: in all, much
less than a tenth of a call of Prefect's API a generation.
"""

from __future__ import annotations

import hashlib
import inspect
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from textwrap import shorten

import anyio.to_thread
from prefect.artifacts import create_markdown_artifact

from prefect_hailuo.artifacts import escape
from prefect_hailuo.assets import materialize
from prefect_hailuo.camera import camera_warnings
from prefect_hailuo.fal.pacing import CROWD
from prefect_hailuo.money import told_usd
from prefect_hailuo.notices import Subject, tell_batch, tell_completed, tell_error
from prefect_hailuo.order import Order
from prefect_hailuo.outcomes import Failure, VideoOutcome
from prefect_hailuo.prefect_calls import synchronously
from prefect_hailuo.publishing import Publisher
from prefect_hailuo.tally import BatchProgress, Counts

PROGRESS_SECONDS = 5.0
"""How often the progress may be updated, if it has changed enough to be seen."""

SEEN_PERCENT = 2.0

STANDSTILL_SECONDS = 60.0
"""How often it is updated, and logged, though little has changed."""

SUMMARY_SECONDS = 600.0
"""How often the summary is published while the batch goes on: each is a version of its own."""

LOGGED_PERCENT = 10.0

MOST_FAILURES = 10
"""Failures that are logged one by one, and shown in the summary."""

MOST_CAUTIONS = 10
"""Warnings of what the inputs say that are logged one by one."""

TEXT_CHARACTERS = 200

NAME_CHARACTERS = 12

OnOutcome = Callable[[VideoOutcome], object]
"""Called with each outcome as soon as it is known; the asynchronous twin awaits what it returns."""


class EnoughError(BaseException):
    """Nobody listens any more: maybe because the flow run was cancelled, which is then asked."""


class Handover:
    """Hands the outcomes to somebody who may have enough of them.

    Args:
        put: Where they go.
    """

    def __init__(self, put: Callable[[VideoOutcome], object]) -> None:
        self._put = put
        self.enough = threading.Event()

    def __call__(self, outcome: VideoOutcome) -> None:
        """Hand one over."""
        self._put(outcome)


class BatchTeller(Publisher):
    """Tells a run how its batch goes; made and called on the caller's side.

    Args:
        orders: The batch's.
        on_outcome: Called with each outcome, once.
    """

    def __init__(self, orders: Sequence[Order], on_outcome: OnOutcome | None = None) -> None:
        super().__init__()
        self._name = f"hailuo-batch-{_digest(orders)}"
        self._orders = orders
        self._on_outcome = on_outcome
        self._begun_at = datetime.now(timezone.utc)
        self._over = False
        self._told: set[int] = set()
        self._failures: list[VideoOutcome] = []
        self._published = _Last()
        self._logged = _Last()
        self._summed_up_at = time.monotonic()
        self._logger.info("A batch of %s.", _counted(len(orders), "input"))
        self._caution(orders)

    def tell(self, event: BatchProgress) -> None:
        """Tell how it goes, and of what has ended."""
        for outcome in self._note(event):
            if self._on_outcome:
                self._on_outcome(outcome)

    async def atell(self, event: BatchProgress) -> None:
        """The asynchronous twin of `tell`: in a thread, so that the caller's loop goes on."""
        for outcome in await anyio.to_thread.run_sync(self._note, event):
            answer = self._on_outcome(outcome) if self._on_outcome else None
            if inspect.isawaitable(answer):
                await answer

    def _note(self, event: BatchProgress) -> list[VideoOutcome]:
        """Say what there is to say; returns what the caller was not told of yet."""
        if isinstance(self._on_outcome, Handover) and self._on_outcome.enough.is_set():
            raise EnoughError
        # A run that was cancelled and is started again goes over its batch once more.
        news = [each for each in event.news if each.index not in self._told]
        self._told.update(each.index for each in news)
        for outcome in news:
            self._note_outcome(outcome)
        self._log(event.counts)
        if self._may_publish:
            self._publish(event.counts)
        if _is_over(event.counts) and not self._over:
            self._over = True
            tell_batch(self._name, event.counts)
        return news

    def _note_outcome(self, outcome: VideoOutcome) -> None:
        order, video, error = self._orders[outcome.index], outcome.video, outcome.error
        subject = Subject.of_order(order).known_as(outcome.key)
        if error:
            self._note_failure(outcome)
            tell_error(subject, error, crowded=True)
        elif video and video.stored_at >= self._begun_at:  # what was there before, is no news
            materialize(video, order.place, alone=False)
            if len(self._orders) <= CROWD:
                tell_completed(subject, video)

    def _caution(self, orders: Sequence[Order]) -> None:
        """Say what the camera may not understand, each thing once, however many prompts have it."""
        warnings = camera_warnings(each.input.prompt for each in orders)
        for warning in warnings[:MOST_CAUTIONS]:
            self._logger.warning("%s", warning)
        if len(warnings) > MOST_CAUTIONS:
            self._logger.warning("And %s more of the kind.", len(warnings) - MOST_CAUTIONS)

    def _note_failure(self, outcome: VideoOutcome) -> None:
        self._failures.append(outcome)
        if len(self._failures) <= MOST_FAILURES:
            self._logger.warning("Input %s failed: %s", outcome.index, outcome.error)
        elif len(self._failures) == MOST_FAILURES + 1:
            self._logger.warning("More failed; the outcomes tell of each.")

    def _log(self, counts: Counts) -> None:
        if _is_over(counts):
            self._logger.info("The batch has ended: %s", describe_counts(counts))
        elif self._logged.is_due(counts.percent, LOGGED_PERCENT):
            self._logger.info("%s", describe_counts(counts))

    def _publish(self, counts: Counts) -> None:
        over = _is_over(counts)
        if over or self._published.is_due(counts.percent, SEEN_PERCENT, PROGRESS_SECONDS):
            with self._letting_go("progress"):
                self._show_progress(self._name, counts.percent, describe_counts(counts))
        if over or time.monotonic() - self._summed_up_at >= SUMMARY_SECONDS:
            self._summed_up_at = time.monotonic()
            with self._letting_go("summary"):
                text = summary(counts, self._failures)
                synchronously(create_markdown_artifact, text, self._name, describe_counts(counts))


class _Last:
    """What was said last, and when."""

    def __init__(self) -> None:
        self._percent = 0.0
        self._at = time.monotonic()

    def is_due(self, percent: float, step: float, pause_seconds: float = 0.0) -> bool:
        """Whether it is time to say something again; if so, it is said."""
        since = time.monotonic() - self._at
        moved = percent - self._percent >= step and since >= pause_seconds
        if moved or since >= STANDSTILL_SECONDS:
            self._percent, self._at = percent, time.monotonic()
            return True
        return False


def describe_counts(counts: Counts) -> str:
    """How a batch stands, in a line.

    Example:
        >>> from decimal import Decimal
        >>> describe_counts(Counts(
        ...     total=10, done=4, reused=1, failed=1, running=2, queued=2, bought=8,
        ...     spent_usd=Decimal("1.96"), reserved_usd=Decimal("1.96"), last_position=1,
        ...     seconds=300, left_seconds=300, realm="fal",
        ... ))
        '4 of 10 done (1 was there), 1 failed, 2 running, 2 queued, 1 to go; 8 bought for \
about $3.92; about 5 min left.'
    """
    parts = [f"{counts.done:,} of {counts.total:,} done" + _reused(counts.reused)]
    named = [("failed", counts.failed), ("running", counts.running), ("queued", counts.queued)]
    named.append(("to go", counts.waiting))
    parts += [f"{number:,} {name}" for name, number in named if number]
    usd = counts.spent_usd + counts.reserved_usd
    money = f"{counts.bought:,} bought for {told_usd(usd, counts.realm, counts.unpriced)}"
    left = [] if _is_over(counts) else [f"{describe_seconds(counts.left_seconds)} left"]
    return "; ".join([", ".join(parts), money, *left]) + "."


def describe_seconds(seconds: float) -> str:
    """A time to come, as people say it.

    Example:
        >>> describe_seconds(20), describe_seconds(300), describe_seconds(9000)
        ('about 20 s', 'about 5 min', 'about 2.5 h')
    """
    if seconds < 100:
        return f"about {seconds:.0f} s"
    minutes = seconds / 60
    return f"about {minutes:.0f} min" if minutes < 100 else f"about {minutes / 60:.1f} h"


def summary(counts: Counts, failures: Sequence[VideoOutcome]) -> str:
    """A batch's summary, in Markdown."""
    emulated = counts.realm == "emulator"
    banner = "**Made by the emulator: nothing was generated or charged.**\n\n"
    behind = "" if counts.last_position is None else f", the last behind {counts.last_position:,}"
    rows = [
        ("Videos", f"{counts.total:,}"),
        ("Done", f"{counts.done:,}"),
        ("There before", f"{counts.reused:,}"),
        ("Failed", f"{counts.failed:,}"),
        ("Running at fal", f"{counts.running:,}"),
        (
            "In fal's queue",
            f"{counts.queued:,}{behind}",
        ),
        ("Not at fal yet", f"{counts.waiting:,}"),
        ("Bought by this run", f"{counts.bought:,}"),
        ("Spent", told_usd(counts.spent_usd, counts.realm)),
        ("Reserved for what is under way", told_usd(counts.reserved_usd, counts.realm)),
        ("Bought at a price that is not known", f"{counts.unpriced:,}"),
        ("Time so far", describe_seconds(counts.seconds)),
        ("Time left", describe_seconds(counts.left_seconds)),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"{banner if emulated else ''}| | |\n| --- | --- |\n{table}\n{_failure_table(failures)}"


def _failure_table(failures: Sequence[VideoOutcome]) -> str:
    if not failures:
        return ""
    shown = [(each, each.failure) for each in failures[:MOST_FAILURES]]
    lines = [_failure_line(each, failure) for each, failure in shown if failure]
    more = len(failures) - len(lines)
    rest = f"\nAnd {more:,} more: `outcomes.failed` has them all.\n" if more else ""
    head = "| Input | Prompt | Error | What happened | What cures it | Money spent |"
    return "\n".join(["", "### Failed", "", head, f"|{' --- |' * 6}", *lines, rest])


def _failure_line(outcome: VideoOutcome, failure: Failure) -> str:
    texts = [outcome.input.prompt, failure.kind, failure.message, failure.cure]
    cells = [escape(shorten(each, TEXT_CHARACTERS, placeholder="…")) for each in texts]
    return f"| {outcome.index} | {' | '.join(cells)} | {failure.billed} |"


def _is_over(counts: Counts) -> bool:
    return counts.finished == counts.total


def _reused(number: int) -> str:
    verb = "was" if number == 1 else "were"
    return f" ({number:,} {verb} there)" if number else ""


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _digest(orders: Sequence[Order]) -> str:
    """Names the batch: a rerun of it has the same."""
    text = "".join(sorted({each.key for each in orders}))
    return hashlib.sha256(text.encode()).hexdigest()[:NAME_CHARACTERS]
