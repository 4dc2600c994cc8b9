"""What a run shows of its videos: log lines, progress, a card and a poster; for a batch, a summary.

Prefect's server drops what comes in bursts, without a word. So a batch has a few log lines, one
progress and one summary, however many videos it makes: in all, much less than a tenth of a call of
Prefect's API for each video.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from textwrap import shorten
from uuid import UUID

import anyio.to_thread
from cachetools import LRUCache
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.blocks.abstract import LoggerOrAdapter
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger
from slugify import slugify
from typing_extensions import assert_never

from prefect_hailuo.engine.events import (
    Adopted,
    Attached,
    Cautioned,
    Event,
    Hindered,
    Logged,
    LookingBack,
    OutOfReach,
    Progress,
    Reused,
    Searching,
    Stored,
    Submitted,
)
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.engine.order import Order
from prefect_hailuo.engine.outcome import BatchProgress, Counts, Failure, VideoOutcome
from prefect_hailuo.engine.wait import PROGRESS_SECONDS, describe_status
from prefect_hailuo.fal.follow import CROWD
from prefect_hailuo.fal.messages import Completed, LogLine
from prefect_hailuo.fal.outage import SILENT_SECONDS, Outage
from prefect_hailuo.ledger.attempt import Run
from prefect_hailuo.media.probe import poster_data_uri
from prefect_hailuo.models.catalogue import model_name, model_title, price_of
from prefect_hailuo.models.inputs import cautions_of
from prefect_hailuo.models.key import KEY_CHARACTERS_IN_NAME
from prefect_hailuo.models.money import told_usd
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.cancellation import current_run, is_in_a_run
from prefect_hailuo.runs.events import (
    Subject,
    materialize,
    tell_batch,
    tell_completed,
    tell_error,
    tell_submitted,
)
from prefect_hailuo.runs.markdown import escape, facts, notice, table
from prefect_hailuo.runs.settings import current_settings, synchronously
from prefect_hailuo.storage.names import name_and_key
from prefect_hailuo.storage.place import Place
from prefect_hailuo.ticket import Ticket

MOST_PERCENT_WHILE_WAITING = 95.0

CAPTION_CHARACTERS = 100

LEVELS = {
    "DEBUG": logging.DEBUG,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}

BATCH_PROGRESS_SECONDS = 5.0
"""How often the progress may be updated, if it has changed enough to be seen."""

FIRST_SILENCE_SECONDS = 30.0
"""After how long an outage is told of again; then after twice as long, and so on."""

SEEN_PERCENT = 2.0

FIRST_SECONDS = 4.0
"""After how long a batch reports first, even if nothing has ended."""

STANDSTILL_SECONDS = 60.0
"""How often the progress is updated and logged even if little has changed."""

SUMMARY_SECONDS = 600.0
"""How often the summary is published while the batch goes on: each is a version of its own."""

LOGGED_PERCENT = 10.0

MOST_FAILURES = 10
"""How many failures are logged one by one, each for another reason, and shown in the summary."""

MOST_CAUTIONS = 10
"""How many warnings about the inputs are logged one by one."""

TEXT_CHARACTERS = 200

NAME_CHARACTERS = 12

OnOutcome = Callable[[VideoOutcome], object]
"""Called with each outcome as soon as it is known; the asynchronous twin awaits what it returns."""

_cautioned: deque[tuple[Run, str]] = deque(maxlen=256)

_told_why: deque[Run] = deque(maxlen=64)


class _Outages:
    """When a flow run reports an outage: at first soon, then less and less often. All of its tasks
    count together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: LRUCache[Run, float] = LRUCache(maxsize=64)

    def is_due(self, outage: Outage) -> bool:
        """Whether it is time to tell of it in this flow run; if so, this counts as told."""
        run = current_run()
        with self._lock:
            if outage.is_over:
                return self._next.pop(run, None) is not None
            if outage.seconds < self._next.get(run, 0.0):
                return False
            self._next[run] = max(FIRST_SILENCE_SECONDS, 2 * outage.seconds)
            return True


_outages = _Outages()


def _tell_outage(logger: LoggerOrAdapter, outage: Outage, standing: str) -> None:
    """Say that fal cannot be asked, or can again, and how things stand, where it is time to."""
    if not _outages.is_due(outage):
        return
    if outage.is_over:
        logger.info("%s %s", outage, standing)
    else:
        logger.warning("%s It is asked again and again. %s", outage, standing)


