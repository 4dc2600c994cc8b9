"""What all routes of one emulator share: its queue, its faults, its clips, its tallies."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from anyio.abc import TaskGroup

from prefect_hailuo.emulator.alarms import Alarm, Alarms
from prefect_hailuo.emulator.calls import COUNTED, Call, Kind
from prefect_hailuo.emulator.clips import ClipLibrary
from prefect_hailuo.emulator.clock import Clock
from prefect_hailuo.emulator.faults import FaultPlan
from prefect_hailuo.emulator.generations import Durations, Generation
from prefect_hailuo.emulator.mishaps import HistoryRules
from prefect_hailuo.emulator.orders import Order, make_generation
from prefect_hailuo.emulator.queue import Simulation
from prefect_hailuo.emulator.reading import PictureReader
from prefect_hailuo.emulator.signing import Delivery, WebhookSigner
from prefect_hailuo.emulator.uploads import Uploads
from prefect_hailuo.fal.messages import EMULATOR_PREFIX, Realm


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
class Setup:
    """How an emulator is set up.

    Args:
        clock: Tells the present.
        concurrency: How many generations are worked on at once.
        keys: The API keys that are accepted, each an account of its own.
        locked_key: The key of an account without credit.
        realm: Whom it plays.
        durations: How long generations take.
    """

    clock: Clock
    concurrency: int
    keys: frozenset[str]
    locked_key: str
    realm: Realm
    durations: Durations


class Emulation:
    """The state of one emulator.

    Args:
        setup: How it is set up.
        faults: What goes wrong.
        library: Serves the videos.
    """

    def __init__(self, setup: Setup, faults: FaultPlan, library: ClipLibrary) -> None:
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
        """Put in a request that somebody else sent and that has ended well; it counts nowhere."""
        with self._lock:
            generation = self._keep(self._make(order))
            generation.sent_at -= timedelta(seconds=seconds_ago)
            self.queue.plant(generation)
            return generation

    def find(self, request_id: str, account: str) -> Generation | None:
        """An account's request, with everything due having happened to it."""
        generation = self._by_id.get(request_id)
        if generation is None or generation.account != account:
            return None
        self.queue.settle()
        return generation

    def find_any(self, request_id: str) -> Generation | None:
        """A request, whoever's it is: files are public."""
        return self._by_id.get(request_id)

    def known(self, call: Call) -> Call:
        """The call, with the endpoint and prompt of the generation that it is about."""
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
        read = partial(self._pictures.stills, kind, body, self.url)
        return await self.library.video(generation, read)

    def stats(self) -> dict[str, Any]:
        """The tallies, as `GET /_emulator/stats` gives them."""
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

        Speed hurries the queue and the model, not the reader: fal's hour stays an hour.
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
            flaw=self._pictures.flaw(order.input_class, order.body, self.url),
        )

    def _keep(self, generation: Generation) -> Generation:
        self.generations.append(generation)
        self._planted += generation.planted
        self._by_id[generation.request_id] = generation
        return generation

    def _wake_timekeeper(self) -> None:
        if self.timekeeper is not None:
            self.timekeeper.ring()
