"""The state of one emulator: its queue, its faults, its clips, its files and its counts.

Here a request that is about to be accepted becomes a generation, with its end decided beforehand.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from anyio.abc import TaskGroup

from prefect_hailuo.emulator.clip import ClipLibrary
from prefect_hailuo.emulator.clock import Alarm, Alarms, Clock
from prefect_hailuo.emulator.faults import (
    COUNTED,
    BackToQueue,
    Call,
    Fail,
    FaultPlan,
    Happening,
    HistoryRules,
    Kind,
    RepeatWebhook,
    StopWhenCancelled,
)
from prefect_hailuo.emulator.outcome import Outcome, validate
from prefect_hailuo.emulator.queue import Disruptions, Durations, Generation, Simulation
from prefect_hailuo.emulator.storage import PictureReader, Uploads
from prefect_hailuo.emulator.webhooks import Delivery, WebhookSigner
from prefect_hailuo.fal.messages import EMULATOR_PREFIX
from prefect_hailuo.models.catalogue import Endpoint, VideoInput
from prefect_hailuo.ticket import Realm

if TYPE_CHECKING:
    pass


_START_TIMEOUT_HEADERS = ("x-fal-request-start-timeout", "x-fal-request-timeout")

_GOLDEN_RATIO = 0.6180339887

_JITTER_SHARE = 0.2


@dataclass(frozen=True)
class Setup:
    """How an emulator is set up.

    Args:
        clock: Tells the present.
        concurrency: How many generations are worked on at once.
        keys: The API keys that are accepted, each an account of its own.
        locked_key: The key of an account without credit.
        realm: Whether its answers are marked as the emulator's, or look like fal's.
        durations: How long generations take.
    """

    clock: Clock
    concurrency: int
    keys: frozenset[str]
    locked_key: str
    realm: Realm
    durations: Durations


@dataclass(frozen=True)
class MediaRequest:
    """A request for a video file, as a test may want to look at it.

    Args:
        request_id: Whose video.
        method: GET or HEAD.
        authorized: Whether it carried an Authorization header. A client should send none: files
            need no key, and their host must not learn it.
        range: The Range header, if it had one.
    """

    request_id: str
    method: str
    authorized: bool
    range: str | None


@dataclass(frozen=True)
class Order:
    """A request that is about to be accepted.

    Args:
        input_class: Of its endpoint.
        body: The input as it came.
        headers: Names in lower case.
        account: The API key that it came with.
        webhook: Where to tell of its end.
        planted: Whether a test puts it there as another client's.
    """

    input_class: type[VideoInput]
    body: dict[str, Any]
    headers: Mapping[str, str]
    account: str
    webhook: str | None = None
    planted: bool = False


QUEUE_OF_FAL = "https://queue.fal.run"

called_as_fal: ContextVar[bool] = ContextVar("called_as_fal", default=False)
"""Whether the request that is answered came under the name of fal's queue."""