class Publisher:
    """Writes into a run's log and artifacts; called on the caller's side.

    If an artifact cannot be published, a warning is logged: a paid video is not lost over a card.
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
            # One failure may have taken a minute: a paid video does not wait for more of them.
            self._may_publish = False
            self._logger.warning("The %s could not be published: %s", what, error)


def _run_logger() -> LoggerOrAdapter:
    """The run's logger; outside of any, the package's."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("hailuo")


class Teller(Publisher):
    """Reports a generation to its run; made and called on the caller's side.

    If many videos are made at once, none has artifacts of its own: a card costs Prefect's client
    and server more time than this package needs for a video.

    Args:
        subject: The generation, as far as it is known beforehand.
        place: Where its video goes.
    """

    def __init__(self, subject: Subject | None = None, place: Place | None = None) -> None:
        super().__init__()
        self._subject = subject
        self._place = place
        self._status: str | None = None
        self._standing = "Nothing is bought yet."

    def tell(self, event: Event) -> None:
        """Report an event of the generation."""
        match event:
            case Reused():
                self._tell_reused(event.video)
            case Attached():
                self._standing = _at_fal(event.ticket)
                self._say("Going on with request %s.", event.ticket.request_id)
            case Searching() | LookingBack() | Hindered() | OutOfReach():
                self._warn(event)
            case Adopted():
                self._standing = _at_fal(event.ticket)
                self._logger.info("Found as request %s.", event.ticket.request_id)
            case Cautioned():
                self._caution(event.warnings)
            case Submitted():
                self._tell_submitted(event.ticket)
            case Progress():
                self._tell_progress(event)
            case Logged():
                self._tell_logged(event.lines)
            case Stored():
                self._tell_stored(event.video, event.poster)
            case _:
                assert_never(event)

    async def atell(self, event: Event) -> None:
        """The asynchronous twin of `tell`: in a thread, so that the caller's loop goes on."""
        if self._publishes or (isinstance(event, Stored) and current_settings().assets):
            await anyio.to_thread.run_sync(self.tell, event)
        else:
            self.tell(event)

    @property
    def _publishes(self) -> bool:
        if not self._may_publish:
            return False
        if process_loop().crowded:
            self._may_publish = False
            _say_why(self._logger)
        return self._may_publish

    def _say(self, message: str, *arguments: object) -> None:
        """Log a line: at DEBUG for one of many videos, because a line takes Prefect a millisecond
        or more."""
        level = logging.DEBUG if process_loop().crowded else logging.INFO
        self._logger.log(level, message, *arguments)

    def _warn(self, event: Searching | LookingBack | Hindered | OutOfReach) -> None:
        match event:
            case Searching():
                self._standing = "It may have been bought."
                self._logger.warning(
                    "Generation %s may have been bought: looking for it in fal's request history.",
                    event.key[:KEY_CHARACTERS_IN_NAME],
                )
            case LookingBack():
                self._logger.warning(
                    "Nothing is bought yet: this ledger is new, and fal's history is read first, "
                    "for up to %g s: a request of the account %s may be this video.",
                    event.most_seconds,
                    event.account,
                )
            case Hindered():
                self._logger.warning("%s It is tried again.", event.error.message)
            case OutOfReach():
                _tell_outage(self._logger, event.outage, self._standing)

    def _tell_reused(self, video: Video) -> None:
        self._say("Already stored at %s; nothing was bought.", video.place)
        poster = None
        if self._publishes and video.path:
            with suppress(Exception):  # a card without a poster is a card all the same
                poster = poster_data_uri(video.path)
        self._publish_video(video, poster)

    def _tell_submitted(self, ticket: Ticket) -> None:
        self._standing = _at_fal(ticket)
        cost = told_usd(price_of(ticket), ticket.realm)
        model = model_name(ticket.endpoint)
        self._say("Submitted to %s as %s. Cost: %s.", model, ticket.request_id, cost)
        if not process_loop().crowded:
            found = Subject.of_ticket(ticket)
            tell_submitted((self._subject or found).known_as(found.key), ticket)

    def _caution(self, warnings: Sequence[str]) -> None:
        """Log each warning once in a flow run."""
        run = current_run()
        for warning in warnings:
            if (run, warning) not in _cautioned:
                _cautioned.append((run, warning))
                self._logger.warning("%s", warning)

    def _tell_logged(self, lines: list[LogLine]) -> None:
        for line in lines:
            self._logger.log(LEVELS.get(line.level or "", logging.INFO), "fal: %s", line.message)

    def _tell_progress(self, event: Progress) -> None:
        status = describe_status(event.status)
        self._standing = f"{_at_fal(event.ticket)} {describe_progress(event)[1]}"
        if status != self._status:
            self._say("%s: %s.", event.ticket.request_id, status)
        self._status = status
        if self._publishes:
            with self._letting_go("progress"):
                self._publish_progress(event)

    def _tell_stored(self, video: Video, poster: str | None) -> None:
        self._say("Stored at %s (%s bytes).", video.place, f"{video.size:,}")
        if self._publishes:
            with self._letting_go("progress"):
                self._show_progress(f"hailuo-{_short_name(video)}", 100.0, "Stored.")
        self._publish_video(video, poster)
        materialize(video, self._place)
        if not process_loop().crowded:
            found = Subject.of_video(video)
            tell_completed((self._subject or found).known_as(found.key), video)

    def _publish_progress(self, event: Progress) -> None:
        if self._progress is None and event.elapsed_seconds < PROGRESS_SECONDS:
            return  # of many at once, most are known as such before they are shown
        self._show_progress(f"hailuo-{ticket_name(event.ticket)}", *describe_progress(event))

    def _publish_video(self, video: Video, poster: str | None) -> None:
        if not self._publishes:
            return
        name = _short_name(video)
        with self._letting_go("card"):
            synchronously(create_markdown_artifact, card(video), f"hailuo-{name}", _caption(video))
        if poster and self._publishes:
            with self._letting_go("poster"):
                key = f"hailuo-{name}-poster"
                synchronously(create_image_artifact, poster, key, _caption(video))


