"""fal's calls: which are taken, and that nobody has to ask once they come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import run_sql
from deployments import until
from file_server import smallest_video
from picture_ground import Served, serving_pictures
from raw_server import HurriedClock
from receivers import serving, told_at
from roads import OWL, Hundredfold, generate, order_of, timed

from prefect_hailuo import webhook_app
from prefect_hailuo.emulator import FalEmulator, ManualClock, refuse_content, repeat_webhook
from prefect_hailuo.emulator.webhooks import USER_ID, WebhookSigner
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.errors import Billed, ConfigurationError, ContentPolicyError, UnreachableError
from prefect_hailuo.fal.transport import open_http
from prefect_hailuo.fal.webhooks import FAILED_SECONDS, JWKS_PATH, MOST_BYTES, Signed, WebhookKeys
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo
from prefect_hailuo.runs.execution import acquiring, batching, waiting
from prefect_hailuo.tasks.sweep import sweep
from prefect_hailuo.ticket import Ticket


@pytest.fixture
def hook(tiny: FalEmulator) -> Iterator[str]:
    """A receiver of the emulator's calls; whatever is submitted names it."""
    with serving(webhook_app(tiny.credentials())) as url, told_at(url):
        yield url


class Thousandfold(Hundredfold):
    """A clock that runs a thousand times as fast as the machine's."""

    def now(self) -> float:
        """A thousand times the machine's seconds."""
        return super().now() * 10

    async def sleep(self, seconds: float) -> None:
        """Let a thousandth of the seconds pass."""
        await super().sleep(seconds / 10)


@pytest.fixture
def slow() -> Iterator[FalEmulator]:
    """An emulator whose time stands still."""
    with FalEmulator(clock=ManualClock(), clip=smallest_video()) as started:
        yield started


def submit(emulator: FalEmulator, **options: Any) -> Ticket:
    """A request at the emulator."""
    return process_loop().run(acquiring(order_of(emulator, None, **options)).job)


def call(
    emulator: FalEmulator,
    url: str,
    request_id: str,
    *,
    signer: WebhookSigner | None = None,
    age: float = 0.0,
    sent: bytes | None = None,
    user_id: str = USER_ID,
    **said: Any,
) -> int:
    """Call as fal does, of a request's success, and say what the answer's status is."""
    video = {"video": {"url": f"{emulator.url}/files/{request_id}/output.mp4"}}
    what = {"request_id": request_id, "status": "OK", "payload": video, **said}
    body = json.dumps(what).encode()
    signer = signer or emulator._emulation.signer
    headers = signer.headers(request_id, body, time.time() - age, user_id)
    return httpx.post(url, content=sent or body, headers=headers, timeout=30).status_code


def row(request_id: str, ledger_url: str) -> dict[str, Any]:
    """What the ledger has about a request."""
    asked = f"SELECT * FROM hailuo_attempt WHERE request_id = '{request_id}'"  # noqa: S608
    (found,) = run_sql(ledger_url, asked, realm="emulator")
    return found


def test_waiting_costs_no_requests(tiny: FalEmulator, hook: str, tmp_path: Path) -> None:
    """Of a video that fal tells of, only the submission and the file are asked for."""
    assert generate(tiny, tmp_path).path
    asked = {kind: number for kind, number in tiny.requests.items() if number}
    assert asked == {"submit": 1, "media": 1}


def test_a_batch_waits_for_calls_too(tiny: FalEmulator, hook: str, tmp_path: Path) -> None:
    """Thirty videos: not one question."""
    inputs = [Hailuo02ProTextToVideo(prompt=f"A teapot, {number}.") for number in range(30)]
    orders = [order_of(tiny, tmp_path, each) for each in inputs]
    outcomes = process_loop().run(batching(orders).job)
    assert len(outcomes.videos) == 30
    assert [tiny.requests[kind] for kind in ("status", "stream", "result")] == [0, 0, 0]


def test_a_call_that_comes_twice_changes_nothing(
    tiny: FalEmulator, hook: str, ledger_url: str
) -> None:
    """The second is acknowledged, so that fal does not go on."""
    tiny.faults.add(repeat_webhook())
    ticket = submit(tiny)
    until("it was told", lambda: len(tiny.webhook_deliveries) == 2)
    assert [each.status for each in tiny.webhook_deliveries] == [200, 200]
    assert row(ticket.request_id, ledger_url)["fate"] == "succeeded"


def test_a_failures_kind_and_cost_are_as_its_result_has_them(
    tiny: FalEmulator, hook: str, tmp_path: Path, ledger_url: str
) -> None:
    """A call says neither: the result is asked for, once."""
    tiny.faults.add(refuse_content())
    with pytest.raises(ContentPolicyError) as caught:
        generate(tiny, tmp_path)
    assert caught.value.billed is Billed.NO
    assert [tiny.requests[kind] for kind in ("status", "stream", "result")] == [0, 0, 1]
    request_id = tiny.submissions[0].request_id
    assert row(request_id, ledger_url)["fate"] == "failed"


