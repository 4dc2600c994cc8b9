"""Faults by name: what goes wrong at fal, on the way there and on the way back.

Each takes, besides its own arguments, which requests it befalls: `nth`, `count`, `endpoint` and
`prompt`, as in `Fault`; by default the next one only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict
from urllib.parse import urlsplit, urlunsplit

from typing_extensions import Unpack

from prefect_hailuo.emulator.calls import Kind
from prefect_hailuo.emulator.faults import Fault
from prefect_hailuo.emulator.incoming import NO_CREDIT
from prefect_hailuo.emulator.mishaps import (
    Answer,
    BackToQueue,
    Cut,
    Delay,
    Drop,
    Edit,
    Fail,
    RepeatWebhook,
    StopWhenCancelled,
)
from prefect_hailuo.emulator.outcomes import model_failure

NOT_JSON = b"<html><body>502 Bad Gateway</body></html>"
"""What a proxy between may answer in fal's place."""


class Which(TypedDict, total=False):
    """Which requests a fault befalls; see `Fault`."""

    nth: int
    count: int | None
    endpoint: str | None
    prompt: str | None


def refuse(
    on: Kind,
    status: int,
    detail: str = "Refused by the plan of faults",
    *,
    headers: Mapping[str, str] | None = None,
    **which: Unpack[Which],
) -> Fault:
    """The request is refused and does nothing.

    Example:
        >>> fault = refuse("submit", 429, headers={"Retry-After": "2"}, nth=2)
        >>> fault.what.status, fault.nth
        (429, 2)
    """
    return Fault(on, Answer(status, {"detail": detail}, headers or {}), **which)


def refuse_without_credit(on: Kind = "submit", **which: Unpack[Which]) -> Fault:
    """The account's balance is exhausted: 403."""
    return refuse(on, 403, NO_CREDIT, **which)


def delay(
    on: Kind, seconds: float, *, after_accepting: bool = True, **which: Unpack[Which]
) -> Fault:
    """The answer is late by seconds of the machine's time.

    With `after_accepting=False` the request itself is late: it takes effect after the delay, even
    if the client has given up by then.
    """
    return Fault(on, Delay(seconds, after_accepting), **which)


def drop_before_accepting(on: Kind, *, reset: bool = False, **which: Unpack[Which]) -> Fault:
    """The connection breaks, and the request did nothing."""
    return Fault(on, Drop(after_accepting=False, reset=reset), **which)


def drop_after_accepting(on: Kind, *, reset: bool = False, **which: Unpack[Which]) -> Fault:
    """The connection breaks without an answer, and the request took effect.

    On `submit`, the video is made and charged, and the client knows neither.
    """
    return Fault(on, Drop(after_accepting=True, reset=reset), **which)


def lose_answer(on: Kind, status: int = 502, **which: Unpack[Which]) -> Fault:
    """The request took effect, and something between answers in fal's place."""
    headers = {"content-type": "text/html"}
    return Fault(on, Answer(status, NOT_JSON, headers, after_accepting=True), **which)


def garble(on: Kind, body: Any = NOT_JSON, **which: Unpack[Which]) -> Fault:
    """The request took effect, and the answer is 200 with another body.

    Args:
        on: The kind of request.
        body: Raw bytes, or a JSON value of another shape.
        which: Which of the requests.
    """
    return Fault(on, Answer(200, body, after_accepting=True), **which)


def cut(
    on: Kind,
    at: int,
    *,
    with_length: bool = True,
    looks_whole: bool = False,
    **which: Unpack[Which],
) -> Fault:
    """The answer breaks off.

    Args:
        on: The kind of request.
        at: How many bytes of the body arrive.
        with_length: Whether the length of the whole was announced; else the answer is chunked.
        looks_whole: Whether a chunked answer ends as if it were complete.
        which: Which of the requests.
    """
    return Fault(on, Cut(at, with_length, looks_whole), **which)


def edit(on: Kind, change: Callable[[Any], Any], **which: Unpack[Which]) -> Fault:
    """The answer's JSON is changed on its way.

    Example:
        >>> fault = edit("status", lambda body: {**body, "status": "PONDERING"}, count=None)
    """
    return Fault(on, Edit(change), **which)


def redirect(on: Kind, location: str, status: int = 302, **which: Unpack[Which]) -> Fault:
    """The request is sent elsewhere."""
    return Fault(on, Answer(status, headers={"location": location}), **which)


def foreign_urls(url: str, **which: Unpack[Which]) -> Fault:
    """The answer to a submission names addresses on another host.

    Args:
        url: Scheme and host to put in place of the emulator's.
        which: Which of the submissions.
    """
    return edit("submit", lambda body: _moved(body, url), **which)


def _moved(body: dict[str, Any], url: str) -> dict[str, Any]:
    elsewhere = urlsplit(url)[:2]
    names = [name for name in body if name.endswith("_url")]
    return {
        **body,
        **{name: urlunsplit((*elsewhere, *urlsplit(body[name])[2:])) for name in names},
    }


def bare_result(**which: Unpack[Which]) -> Fault:
    """The result tells no more than fal guarantees: no size, no name, a type of null."""
    return edit("result", lambda body: {"video": _bare(body["video"])}, **which)


def _bare(video: dict[str, Any]) -> dict[str, Any]:
    return {"url": video["url"], "content_type": None}


def expire_result(**which: Unpack[Which]) -> Fault:
    """The result is no longer kept."""
    return Fault("result", Answer(404, {"status": "NOT_FOUND"}), **which)


def expire_file(status: int = 404, **which: Unpack[Which]) -> Fault:
    """The file is no longer served."""
    return refuse("media", status, "Not Found", **which)


def wrong_bytes(body: bytes = b"not a video", **which: Unpack[Which]) -> Fault:
    """Another file is served as the video."""
    return Fault("media", Answer(200, body, {"content-type": "video/mp4"}), **which)


def go_back_to_queue(after_seconds: float = 1.0, times: int = 1, **which: Unpack[Which]) -> Fault:
    """fal loses the runner at work and queues the request again.

    Args:
        after_seconds: Emulator seconds of work before that.
        times: How often it happens to a request.
        which: Which of the generations.
    """
    return Fault("generation", BackToQueue(after_seconds, times), **which)


def refuse_content(*, charged: bool = False, **which: Unpack[Which]) -> Fault:
    """The model refuses what the prompt asks to see; fal says that a 422 may be charged."""
    text = "The content could not be processed: it was flagged by a content checker."
    outcome = model_failure(422, text, "content_policy_violation", charged=charged)
    return Fault("generation", Fail(outcome), **which)


def fail_inside(**which: Unpack[Which]) -> Fault:
    """The model fails with an error of its own: 500, not charged."""
    outcome = model_failure(500, "Internal server error", "internal_server_error")
    return Fault("generation", Fail(outcome), **which)


def time_out(**which: Unpack[Which]) -> Fault:
    """The model takes too long for fal: 504, not charged."""
    outcome = model_failure(504, "Generation timed out", "generation_timeout")
    return Fault("generation", Fail(outcome), **which)


def stop_when_cancelled(**which: Unpack[Which]) -> Fault:
    """The model heeds a cancellation at work, and nothing is charged; by default it ignores it."""
    return Fault("generation", StopWhenCancelled(), **which)


def repeat_webhook(times: int = 2, **which: Unpack[Which]) -> Fault:
    """The webhook is delivered more than once."""
    return Fault("generation", RepeatWebhook(times), **which)