class Emulation:
    """The state of one emulator.

    Args:
        setup: How it is set up.
        faults: What goes wrong.
        library: Serves the videos.
        public_url: How others call it, if they do not reach it by its own address.
    """

    def __init__(
        self, setup: Setup, faults: FaultPlan, library: ClipLibrary, public_url: str = ""
    ) -> None:
        self.setup = setup
        self.instance = uuid4().hex[:8]
        self.clock = setup.clock
        self.faults = faults
        self.library = library
        self.alarms = Alarms(self.clock)
        self.timekeeper: Alarm | None = None
        self.queue = Simulation(self.clock, setup.concurrency, on_event=self._wake_timekeeper)
        self.tasks: TaskGroup | None = None
        self.url = ""
        self._public_url = public_url.rstrip("/")
        self.requests: Counter[Kind] = Counter()
        self.media_requests: list[MediaRequest] = []
        self.deliveries: list[Delivery] = []
        self.uploads = Uploads()
        self._pictures = PictureReader(self.uploads)
        self.signer = WebhookSigner()
        self.history = HistoryRules()
        self.generations: list[Generation] = []
        self._by_id: dict[str, Generation] = {}
        self._planted = 0
        self._lock = threading.RLock()

    @property
    def public_url(self) -> str:
        """The address that its answers name, of its files and uploads, too."""
        return self._public_url or self.url

    @property
    def queue_url(self) -> str:
        """The queue's address: fal's own, where the request that is answered called it so."""
        return QUEUE_OF_FAL if called_as_fal.get() else self.public_url

    def accept(self, order: Order) -> tuple[Generation, int]:
        """Take a request into the queue; returns it with its position there."""
        with self._lock:
            generation = self._keep(self._make(order))
            return generation, self.queue.accept(generation)

    def run_now(self, order: Order) -> Generation | None:
        """Start a request past the queue; None if no runner is free."""
        with self._lock:
            if not self.queue.has_free_runner():
                return None
            generation = self._keep(self._make(order))
            self.queue.run_now(generation)
            return generation

    def plant(self, order: Order, seconds_ago: float) -> Generation:
        """Add a request of another client that has succeeded. It is not counted."""
        with self._lock:
            generation = self._keep(self._make(order))
            generation.sent_at -= timedelta(seconds=seconds_ago)
            self.queue.plant(generation)
            return generation

    def find(self, request_id: str, account: str) -> Generation | None:
        """An account's request, as it stands now."""
        generation = self._by_id.get(request_id)
        if generation is None or generation.account != account:
            return None
        self.queue.settle()
        return generation

    def find_any(self, request_id: str) -> Generation | None:
        """A request of any account: files are public."""
        return self._by_id.get(request_id)

    def known(self, call: Call) -> Call:
        """The call, completed by the endpoint and the prompt of its generation."""
        generation = self._by_id.get(call.request_id or "")
        if generation is None:
            return call
        return replace(call, endpoint=generation.endpoint.id, prompt=generation.prompt)

    async def video(self, generation: Generation) -> bytes:
        """The bytes of a generation's MP4 file.

        Raises:
            MissingExtraError: It has to be drawn, and PyAV or Pillow is not installed.
        """
        kind, body = generation.input_class, generation.body
        read = partial(self._pictures.stills, kind, body, self.public_url)
        return await self.library.video(generation, read)

    def stats(self) -> dict[str, Any]:
        """The counts, as `GET /_emulator/stats` gives them."""
        self.queue.settle()
        return {
            "charged": self.queue.charged,
            "submitted": len(self.generations) - self._planted,
            "running": self.queue.running,
            "completed": self.queue.completed,
            "requests": {kind: self.requests[kind] for kind in COUNTED},
        }

    def kept_seconds(self, seconds: float) -> float:
        """Emulator time for which something is kept that fal keeps for `seconds`.

        Speed concerns the queue and the model only. A reader still has fal's hour as an hour.
        """
        return seconds * self.clock.speed

    def _make(self, order: Order) -> Generation:
        prompt = order.body.get("prompt")
        call = Call(
            "submit",
            endpoint=order.input_class.endpoint.id,
            prompt=prompt if isinstance(prompt, str) else None,
        )
        return make_generation(
            order,
            number=len(self.generations) + 1,
            now=self.clock.now(),
            prefix=f"{EMULATOR_PREFIX}{self.instance}-" if self.setup.realm == "emulator" else "",
            durations=self.setup.durations,
            happenings=[] if order.planted else self.faults.draw("generation", call),
            flaw=self._pictures.flaw(order.input_class, order.body, self.public_url),
        )

    def _keep(self, generation: Generation) -> Generation:
        self.generations.append(generation)
        self._planted += generation.planted
        self._by_id[generation.request_id] = generation
        return generation

    def _wake_timekeeper(self) -> None:
        if self.timekeeper is not None:
            self.timekeeper.ring()


def make_generation(
    order: Order,
    *,
    number: int,
    now: float,
    prefix: str,
    durations: Durations,
    happenings: Sequence[Happening],
    flaw: Outcome | None = None,
) -> Generation:
    """Make a generation of a request, and decide how it will end.

    Args:
        order: The request.
        number: Which request it is, counted from 1.
        now: The instant, in emulator time.
        prefix: How request ids of this emulator begin.
        durations: How long generations take.
        happenings: What the faults do to it.
        flaw: How it fails because of its pictures; None if they are good.
    """
    generation = Generation(
        number=number,
        request_id=f"{prefix}{uuid.uuid4()}",
        input_class=order.input_class,
        body=order.body,
        headers=order.headers,
        account=order.account,
        submitted_at=now,
        sent_at=datetime.now(timezone.utc),
        outcome=_outcome(order, happenings, flaw),
        disruptions=_disruptions(happenings),
        start_within=_start_within(order.headers),
        webhook=order.webhook,
        planted=order.planted,
    )
    generation.duration = _duration(generation, durations)
    return generation


def _outcome(order: Order, happenings: Sequence[Happening], flaw: Outcome | None) -> Outcome:
    outcome = validate(order.input_class, order.body)
    if outcome.is_video and flaw:
        return replace(flaw, seconds=0)
    failures = [what.outcome for what in happenings if isinstance(what, Fail)]
    return failures[0] if failures and outcome.is_video else outcome


def _disruptions(happenings: Sequence[Happening]) -> Disruptions:
    back: list[float] = []
    deliveries = 1
    for what in happenings:
        if isinstance(what, BackToQueue):
            back += [what.after_seconds] * what.times
        elif isinstance(what, RepeatWebhook):
            deliveries = what.times
    stops = any(isinstance(what, StopWhenCancelled) for what in happenings)
    return Disruptions(tuple(back), stops, deliveries)


def _start_within(headers: Mapping[str, str]) -> float | None:
    for name in _START_TIMEOUT_HEADERS:
        try:
            return float(headers[name])
        except (KeyError, ValueError):
            continue
    return None


def _duration(generation: Generation, durations: Durations) -> float:
    if durations is None:
        return usual_duration(generation.endpoint, generation.number)
    if callable(durations):
        return float(durations(generation.submission()))
    return float(durations)


def usual_duration(endpoint: Endpoint, number: int) -> float:
    """About what the endpoint usually takes, in seconds; the same for the same number each time.

    Example:
        >>> from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo
        >>> 99 <= usual_duration(Hailuo23ProTextToVideo.endpoint, 7) <= 121
        True
    """
    share = number * _GOLDEN_RATIO % 1
    return endpoint.expected_seconds * (1 - _JITTER_SHARE / 2 + _JITTER_SHARE * share)