def _at_fal(ticket: Ticket) -> str:
    """That a request is paid for, and goes on whether or not fal can be asked."""
    return f"{ticket.request_id} is bought for {told_usd(price_of(ticket), ticket.realm)}."


def _say_why(logger: LoggerOrAdapter) -> None:
    """Log once in a flow run why there are no more artifacts."""
    run = current_run()
    if run not in _told_why:
        _told_why.append(run)
        logger.info(
            "More than %s videos at once: none has a card, a poster or progress of its own, and "
            "what they do is logged at DEBUG.",
            CROWD,
        )


SAID_CHARACTERS = 300
"""How much is shown of a thing that fal said; the record has all of it."""


def describe_progress(event: Progress) -> tuple[float, str]:
    """A progress as a percentage and in words."""
    text = f"{describe_status(event.status).capitalize()}: {event.elapsed_seconds:.0f} s"
    percent = 0.0
    if event.expected_seconds is not None:
        percent = min(
            MOST_PERCENT_WHILE_WAITING, 100 * event.elapsed_seconds / event.expected_seconds
        )
        text += f" of about {event.expected_seconds:.0f} s"
    if isinstance(event.status, Completed):
        percent = MOST_PERCENT_WHILE_WAITING
    return round(percent, 1), f"{text}."


def card(video: Video) -> str:
    """A video's card, in Markdown."""
    rows = [
        ("Model", f"[{_title(video)}](https://fal.ai/models/{video.endpoint})"),
        ("File", f"`{video.place}`"),
        ("Link", f"[fal's copy, for as long as it keeps it]({video.url})"),
        ("Picture", _picture(video)),
        ("Sound", _sound(video)),
        ("To be noted", escape("; ".join(video.notes))),
        *(("fal said: " + escape(name), _said(each)) for name, each in video.output.items()),
        ("Size", f"{video.size:,} bytes"),
        ("Cost", told_usd(video.price_usd, video.realm)),
        ("Take", escape(video.take)),
        ("Labels", escape(", ".join(f"{k}: {v}" for k, v in video.labels.items()))),
        ("Request id", f"`{video.request_id}`"),
        ("Submitted", _time(video.submitted_at)),
        ("Completed", _time(video.completed_at)),
        ("Stored", _time(video.stored_at)),
        ("SHA-256", f"`{video.sha256}`"),
    ]
    prompt = escape(video.prompt or "The prompt is not known.")
    return f"{notice(video.realm)}> {prompt}\n\n{facts(rows)}\n"


