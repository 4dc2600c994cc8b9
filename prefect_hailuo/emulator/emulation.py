"""What all routes of one emulator share: its queue, its faults, its clips, its tallies.

From a request that is about to be accepted to the generation that it becomes.

How webhooks are signed: with ED25519, over what is in them and when they were sent.

The files that clients upload to the emulator's storage.

What the emulator can read of the pictures that a request names.

It asks no other host: a picture that is elsewhere is taken for good, and not shown in the video.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from anyio.abc import TaskGroup

from prefect_hailuo.emulator.clip import ClipLibrary, Stills
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
from prefect_hailuo.emulator.outcome import Outcome, model_failure, validate
from prefect_hailuo.emulator.queue import Durations, Generation, Simulation, Twists
from prefect_hailuo.fal.messages import EMULATOR_PREFIX
from prefect_hailuo.models.catalogue import Endpoint, VideoInput
from prefect_hailuo.models.image import DATA, decode_data_uri, image_fields, media_type_of
from prefect_hailuo.ticket import Realm

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_START_TIMEOUT_HEADERS = ("x-fal-request-start-timeout", "x-fal-request-timeout")
_GOLDEN_RATIO = 0.6180339887
_JITTER_SHARE = 0.2


@dataclass(frozen=True)
class Order:
    """A request that is about to be accepted.

    Args:
        input_class: Of its endpoint.
        body: The input as it came.
        headers: Names in lower case.
        account: The API key that it came with.
        webhook: Where to tell of its end.
        planted: Whether a test puts it there as somebody else's.
    """

    input_class: type[VideoInput]
    body: dict[str, Any]
    headers: Mapping[str, str]
    account: str
    webhook: str | None = None
    planted: bool = False


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
    """Decide a request's fate.

    Args:
        order: What was ordered.
        number: Which request it is, counted from 1.
        now: The instant, in emulator time.
        prefix: How request ids of this emulator begin.
        durations: How long generations take.
        happenings: What the plan of faults has in store for it.
        flaw: What is wrong with its pictures.
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
        twists=_twists(happenings),
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


def _twists(happenings: Sequence[Happening]) -> Twists:
    back: list[float] = []
    deliveries = 1
    for what in happenings:
        if isinstance(what, BackToQueue):
            back += [what.after_seconds] * what.times
        elif isinstance(what, RepeatWebhook):
            deliveries = what.times
    stops = any(isinstance(what, StopWhenCancelled) for what in happenings)
    return Twists(tuple(back), stops, deliveries)


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


USER_ID = "emulator"


@dataclass(frozen=True)
class Delivery:
    """One attempt to deliver a webhook.

    Args:
        request_id: What it told of.
        url: Where it went.
        status: The answer's HTTP status; None if there was no answer, or nothing was sent because
            the address is not on this machine.
    """

    request_id: str
    url: str
    status: int | None


class WebhookSigner:
    """Signs with a key pair of its own, made on first need."""

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.generate()

    def key_set(self) -> dict[str, Any]:
        """The public key, as a JSON Web Key Set."""
        public = base64.urlsafe_b64encode(self._key.public_key().public_bytes_raw())
        x = public.rstrip(b"=").decode("ascii")
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}

    def headers(self, request_id: str, body: bytes, now: float) -> dict[str, str]:
        """The headers that prove where a webhook comes from.

        Args:
            request_id: What it tells of.
            body: As it is sent.
            now: Unix seconds.
        """
        timestamp = str(int(now))
        signed = "\n".join([request_id, USER_ID, timestamp, hashlib.sha256(body).hexdigest()])
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": USER_ID,
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": self._key.sign(signed.encode()).hex(),
        }


TOKEN_SECONDS = 3600
"""How long a token for the CDN is good."""

_ODD = re.compile(r"[^\w.-]+", re.ASCII)