def test_a_lost_call_is_made_up_for(tiny: FalEmulator, tmp_path: Path, ledger_url: str) -> None:
    """Nobody is there to be called: who waits asks after ten minutes, and then all is as ever."""
    with told_at("http://127.0.0.1:1/nobody"):
        order = order_of(tiny, tmp_path, timeout_seconds=100_000)
    video = process_loop().run(timed(order, Thousandfold()))
    assert video.path
    assert tiny.requests["status"] == 1


def test_the_sweep_does_not_wait_for_calls(
    tiny: FalEmulator, tmp_path: Path, ledger_url: str
) -> None:
    """It collects what a lost call would have told of."""
    with told_at("http://127.0.0.1:1/nobody"):
        submit(tiny)
    run_sql(ledger_url, "UPDATE hailuo_waiter SET lease_until = 0", realm="emulator")
    until("it is done", lambda: tiny.stats()["completed"])
    assert [each.outcome for each in sweep(credentials=[tiny.credentials()]).rows] == ["collected"]


def test_an_old_request_is_asked_about(slow: FalEmulator, tmp_path: Path) -> None:
    """What was submitted before there was a receiver is waited for as it was."""
    submit(slow, input=OWL)
    with serving(webhook_app(slow.credentials())) as url, told_at(url):
        order = order_of(slow, tmp_path, OWL)
        slow._emulation.clock.advance(1000)  # type: ignore[attr-defined]
        assert process_loop().run(timed(order, Hundredfold())).path
    assert slow.requests["stream"] == 1


def test_without_its_ledger_a_request_is_asked_about(
    tiny: FalEmulator, lose_ledger: Callable[[], None]
) -> None:
    """The call is written into another one, where nobody here would see it."""
    with told_at("http://127.0.0.1:1/nobody"):
        ticket = submit(tiny)
    lose_ledger()
    waited = process_loop().run(waiting(ticket, tiny.credentials().access(), 60).job)
    assert waited.error is None
    assert tiny.requests["stream"] == 1


def test_only_fals_own_calls_are_taken(slow: FalEmulator, ledger_url: str) -> None:
    """Another signature, another body, an old call, a call from the future: nothing changes."""
    ticket = submit(slow)
    with serving(webhook_app(slow.credentials())) as url:
        mine = ticket.request_id
        assert call(slow, url, mine, signer=WebhookSigner()) == 401
        assert call(slow, url, mine, sent=b'{"status": "OK"}') == 401
        assert call(slow, url, mine, age=400) == 401
        assert call(slow, url, mine, age=-400) == 401
        assert row(mine, ledger_url)["fate"] == "submitted"
        assert call(slow, url, mine, age=200) == 200
    assert row(mine, ledger_url)["fate"] == "succeeded"


def test_a_video_is_taken_though_an_error_was_told_before(
    slow: FalEmulator, ledger_url: str
) -> None:
    """As where fal began it anew: it is paid for."""
    mine = submit(slow).request_id
    with serving(webhook_app(slow.credentials())) as url:
        assert call(slow, url, mine, status="ERROR", payload=None, error="Out of order.") == 200
        assert row(mine, ledger_url)["fate"] == "submitted"
        assert call(slow, url, mine) == 200
    assert row(mine, ledger_url)["fate"] == "succeeded"


def test_what_is_no_call_is_refused(slow: FalEmulator) -> None:
    """No headers, half a signature, no number, no JSON, far too much."""
    with serving(webhook_app(slow.credentials())) as url:
        good = slow._emulation.signer.headers("emulator-1", b"", time.time())
        assert httpx.post(url, content=b"{}").status_code == 400
        for name, value in (("Signature", "ab"), ("Signature", "no"), ("Timestamp", "soon")):
            headers = {**good, f"X-Fal-Webhook-{name}": value}
            assert httpx.post(url, content=b"{}", headers=headers).status_code == 400
        assert httpx.post(url, headers=good).status_code == 400
        assert httpx.post(url, content=b" " * (MOST_BYTES + 1), headers=good).status_code == 413
        assert httpx.get(url).status_code == 200


def test_a_request_of_the_other_realm_is_refused(slow: FalEmulator) -> None:
    """The emulator's signature is good for the emulator's requests alone."""
    with serving(webhook_app(slow.credentials())) as url:
        assert call(slow, url, "019df76d-of-fal") == 400


