"""Webhooks: signed as fal signs, repeated until they are acknowledged, never off this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any, NamedTuple

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from prefect_hailuo.emulator import FalEmulator, ManualClock, refuse_content, repeat_webhook

from .asking import Asking, eventually


class Hook(NamedTuple):
    """A webhook as it arrived."""

    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> Any:
        """What it says."""
        return json.loads(self.body)


class Receiver:
    """A server for webhooks, which answers with the given statuses in turn, then with 200."""

    def __init__(self) -> None:
        self.answers: Queue[int] = Queue()
        self.hooks: Queue[Hook] = Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.hooks.put(Hook({**self.headers}, body))
                answers = receiver.answers
                self.send_response(200 if answers.empty() else answers.get())
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?mine=7"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server for webhooks."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.02,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


def test_completion_is_told(fal: Asking, clock: ManualClock, receiver: Receiver) -> None:
    """Nobody asks for the status, and the webhook comes with the output."""
    request_id = fal.buy(params={"fal_webhook": receiver.url})
    assert receiver.hooks.empty()
    clock.advance(100)
    payload = receiver.hooks.get(timeout=60).payload
    assert (payload["request_id"], payload["status"]) == (request_id, "OK")
    assert payload["payload"] == fal.result(request_id).json()


def test_failures_are_told(
    fal: Asking, emulator: FalEmulator, clock: ManualClock, receiver: Receiver
) -> None:
    """An error is told as fal tells it."""
    emulator.faults.add(refuse_content())
    fal.buy(params={"fal_webhook": receiver.url})
    clock.advance(100)
    payload = receiver.hooks.get(timeout=60).payload
    assert (payload["status"], payload["error"]) == ("ERROR", "Invalid status code: 422")
    assert payload["payload"]["detail"][0]["type"] == "content_policy_violation"


def test_the_signature_holds(fal: Asking, clock: ManualClock, receiver: Receiver) -> None:
    """It verifies with the published key as fal's documentation says, and not for another body."""
    fal.buy(params={"fal_webhook": receiver.url})
    clock.advance(100)
    hook = receiver.hooks.get(timeout=60)
    key = _published_key(fal)
    signature = bytes.fromhex(hook.headers["X-Fal-Webhook-Signature"])
    key.verify(signature, _signed_text(hook, hook.body))
    with pytest.raises(InvalidSignature):
        key.verify(signature, _signed_text(hook, hook.body + b" "))


def _published_key(fal: Asking) -> Ed25519PublicKey:
    (key,) = fal.http.get("/rest/.well-known/jwks.json").json()["keys"]
    assert (key["kty"], key["crv"]) == ("OKP", "Ed25519")
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "="))


def _signed_text(hook: Hook, body: bytes) -> bytes:
    names = ("Request-Id", "User-Id", "Timestamp")
    parts = [hook.headers[f"X-Fal-Webhook-{name}"] for name in names]
    return "\n".join([*parts, hashlib.sha256(body).hexdigest()]).encode()


def test_it_is_repeated_until_acknowledged(
    fal: Asking, emulator: FalEmulator, clock: ManualClock, receiver: Receiver
) -> None:
    """A delivery that is not answered with 2xx is repeated."""
    receiver.answers.put(500)
    fal.buy(params={"fal_webhook": receiver.url})
    clock.advance(100)
    assert receiver.hooks.get(timeout=60).payload == receiver.hooks.get(timeout=60).payload
    assert eventually(lambda: [d.status for d in emulator.webhook_deliveries] == [500, 200])


def test_it_can_come_twice(
    fal: Asking, emulator: FalEmulator, clock: ManualClock, receiver: Receiver
) -> None:
    """With the fault for it, an acknowledged webhook comes again."""
    emulator.faults.add(repeat_webhook())
    request_id = fal.buy(params={"fal_webhook": receiver.url})
    clock.advance(100)
    twice = [receiver.hooks.get(timeout=60).payload["request_id"] for _ in range(2)]
    assert twice == [request_id, request_id]


@pytest.mark.parametrize(
    "url", ["https://example.com/hook", "http://10.0.0.1/", "ftp:nowhere", "http://[no", ""]
)
def test_it_never_leaves_the_machine(
    url: str, fal: Asking, emulator: FalEmulator, clock: ManualClock
) -> None:
    """A webhook to another machine is noted and not sent."""
    fal.buy(params={"fal_webhook": url})
    clock.advance(100)
    assert eventually(lambda: len(emulator.webhook_deliveries) == 1)
    assert emulator.webhook_deliveries[0].status is None


def test_a_receiver_that_is_not_there_harms_nothing(
    fal: Asking, emulator: FalEmulator, clock: ManualClock, receiver: Receiver
) -> None:
    """Undeliverable webhooks are noted, and others go on being delivered."""
    for port in (1, 99999):
        fal.buy(params={"fal_webhook": f"http://127.0.0.1:{port}/hook"})
    fal.buy(params={"fal_webhook": receiver.url})
    clock.advance(200)
    assert receiver.hooks.get(timeout=60).payload["status"] == "OK"
    assert eventually(lambda: None in [d.status for d in emulator.webhook_deliveries])
