"""What goes wrong in the emulator, and with which requests.

    emulator.faults.add(drop_after_accepting("submit"))
    emulator.faults.add(refuse("status", 502, nth=3))
    emulator.faults.add(refuse_content(prompt="forbidden", count=None))

A fault names what it is `on` (submit, status, stream, result, cancel, media, run, history,
models, pricing, or `generation`: what the model does), what happens, and which of the requests of
that kind it strikes: from the `nth` on, `count` of them (None for all), of one `endpoint`, of
prompts that contain a text. Requests are counted from when the fault is added. What the model does
with a generation is decided when its submission is accepted.

The functions at the end make a fault by name. Besides their own arguments they take `nth`, `count`,
`endpoint` and `prompt`, as `Fault` does. By default a fault strikes the next request only.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict
from urllib.parse import parse_qs, urlsplit, urlunsplit

from starlette.types import Scope
from typing_extensions import Unpack

from prefect_hailuo.emulator.outcome import NO_CREDIT, Outcome, model_failure

Kind = Literal[
    "submit",
    "status",
    "stream",
    "result",
    "cancel",
    "media",
    "run",
    "history",
    "models",
    "pricing",
    "upload",
    "other",
]
"""What a request is for."""

COUNTED: tuple[Kind, ...] = ("submit", "status", "stream", "result", "cancel", "media")
"""The kinds that the statistics count."""


@dataclass(frozen=True)
class Delay:
    """The answer comes late.

    Args:
        seconds: Of the machine's time.
        after_accepting: Whether the emulator has done its part before the delay, or only after.
    """

    seconds: float
    after_accepting: bool = True


@dataclass(frozen=True)
class Answer:
    """An answer in place of the true one.

    Args:
        status: HTTP status.
        body: A JSON value, or raw bytes.
        headers: Such as `{"Retry-After": "2"}`.
        after_accepting: Whether the request was carried out all the same.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after_accepting: bool = False


@dataclass(frozen=True)
class Drop:
    """The connection is closed without an answer.

    Args:
        after_accepting: Whether the request was carried out all the same.
        reset: Whether the client sees a reset (RST) instead of an orderly end.
    """

    after_accepting: bool
    reset: bool = False


@dataclass(frozen=True)
class Cut:
    """The answer breaks off.

    Args:
        at: How many bytes of the body arrive.
        with_length: Whether the answer had announced the length of the whole; else it is chunked.
        looks_whole: Whether a chunked answer ends as if it were complete.
    """

    at: int
    with_length: bool = True
    looks_whole: bool = False


@dataclass(frozen=True)
class Edit:
    """The true JSON answer, changed.

    Args:
        change: Is given the decoded body, returns what to send instead.
    """

    change: Callable[[Any], Any]


@dataclass(frozen=True)
class Fail:
    """The model fails, in place of making a video.

    Args:
        outcome: How it ends.
    """

    outcome: Outcome


@dataclass(frozen=True)
class BackToQueue:
    """fal loses the runner and queues the request again.

    Args:
        after_seconds: Emulator seconds of work before that.
        times: How often it happens to a request.
    """

    after_seconds: float
    times: int = 1


@dataclass(frozen=True)
class StopWhenCancelled:
    """The model heeds a cancellation while it works. By default it ignores it, completes and is
    charged: the dearer of the two readings that fal's documentation leaves open."""


@dataclass(frozen=True)
class RepeatWebhook:
    """The webhook is delivered more than once.

    Args:
        times: How often in all.
    """

    times: int = 2


WireMishap = Delay | Answer | Drop | Cut | Edit

ModelMishap = Fail | BackToQueue | StopWhenCancelled | RepeatWebhook

Happening = WireMishap | ModelMishap


@dataclass
class HistoryRules:
    """How the request history differs from what happened. Tests set its fields.

    Args:
        lag_seconds: After how long a request is listed at all, in the reader's seconds.
        omits_queued: Whether a request is listed only once work on it has begun.
        omits_payloads: Whether inputs and outputs are left out although they were asked for.
        page_size: How many items a page has at most, whatever was asked for.
        skew_seconds: By how much fal's clock is ahead, in the history and in every `Date` header.
    """

    lag_seconds: float = 0.0
    omits_queued: bool = False
    omits_payloads: bool = False
    page_size: int | None = None
    skew_seconds: float = 0.0


Place = Kind | Literal["generation"]
"""Where a fault strikes: a kind of request, or the model's work on a generation."""

_BELOW_APP = r"/[^/]+/[^/]+/requests/(?P<request_id>[^/]+)"