def test_an_emulator_is_never_taken_for_fal(slow: FalEmulator, ledger_url: str) -> None:
    """A receiver for fal that is led to an emulator has no keys, and takes nothing."""
    block = slow.credentials().model_copy(update={"realm": "fal"})
    with serving(webhook_app(block)) as url:
        assert call(slow, url, submit(slow).request_id) == 503


def test_another_customers_call_is_refused(slow: FalEmulator, ledger_url: str) -> None:
    """fal signs the calls of all its customers: the first about a request of ours says who we are.

    One about a request that nobody here made says nothing.
    """
    tickets = [submit(slow), submit(slow, take=1)]
    with serving(webhook_app(slow.credentials())) as url:
        assert call(slow, url, f"{tickets[0].request_id}0", user_id="stranger") == 404
        assert call(slow, url, tickets[0].request_id) == 200
        assert call(slow, url, tickets[1].request_id, user_id="stranger") == 403
        assert row(tickets[1].request_id, ledger_url)["fate"] == "submitted"
        assert call(slow, url, tickets[1].request_id) == 200
    assert row(tickets[1].request_id, ledger_url)["fate"] == "succeeded"


def test_an_early_call_is_called_again(slow: FalEmulator, ledger_url: str) -> None:
    """The ledger does not know the request yet: fal is told so, and the next call is taken."""
    ticket = submit(slow)
    hide = "UPDATE hailuo_attempt SET request_id = 'elsewhere'"
    run_sql(ledger_url, hide, realm="emulator")
    with serving(webhook_app(slow.credentials())) as url:
        assert call(slow, url, ticket.request_id) == 404
        show = f"UPDATE hailuo_attempt SET request_id = '{ticket.request_id}'"  # noqa: S608
        run_sql(ledger_url, show, realm="emulator")
        assert call(slow, url, ticket.request_id) == 200


def test_fals_changed_keys_are_fetched(slow: FalEmulator, ledger_url: str) -> None:
    """Once for a signature that is new, and not again for every wrong one."""
    ticket = submit(slow)
    app = webhook_app(slow.credentials())
    with serving(app) as url:
        assert call(slow, f"{url}/", ticket.request_id) == 200
        old, slow._emulation.signer = slow._emulation.signer, WebhookSigner()
        assert call(slow, url, ticket.request_id) == 401  # the keys are not a minute old
        assert call(slow, url, ticket.request_id, signer=old) == 200


def test_a_receiver_without_fals_keys_asks_to_be_called_again(ledger_url: str) -> None:
    """fal's keys are out of reach: neither yes nor no."""
    with FalEmulator(clock=ManualClock(), clip="plain") as gone:
        block = gone.credentials()
    with serving(webhook_app(block)) as url:
        assert call(gone, url, "emulator-1") == 503


async def test_keys_that_could_not_be_had_are_asked_for_some_seconds_later() -> None:
    """While fal is down, its calls do not have it asked for each; then the keys are fetched."""
    clock = HurriedClock()
    with serving_pictures() as server:  # any web server does
        server.files[JWKS_PATH] = Served(status=503)
        keys = WebhookKeys(server.url, "fal", clock)
        signed = Signed("request", "user", "0", b"")
        async with open_http() as http:
            for _ in range(3):
                with pytest.raises(UnreachableError, match="HTTP 503"):
                    await keys.check(signed, b"", http)
            assert len(server.requests) == 1
            await clock.sleep(FAILED_SECONDS)
            with pytest.raises(UnreachableError):
                await keys.check(signed, b"", http)
        assert len(server.requests) == 2


def test_the_address_is_no_part_of_the_key(slow: FalEmulator, tmp_path: Path) -> None:
    """With it or without it, it is the same video; and the body that is sent is the same."""
    plain = order_of(slow, tmp_path)
    with told_at("https://hooks.example.com/hailuo"):
        told = order_of(slow, tmp_path)
    assert (plain.key, plain.purchase("w")) == (told.key, told.purchase("w"))


@pytest.mark.parametrize("url", ["hooks.example.com", "https://me:secret@example.com", "ftp://a"])
def test_a_bad_address_is_refused_before_anything_is_bought(slow: FalEmulator, url: str) -> None:
    """And it is not shown: it may hold a secret."""
    with told_at(url), pytest.raises(ConfigurationError) as caught:
        submit(slow)
    assert url not in str(caught.value)
    assert not slow.submissions


def test_it_can_be_mounted(slow: FalEmulator, ledger_url: str) -> None:
    """Below a path of somebody's own app."""
    from fastapi import FastAPI

    ticket = submit(slow)
    app = FastAPI()
    app.mount("/hailuo", webhook_app(slow.credentials()))
    with serving(app) as url:
        assert call(slow, f"{url}/", ticket.request_id) == 200