def _short_name(video: Video) -> str:
    return (video.key or slugify(video.request_id))[:KEY_CHARACTERS_IN_NAME]


def ticket_name(ticket: Ticket) -> str:
    """A short name of a request for artifact keys: the same that its video will have."""
    key = name_and_key(ticket)[1]
    return (key or slugify(ticket.request_id))[:KEY_CHARACTERS_IN_NAME]


def _caption(video: Video) -> str:
    prompt = shorten(video.prompt or video.request_id, CAPTION_CHARACTERS, placeholder="…")
    return f"{_title(video)}: {escape(prompt)}"  # Prefect shows a description as Markdown


def _title(video: Video) -> str:
    return model_title(video.endpoint).replace("[", "").replace("]", "")


def _picture(video: Video) -> str:
    if video.width is None:
        return ""
    return (
        f"{video.width}×{video.height}, {video.duration_seconds:g} s, "
        f"{video.frames_per_second:g} fps, {video.codec}"
    )


def _sound(video: Video) -> str:
    if video.audio_codec is None:
        return ""
    return f"{video.audio_codec}, {video.audio_channels} channels, {video.audio_hz} Hz"


def _said(told: object) -> str:
    return "" if told is None else escape(shorten(str(told), SAID_CHARACTERS, placeholder="…"))


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""