_ROUTES: tuple[tuple[Kind, frozenset[str], re.Pattern[str]], ...] = (
    ("media", frozenset({"GET", "HEAD"}), re.compile(r"/files/(?P<request_id>[^/]+)/[^/]+")),
    ("run", frozenset({"POST"}), re.compile(r"/run/(?P<endpoint>.+)")),
    ("history", frozenset({"GET"}), re.compile(r"/platform/v1/models/requests/by-endpoint")),
    ("models", frozenset({"GET"}), re.compile(r"/platform/v1/models")),
    ("pricing", frozenset({"GET"}), re.compile(r"/platform/v1/models/pricing")),
    (
        "upload",
        frozenset({"POST", "PUT"}),
        re.compile(
            r"/rest/storage/upload/initiate(-multipart)?|/cdn/files/upload(/multipart)?|/storage/.+"
        ),
    ),
    ("other", frozenset({"GET", "POST"}), re.compile(r"/(_emulator|api|rest|platform)(/.*)?")),
    ("status", frozenset({"GET"}), re.compile(_BELOW_APP + "/status")),
    ("stream", frozenset({"GET"}), re.compile(_BELOW_APP + "/status/stream")),
    ("result", frozenset({"GET"}), re.compile(_BELOW_APP)),
    ("cancel", frozenset({"PUT"}), re.compile(_BELOW_APP + "/cancel")),
    ("submit", frozenset({"POST"}), re.compile(r"/(?P<endpoint>.+)")),
)


@dataclass(frozen=True)
class Call:
    """What faults know of a client's request.

    Args:
        kind: What it is for.
        request_id: The id of the generation that it is about, if its path names one.
        endpoint: The endpoint's id, if it is known.
        prompt: The prompt of what is submitted or asked about, if it is known.
    """

    kind: Kind
    request_id: str | None = None
    endpoint: str | None = None
    prompt: str | None = None


def call_of(scope: Scope) -> Call:
    """What an HTTP request is for."""
    for kind, methods, pattern in _ROUTES:
        match = pattern.fullmatch(scope["path"])
        if match and scope["method"] in methods:
            named = match.groupdict()
            endpoint = named.get("endpoint") or _endpoint_asked_about(scope)
            return Call(kind, named.get("request_id"), endpoint)
    return Call("other")


def _endpoint_asked_about(scope: Scope) -> str | None:
    """The endpoint that a request to the platform API names, if it names exactly one."""
    named = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("endpoint_id", [])
    return named[0] if len(named) == 1 else None


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Args:
        on: The kind of request, or `generation`.
        what: What happens.
        nth: The first of the matching requests that it strikes, counted from 1.
        count: How many it strikes; None for all that follow.
        endpoint: Only requests about this endpoint's id.
        prompt: Only requests about a prompt that contains this text.

    Raises:
        ValueError: `nth` or `count` is below 1.
    """

    on: Place
    what: Happening
    nth: int = 1
    count: int | None = 1
    endpoint: str | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        if self.nth < 1 or (self.count is not None and self.count < 1):
            raise ValueError(f"nth and count begin at 1: nth={self.nth}, count={self.count}")

    def concerns(self, place: Place, call: Call) -> bool:
        """Whether a request matches, and so is counted."""
        return (
            self.on == place
            and self.endpoint in (None, call.endpoint)
            and (self.prompt is None or self.prompt in (call.prompt or ""))
        )

    def strikes(self, number: int) -> bool:
        """Whether it strikes the request with this number, among those that match."""
        return number >= self.nth and (self.count is None or number < self.nth + self.count)


@dataclass
class _Watched:
    fault: Fault
    seen: int = 0
    struck: int = 0


class FaultPlan:
    """The faults of one emulator; tests may add to it while it runs, from any thread.

    Args:
        faults: Those to begin with.

    Example:
        >>> from prefect_hailuo.emulator import refuse
        >>> plan = FaultPlan()
        >>> plan.add(refuse("submit", 503))
        >>> len(plan)
        1
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._watched = [_Watched(fault) for fault in faults]

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, *faults: Fault) -> None:
        """Add faults; they count requests from now on."""
        with self._lock:
            self._watched.extend(_Watched(fault) for fault in faults)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._watched.clear()

    def struck(self, fault: Fault) -> int:
        """How often a fault has struck."""
        with self._lock:
            return sum(watched.struck for watched in self._watched if watched.fault is fault)

    def draw(self, place: Place, call: Call) -> list[Happening]:
        """What happens to a request, in the order in which the faults were added."""
        with self._lock:
            return [
                watched.fault.what for watched in self._watched if _strikes(watched, place, call)
            ]


def _strikes(watched: _Watched, place: Place, call: Call) -> bool:
    if not watched.fault.concerns(place, call):
        return False
    watched.seen += 1
    strikes = watched.fault.strikes(watched.seen)
    watched.struck += strikes
    return strikes


NOT_JSON = b"<html><body>502 Bad Gateway</body></html>"
"""What a proxy may answer in fal's place."""


class Which(TypedDict, total=False):
    """Which requests a fault strikes; see `Fault`."""

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
    """The request took effect, and a proxy answers in fal's place."""
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
