"""The emulator as a server: in a thread of a test or a flow, or in a process of its own."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from decimal import Decimal
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import uvicorn
from starlette.types import ASGIApp
from typing_extensions import Self

from prefect_hailuo.emulator.app import ExposedConnection, Wire, make_app
from prefect_hailuo.emulator.clip import Clip, ClipLibrary
from prefect_hailuo.emulator.clock import Clock, RunningClock
from prefect_hailuo.emulator.emulation import Emulation, MediaRequest, Order, Setup
from prefect_hailuo.emulator.faults import Fault, FaultPlan, HistoryRules
from prefect_hailuo.emulator.queue import Durations, Submission
from prefect_hailuo.emulator.storage import Upload
from prefect_hailuo.emulator.webhooks import Delivery
from prefect_hailuo.fal.messages import EMULATOR_KEY, EMULATOR_PORT, EMULATOR_SPEED
from prefect_hailuo.media.probe import require_media
from prefect_hailuo.models.catalogue import CATALOGUE
from prefect_hailuo.models.money import dollars
from prefect_hailuo.ticket import Realm

if TYPE_CHECKING:
    from prefect_hailuo.runs.blocks import FalCredentials

LOCKED_KEY = "emulator:no-credit"
"""The key of an account whose balance is exhausted: it may look, and is refused a submission."""

STOP_SECONDS = 5.0
"""For how long the end is waited for."""

_START_SECONDS = 10.0

_STOP_TICK_SECONDS = 0.005

_BACKLOG = 2048

_KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection: none is closed under a request on its way."""

_INSTRUCTIONS = """\
An emulator of fal is at {url}: nothing is generated, nothing is charged.

With this package:

    from prefect_hailuo import FalCredentials

    credentials = FalCredentials.for_emulator("{url}"{own_key})

Or, for every call that names no credentials:

    export PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL={url}

With curl:

    curl {url}/run/fal-ai/minimax/hailuo-2.3/pro/text-to-video \\
      --header "Authorization: Key {key}" \\
      --json '{{"prompt": "A red fox crosses a snowy field."}}'
{official}
Ctrl-C stops it.
"""

_OFFICIAL_CLIENT = """
With fal's Python client:

    export FAL_KEY={key} SSL_CERT_FILE={certificate}
    export FAL_QUEUE_RUN_HOST={host} FAL_RUN_HOST={host}/run
"""


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
        public_url: The address that its answers name, if clients reach it by another than its own:
            behind a proxy, in a container, or under fal's name. By default its own; a client that
            calls it as `queue.fal.run` gets answers that name `queue.fal.run`.

    Raises:
        OSError: The port is taken.
        ValueError: `speed`, `concurrency`, `clip` or `public_url` makes no sense.

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
        public_url: str = "",
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
        self._emulation = Emulation(setup, self.faults, ClipLibrary(clip), _checked(public_url))
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
        from prefect_hailuo.runs.blocks import FalCredentials

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
        """Add a request that another client of the same account sent, and that succeeded.

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


def serve(
    port: int = EMULATOR_PORT,
    speed: float = EMULATOR_SPEED,
    *,
    host: str = "127.0.0.1",
    concurrency: int = 2,
    api_key: str = EMULATOR_KEY,
    clip: Clip = "prompt",
    certificate: str | PathLike[str] | None = None,
    private_key: str | PathLike[str] | None = None,
    public_url: str = "",
    until: threading.Event | None = None,
) -> None:
    """Serve until Ctrl-C, and say on standard output how to use it and what it would have cost.

    Args:
        port: Where to listen; 0 for any free port.
        speed: Seconds of emulator time to a second of the machine's.
        host: The address to listen on; by default this machine's loopback only.
        concurrency: How many generations are worked on at once.
        api_key: The key that is accepted.
        clip: The videos; see `FalEmulator`.
        certificate: Path of a PEM certificate: serves https.
        private_key: Path of its PEM private key.
        public_url: The address that its answers name, if it is another.
        until: Ends it when set, as Ctrl-C does.

    Raises:
        OSError: The port is taken.
        ValueError: `speed`, `concurrency` or `clip` makes no sense.
    """
    emulator = FalEmulator(
        port=port,
        host=host,
        speed=speed,
        concurrency=concurrency,
        api_key=api_key,
        clip=clip,
        certificate=certificate,
        private_key=private_key,
        public_url=public_url,
    )
    with emulator:
        _say(_instructions(emulator, certificate))
        try:
            (until or threading.Event()).wait()
        except KeyboardInterrupt:
            _say("\n")
    _say(_summary(emulator))


def _checked(public_url: str) -> str:
    parts = urlsplit(public_url)
    if public_url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query):
        raise ValueError(f"public_url {public_url!r} is no address such as https://fal.example.")
    return public_url


def _instructions(emulator: FalEmulator, certificate: str | PathLike[str] | None) -> str:
    key, host = emulator.api_key, emulator.url.partition("//")[2]
    official = _OFFICIAL_CLIENT.format(key=key, host=host, certificate=certificate)
    return _INSTRUCTIONS.format(
        url=emulator.url,
        key=key,
        own_key="" if key == EMULATOR_KEY else f', api_key="{key}"',
        official=official if certificate else "",
    )


def _summary(emulator: FalEmulator) -> str:
    counts = emulator.stats()
    return (
        f"Submitted: {counts['submitted']}. Completed: {counts['completed']}. "
        f"fal would have charged {counts['charged']}, {dollars(emulator.charged_usd)}.\n"
    )


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class WebServer(uvicorn.Server):
    """uvicorn, which says when it is ready and loses no time stopping: tests start hundreds of it.

    Args:
        app: What to serve.
        on_stop: Called on the server's loop when the end begins: streams must end by themselves.
        certificate: Path of a PEM certificate; None serves plain http.
        private_key: Path of its PEM private key.

    Raises:
        OSError: The certificate or the key cannot be read.
    """

    def __init__(
        self,
        app: ASGIApp,
        on_stop: Callable[[], None],
        certificate: str | PathLike[str] | None = None,
        private_key: str | PathLike[str] | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=ExposedConnection,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            date_header=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            ssl_certfile=certificate,
            ssl_keyfile=None if private_key is None else str(private_key),
        )
        # Here and not in the thread: a bad certificate is the caller's to hear of.
        config.load()
        super().__init__(config)
        self.ready = threading.Event()
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        await super().startup(sockets=sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn's own looks for it every tenth of a second."""
        await self._ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End as uvicorn does, without its tenth of a second between the steps."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with anyio.move_on_after(STOP_SECONDS / 2):
            # uvicorn has no event to wait for.
            while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110
                await anyio.sleep(_STOP_TICK_SECONDS)
        await self.lifespan.shutdown()

    def stop(self) -> None:
        """Begin the end; from any thread."""
        self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._on_stop()
        self._ended.set()


def listen(address: tuple[str, int]) -> socket.socket:
    """A socket that listens.

    Args:
        address: Host and port; port 0 for any free one.

    Raises:
        OSError: The port is taken.
    """
    listener = socket.create_server(address, backlog=_BACKLOG)
    # Connections inherit it. asyncio sets it too, but not for a socket made this way; without it
    # each reply takes 40 ms: it is written in two parts, and the second waits for the first's
    # acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