class BatchTeller(Publisher):
    """Reports a batch to its run; made and called on the caller's side.

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
        self._reasons: dict[str, int] = {}
        self._has_more = False
        self._published = _Last()
        self._logged = _Last(FIRST_SECONDS)
        self._all_bought = False
        self._outage: Outage | None = None
        self._summed_up_at = time.monotonic()
        self._logger.info("A batch of %s.", _counted(len(orders), "input"))
        self._caution(orders)

    def tell(self, event: BatchProgress) -> None:
        """Report the progress, and what has ended."""
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
        """Log and publish what is new; returns the outcomes that the caller does not know yet."""
        if isinstance(self._on_outcome, Handover) and self._on_outcome.enough.is_set():
            raise EnoughError
        # A run that was cancelled and is started again goes over its batch once more.
        news = [each for each in event.news if each.index not in self._told]
        self._told.update(each.index for each in news)
        for outcome in news:
            self._note_outcome(outcome)
        self._log_failures([each for each in news if each.error])
        self._log(event.counts, event.outage)
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
            self._failures.append(outcome)
            tell_error(subject, error, crowded=True)
        elif video and video.stored_at >= self._begun_at:  # what was there before is no news
            materialize(video, order.place, alone=False)
            if len(self._orders) <= CROWD:
                tell_completed(subject, video)

    def _caution(self, orders: Sequence[Order]) -> None:
        """Warn of what may not do what it was meant to, such as a camera command, each once."""
        warnings = cautions_of(each.input for each in orders)
        for warning in warnings[:MOST_CAUTIONS]:
            self._logger.warning("%s", warning)
        if len(warnings) > MOST_CAUTIONS:
            self._logger.warning("And %s more of the kind.", len(warnings) - MOST_CAUTIONS)

    def _log_failures(self, failed: Sequence[VideoOutcome]) -> None:
        """Log what failed, and once what failed of many in the same way."""
        alike: Counter[str] = Counter()
        for outcome in failed:
            why = str(outcome.error)
            if why in self._reasons:
                alike[why] += 1
            elif len(self._reasons) < MOST_FAILURES:
                number = outcome.index + 1  # as in the tables, the sheet and the CSV of a batch
                self._reasons[why] = number
                prompt = shorten(outcome.input.prompt, CAPTION_CHARACTERS, placeholder="…")
                self._logger.warning("Input %s failed, %r: %s", number, prompt, why)
            elif not self._has_more:
                self._has_more = True
                self._logger.warning("More inputs failed; the outcomes name each.")
        for why, number in alike.items():
            many = _counted(number, "more input")
            self._logger.warning("%s failed in the same way as %s.", many, self._reasons[why])

    def _log(self, counts: Counts, outage: Outage | None = None) -> None:
        if _is_over(counts):
            self._logger.info("The batch has ended: %s", describe_counts(counts))
        elif outage is not None and outage.seconds >= SILENT_SECONDS:
            self._tell_outage(outage, counts)
        elif self._outage is not None and outage is None:
            self._tell_outage(replace(self._outage, is_over=True), counts)
        elif self._is_all_bought(counts) or self._logged.is_due(counts.percent, LOGGED_PERCENT):
            self._logger.info("%s", describe_counts(counts))

    def _tell_outage(self, outage: Outage, counts: Counts) -> None:
        self._outage = None if outage.is_over else outage
        _tell_outage(self._logger, outage, describe_counts(counts))

    def _is_all_bought(self, counts: Counts) -> bool:
        """Whether everything is bought, so that the batch only waits; true once."""
        first = not (self._all_bought or counts.waiting)
        self._all_bought |= first
        return first

    def _publish(self, counts: Counts) -> None:
        over = _is_over(counts)
        if over or self._published.is_due(counts.percent, SEEN_PERCENT, BATCH_PROGRESS_SECONDS):
            with self._letting_go("progress"):
                self._show_progress(self._name, counts.percent, describe_counts(counts))
        if over or time.monotonic() - self._summed_up_at >= SUMMARY_SECONDS:
            self._summed_up_at = time.monotonic()
            with self._letting_go("summary"):
                text = summary(counts, self._failures)
                synchronously(create_markdown_artifact, text, self._name, describe_counts(counts))


class EnoughError(BaseException):
    """The caller takes no more outcomes, maybe because its flow run was cancelled."""


class Handover:
    """Hands the outcomes to a caller that may stop taking them.

    Args:
        put: Where they go.
    """

    def __init__(self, put: Callable[[VideoOutcome], object]) -> None:
        self._put = put
        self.enough = threading.Event()

    def __call__(self, outcome: VideoOutcome) -> None:
        """Hand one over."""
        self._put(outcome)


class _Last:
    """What was reported last, and when.

    Args:
        first_seconds: After how long there is a first report, whatever has happened.
    """

    def __init__(self, first_seconds: float = STANDSTILL_SECONDS) -> None:
        self._percent = 0.0
        self._at = time.monotonic() - STANDSTILL_SECONDS + first_seconds

    def is_due(self, percent: float, step: float, pause_seconds: float = 0.0) -> bool:
        """Whether it is time for another report; if so, this counts as one."""
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
    """How long something takes, in words.

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
    behind = "" if counts.last_position is None else f", the last behind {counts.last_position:,}"
    rows = [
        ("Videos", f"{counts.total:,}"),
        ("Done", f"{counts.done:,}"),
        ("There before", f"{counts.reused:,}"),
        ("Failed", f"{counts.failed:,}"),
        ("Running at fal", f"{counts.running:,}"),
        ("In fal's queue", f"{counts.queued:,}{behind}"),
        ("Not at fal yet", f"{counts.waiting:,}"),
        ("Bought by this run", f"{counts.bought:,}"),
        ("Spent", told_usd(counts.spent_usd, counts.realm)),
        ("Reserved for what is under way", told_usd(counts.reserved_usd, counts.realm)),
        ("Bought at a price that is not known", f"{counts.unpriced:,}"),
        ("Time so far", describe_seconds(counts.seconds)),
        ("Time left", describe_seconds(counts.left_seconds)),
    ]
    return f"{notice(counts.realm)}{facts(rows)}\n{_failure_table(failures)}"


def _failure_table(failures: Sequence[VideoOutcome]) -> str:
    if not failures:
        return ""
    shown = [(each, each.failure) for each in failures[:MOST_FAILURES]]
    rows = [_failure_row(each, failure) for each, failure in shown if failure]
    more = len(failures) - len(rows)
    rest = f"\nAnd {more:,} more: `outcomes.failed` has them all.\n" if more else ""
    head = ["#", "Prompt", "Error", "What happened", "What cures it", "Money spent"]
    return f"\n### Failed\n\n{table(head, rows)}\n{rest}"


def _failure_row(outcome: VideoOutcome, failure: Failure) -> list[str]:
    texts = [outcome.input.prompt, failure.kind, failure.message, failure.cure]
    cells = [escape(shorten(each, TEXT_CHARACTERS, placeholder="…")) for each in texts]
    return [str(outcome.index + 1), *cells, failure.billed]


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
