"""What a run shows of a generation: log lines, progress, a card and a poster."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from textwrap import shorten

import anyio.to_thread
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.blocks.abstract import LoggerOrAdapter
from slugify import slugify
from typing_extensions import assert_never

from prefect_hailuo.assets import materialize
from prefect_hailuo.endpoints import find_input_class
from prefect_hailuo.events import (
    Adopted,
    Attached,
    Cautioned,
    Event,
    Logged,
    Progress,
    Reused,
    Searching,
    Stored,
    Submitted,
)
from prefect_hailuo.fal.messages import Completed, LogLine, Ticket
from prefect_hailuo.fal.pacing import CROWD
from prefect_hailuo.key import KEY_CHARACTERS_IN_NAME, generation_key
from prefect_hailuo.ledger.wishes import Run
from prefect_hailuo.loop import process_loop
from prefect_hailuo.media import poster_data_uri
from prefect_hailuo.notices import Subject, tell_completed, tell_submitted
from prefect_hailuo.places import Place
from prefect_hailuo.prefect_calls import synchronously
from prefect_hailuo.publishing import Publisher
from prefect_hailuo.runs import current_run
from prefect_hailuo.settings import current_settings
from prefect_hailuo.video import Video
from prefect_hailuo.waiting import PROGRESS_SECONDS, describe_status

MOST_PERCENT_WHILE_WAITING = 95.0

CAPTION_CHARACTERS = 100

LEVELS = {
    "DEBUG": logging.DEBUG,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}


class Teller(Publisher):
    """Tells a run what its generation does; made and called on the caller's side.

    Where many videos are made at once, none has artifacts of its own: a card takes Prefect's client
    and server longer than all that this package does for a video.

    Args:
        subject: The generation, as far as it is known beforehand.
        place: Where its video goes.
    """

    def __init__(self, subject: Subject | None = None, place: Place | None = None) -> None:
        super().__init__()
        self._subject = subject
        self._place = place
        self._status: str | None = None

    def tell(self, event: Event) -> None:
        """Tell of an event of the road."""
        match event:
            case Reused():
                self._tell_reused(event.video)
            case Attached():
                self._say("Going on with request %s.", event.ticket.request_id)
            case Searching():
                self._logger.warning(
                    "Generation %s may have been bought: looking for it in fal's request history.",
                    event.key[:KEY_CHARACTERS_IN_NAME],
                )
            case Adopted():
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
        """Say it in the log; of one of many, only to whoever looks closely: Prefect takes a
        millisecond and more for a line."""
        level = logging.DEBUG if process_loop().crowded else logging.INFO
        self._logger.log(level, message, *arguments)

    def _tell_reused(self, video: Video) -> None:
        self._say("Already stored at %s; nothing was bought.", video.place)
        poster = None
        if self._publishes and video.path:
            with suppress(Exception):  # a card without a poster is a card all the same
                poster = poster_data_uri(video.path)
        self._publish_video(video, poster)

    def _tell_submitted(self, ticket: Ticket) -> None:
        endpoint = find_input_class(ticket.endpoint).endpoint
        money = _money(endpoint.price_usd(ticket.input), ticket.realm == "emulator")
        self._say("Submitted to %s as %s; it costs %s.", endpoint.name, ticket.request_id, money)
        if not process_loop().crowded:
            found = Subject.of_ticket(ticket)
            tell_submitted((self._subject or found).known_as(found.key), ticket)

    def _caution(self, warnings: Sequence[str]) -> None:
        """Say each of the warnings, but once in a flow run."""
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
            return  # of many at once, most are told of as such before they are shown
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


_cautioned: deque[tuple[Run, str]] = deque(maxlen=256)

_told_why: deque[Run] = deque(maxlen=64)


def _say_why(logger: LoggerOrAdapter) -> None:
    """Say once in a flow run why there are no more artifacts."""
    run = current_run()
    if run not in _told_why:
        _told_why.append(run)
        logger.info(
            "More than %s videos at once: none has a card, a poster or progress of its own, and "
            "what they do is logged at DEBUG.",
            CROWD,
        )


def describe_progress(event: Progress) -> tuple[float, str]:
    """A progress as a percentage and in words."""
    share = event.elapsed_seconds / event.expected_seconds
    percent = min(MOST_PERCENT_WHILE_WAITING, 100 * share)
    if isinstance(event.status, Completed):
        percent = MOST_PERCENT_WHILE_WAITING
    text = (
        f"{describe_status(event.status).capitalize()}: {event.elapsed_seconds:.0f} s of about "
        f"{event.expected_seconds:.0f} s."
    )
    return round(percent, 1), text


def card(video: Video) -> str:
    """A video's card, in Markdown."""
    rows = [
        ("Model", f"[{_title(video)}](https://fal.ai/models/{video.endpoint})"),
        ("File", f"`{video.place}`"),
        ("Link", f"[fal's copy, for as long as it keeps it]({video.url})"),
        ("Picture", _picture(video)),
        ("Size", f"{video.size:,} bytes"),
        ("Cost", _money(video.price_usd, video.made_by_emulator)),
        ("Take", escape(video.take)),
        ("Labels", escape(", ".join(f"{k}: {v}" for k, v in video.labels.items()))),
        ("Request id", f"`{video.request_id}`"),
        ("Submitted", _time(video.submitted_at)),
        ("Completed", _time(video.completed_at)),
        ("Stored", _time(video.stored_at)),
        ("SHA-256", f"`{video.sha256}`"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows if value)
    banner = "**Made by the emulator: nothing was generated or charged.**\n\n"
    return (
        f"{banner if video.made_by_emulator else ''}"
        f"> {escape(video.prompt or 'The prompt is not known.')}\n\n"
        f"| | |\n| --- | --- |\n{table}\n"
    )


def escape(text: str) -> str:
    """A text that Markdown shows as it is, on one line.

    Example:
        >>> escape("a <b> | *c*")
        'a \\\\<b\\\\> \\\\| \\\\*c\\\\*'
    """
    return re.sub(r"([\\`*_{}\[\]()#+!|<>~&-]|:(?=//))", r"\\\1", " ".join(text.split()))


def _short_name(video: Video) -> str:
    return (video.key or slugify(video.request_id))[:KEY_CHARACTERS_IN_NAME]


def ticket_name(ticket: Ticket) -> str:
    """A short name of a request for artifact keys: the same that its video will have."""
    if ticket.input is None:
        return slugify(ticket.request_id)[:KEY_CHARACTERS_IN_NAME]
    given = find_input_class(ticket.endpoint).model_validate(ticket.input)
    return generation_key(given, realm=ticket.realm, take=ticket.take)[:KEY_CHARACTERS_IN_NAME]


def _caption(video: Video) -> str:
    prompt = shorten(video.prompt or video.request_id, CAPTION_CHARACTERS, placeholder="…")
    return f"{_title(video)}: {escape(prompt)}"  # Prefect shows a description as Markdown


def _title(video: Video) -> str:
    return find_input_class(video.endpoint).endpoint.title.replace("[", "").replace("]", "")


def _money(price_usd: Decimal | None, emulated: bool) -> str:
    price = "a price that is not known" if price_usd is None else f"about ${price_usd}"
    return f"nothing (fal would charge {price})" if emulated else price


def _picture(video: Video) -> str:
    if video.width is None:
        return ""
    return (
        f"{video.width}×{video.height}, {video.duration_seconds:g} s, "
        f"{video.frames_per_second:g} fps, {video.codec}"
    )


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""