@dataclass
class Upload:
    """A file in the storage.

    Args:
        path: Where it is served, below the emulator's address.
        content_type: As the client said.
        signature: What whoever puts the content there must know.
        content: The file; None until it was put there.
        expires_at: Until when it is served, in seconds since 1970; None: for ever.
        authorized: Whether the PUT carried an Authorization header. A client should send none: the
            URL is signed, and its host must not learn the key.
    """

    path: str
    content_type: str
    signature: str
    expires_at: float | None = None
    content: bytes | None = None
    authorized: bool = False


class Uploads:
    """The storage: kept in memory, as long as the emulator runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_path: dict[str, Upload] = {}
        self._tokens: dict[str, float] = {}

    def begin(
        self, file_name: str, content_type: str, lifetime_seconds: float | None = None
    ) -> Upload:
        """Make room for a file. Its name stays in its path, as third parties report of fal."""
        name = _ODD.sub("-", file_name).strip("-.") or "upload.bin"
        path = f"/storage/{secrets.token_hex(8)}/{name}"
        expires_at = None if lifetime_seconds is None else time.time() + lifetime_seconds
        upload = Upload(path, content_type, secrets.token_hex(16), expires_at)
        with self._lock:
            self._by_path[path] = upload
        return upload

    def find(self, path: str) -> Upload | None:
        """The file at a path, whether its content is there yet or not; None once it expired."""
        upload = self._by_path.get(path)
        expired = upload and upload.expires_at is not None and upload.expires_at < time.time()
        return None if expired else upload

    def kept(self) -> list[Upload]:
        """Those whose content is there, oldest first."""
        with self._lock:
            return [each for each in self._by_path.values() if each.content is not None]

    def issue_token(self) -> str:
        """A token with which files may be put into the CDN for a while."""
        token = secrets.token_urlsafe(24)
        self._tokens[token] = time.time() + TOKEN_SECONDS
        return token

    def knows_token(self, token: str) -> bool:
        """Whether a token is good."""
        return self._tokens.get(token, 0.0) > time.time()


FIRST, LAST = "image_url", "end_image_url"
"""The fields that hold a picture, as they are called on the wire."""


class PictureReader:
    """Reads pictures out of `data:` URIs and out of the emulator's own storage.

    Args:
        uploads: The storage.
    """

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    def stills(self, kind: type[VideoInput], body: Mapping[str, Any], url: str) -> Stills:
        """The pictures of a request that is in order.

        Args:
            kind: Its endpoint's input class.
            body: Its input.
            url: The emulator's address.
        """
        named = {name: body.get(name) for name in image_fields(kind)}
        return Stills(*(self._read(named.get(name), url) for name in (FIRST, LAST)))

    def flaw(self, kind: type[VideoInput], body: Mapping[str, Any], url: str) -> Outcome | None:
        """How a request ends one of whose pictures is none; None where there is no such.

        Args:
            kind: Its endpoint's input class.
            body: Its input.
            url: The emulator's address.
        """
        for name in image_fields(kind):
            source = body.get(name)
            content = self._read(source, url)
            if content is None and self._is_here(source, url):
                text = "Failed to download the file. Please check if the URL is accessible."
                return model_failure(422, text, "file_download_error", field=name)
            if content is not None and media_type_of(content) is None:
                text = "Failed to load the image. Please ensure the image file is not corrupted."
                return model_failure(422, text, "image_load_error", field=name)
        return None

    def _read(self, source: object, url: str) -> bytes | None:
        if not isinstance(source, str):
            return None
        if source[: len(DATA)].lower() == DATA:
            return _decoded(source)
        upload = self._uploads.find(source.removeprefix(url)) if source.startswith(url) else None
        return upload.content if upload else None

    @staticmethod
    def _is_here(source: object, url: str) -> bool:
        return isinstance(source, str) and source.startswith(f"{url}/")


def _decoded(uri: str) -> bytes:
    try:
        return decode_data_uri(uri)
    except ValueError:
        return b""


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
