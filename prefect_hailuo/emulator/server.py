"""The emulator as a server in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from decimal import Decimal
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from prefect_hailuo.emulator.app import make_app
from prefect_hailuo.emulator.clips import Clip, ClipLibrary
from prefect_hailuo.emulator.clock import Clock, RunningClock
from prefect_hailuo.emulator.emulation import Emulation, MediaRequest, Setup
from prefect_hailuo.emulator.faults import Fault, FaultPlan
from prefect_hailuo.emulator.generations import Durations, Submission
from prefect_hailuo.emulator.mishaps import HistoryRules
from prefect_hailuo.emulator.orders import Order
from prefect_hailuo.emulator.signing import Delivery
from prefect_hailuo.emulator.uploads import Upload
from prefect_hailuo.emulator.web_server import STOP_SECONDS, WebServer, listen
from prefect_hailuo.emulator.wire import Wire
from prefect_hailuo.endpoints import CATALOGUE
from prefect_hailuo.fal.messages import EMULATOR_KEY, Realm
from prefect_hailuo.media import require_media

if TYPE_CHECKING:
    from prefect_hailuo.blocks import FalCredentials

LOCKED_KEY = "emulator:no-credit"
"""The key of an account whose balance is exhausted: it may look, and is refused a submission."""

_START_SECONDS = 10.0


class FalEmulator:
    """A local stand-in for fal, to be used as a context manager.

    Args:
        port: Where to listen; 0 for any free port.
        host: The address to listen on; by default this machine's loopback only.
        speed: Seconds of emulator time to a second of the machine's.
        clock: Time to go by instead, such as a `ManualClock`.
        concurrency: How many generations are worked on at once; fal's new accounts have 2.
        api_key: The key that is accepted.
        other_keys: Keys of further accounts; an account sees its own requests only.
        faults: What is to go wrong from the start; `emulator.faults.add` adds more.
        clip: The videos: `"prompt"` draws one for each prompt (1 s of a core each), `"plain"`
            one for all, bytes are served as they are.
        realm: `"fal"` makes it play fal itself, without marks; for tests only.
        durations: How long a generation takes, in emulator seconds, or a function of its
            `Submission`; by default about the endpoint's `expected_seconds`.
        certificate: Path of a PEM certificate: serves https.
        private_key: Path of its PEM private key.

    Raises:
        OSError: The port is taken.
        ValueError: `speed`, `concurrency` or `clip` makes no sense.

    Example:
        >>> with FalEmulator(speed=100) as emulator:
        ...     emulator.stats()["charged"]
        0
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        speed: float = 1.0,
        clock: Clock | None = None,
        concurrency: int = 2,
        api_key: str = EMULATOR_KEY,
        other_keys: Iterable[str] = (),
        faults: Iterable[Fault] = (),
        clip: Clip = "prompt",
        realm: Realm = "emulator",
        durations: Durations = None,
        certificate: str | PathLike[str] | None = None,
        private_key: str | PathLike[str] | None = None,
    ) -> None:
        setup = Setup(
            clock=clock or RunningClock(speed),
            concurrency=concurrency,
            keys=frozenset({api_key, *other_keys}),
            locked_key=LOCKED_KEY,
            realm=realm,
            durations=durations,
        )
        self.faults = FaultPlan(faults)
        self.api_key = api_key
        self._emulation = Emulation(setup, self.faults, ClipLibrary(clip))
        self._address = (host, port)
        self._draws = not isinstance(clip, bytes)
        self._tls = (certificate, private_key)
        self._server: WebServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve; returns when requests are answered.

        Raises:
            OSError: The port is taken, or the certificate cannot be read.
            RuntimeError: It was started before; make another.
            MissingExtraError: It is to draw videos, and the extra `media` is not installed.
        """
        if self._draws:
            require_media()
        if self._thread is not None or self._emulation.alarms.stopped:
            raise RuntimeError("An emulator is started once; make another.")
        app = Wire(make_app(self._emulation), self._emulation)
        server = WebServer(app, self._emulation.alarms.stop, *self._tls)
        listener = listen(self._address)
        scheme = "http" if self._tls[0] is None else "https"
        host, port = listener.getsockname()[:2]
        self._emulation.url = f"{scheme}://{host}:{port}"
        self._server = server
        self._thread = threading.Thread(
            target=server.run, args=([listener],), name="fal-emulator", daemon=True
        )
        self._thread.start()
        if not server.ready.wait(_START_SECONDS):
            raise RuntimeError(f"The emulator did not start within {_START_SECONDS} s.")

    def stop(self) -> None:
        """End: streams are closed, the port is free when this returns."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join(STOP_SECONDS)
        self._server = self._thread = None

    @property
    def url(self) -> str:
        """Where it is, such as `http://127.0.0.1:51234`; its queue's address."""
        return self._emulation.url

    def credentials(self) -> FalCredentials:
        """Credentials that lead every request to this emulator."""
        from prefect_hailuo.blocks import FalCredentials

        block = FalCredentials.for_emulator(self.url, self.api_key)
        return block.model_copy(update={"realm": self._emulation.setup.realm})

    @property
    def charged(self) -> int:
        """How many generations fal would have charged for."""
        self._emulation.queue.settle()
        return self._emulation.queue.charged

    @property
    def charged_usd(self) -> Decimal:
        """What fal would have charged, in US dollars."""
        self._emulation.queue.settle()
        return self._emulation.queue.charged_usd

    @property
    def requests(self) -> dict[str, int]:
        """How many HTTP requests came in, by kind."""
        requests: dict[str, int] = self.stats()["requests"]
        return requests

    def stats(self) -> dict[str, Any]:
        """The same as `GET /_emulator/stats`."""
        return self._emulation.stats()

    @property
    def submissions(self) -> list[Submission]:
        """What was accepted, oldest first."""
        self._emulation.queue.settle()
        generations = tuple(self._emulation.generations)
        return [each.submission() for each in generations if not each.planted]

    @property
    def history(self) -> HistoryRules:
        """How the request history misbehaves; set its fields while the emulator runs."""
        return self._emulation.history

    def plant(self, endpoint: str, body: dict[str, Any], *, seconds_ago: float = 0.0) -> str:
        """Put in a request that somebody else sent to the same account, and that ended well.

        It is in the request history and can be collected, but counts neither as submitted nor as
        charged.

        Args:
            endpoint: fal's endpoint id.
            body: Its input.
            seconds_ago: How long ago it was sent.

        Returns:
            Its request id.

        Raises:
            KeyError: There is no such endpoint.
        """
        order = Order(CATALOGUE[endpoint], body, {}, self.api_key, planted=True)
        return self._emulation.plant(order, seconds_ago).request_id

    @property
    def webhook_deliveries(self) -> list[Delivery]:
        """The attempts to deliver webhooks, oldest first."""
        return list(self._emulation.deliveries)

    @property
    def uploads(self) -> list[Upload]:
        """The files that were uploaded to its storage, oldest first."""
        return self._emulation.uploads.kept()

    @property
    def media_requests(self) -> list[MediaRequest]:
        """The requests for video files, oldest first."""
        return list(self._emulation.media_requests)
