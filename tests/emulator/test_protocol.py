"""fal's queue protocol: addresses, statuses, bodies, keys."""

from __future__ import annotations

import uuid

import httpx
import pytest

from prefect_hailuo.emulator import LOCKED_KEY, FalEmulator, ManualClock
from prefect_hailuo.models.catalogue import CATALOGUE

from .asking import HAILUO_02, HAILUO_23, Asking


@pytest.mark.parametrize("endpoint", CATALOGUE)
def test_every_endpoint_is_served(endpoint: str, fal: Asking, clock: ManualClock) -> None:
    """Every endpoint of the catalogue makes a video from its own example."""
    example = CATALOGUE[endpoint].endpoint.example
    accepted = fal.http.post(f"/{endpoint}", json=example).json()
    clock.advance(100)
    result = fal.http.get(accepted["response_url"]).json()
    assert result["video"]["content_type"] == "video/mp4"
    assert {*result} == {"video", *CATALOGUE[endpoint].endpoint.output_fields}


def test_the_answer_to_a_submission(fal: Asking, emulator: FalEmulator) -> None:
    """It is fal's, and its addresses hang below owner and app."""
    reply = fal.submit()
    body = reply.json()
    below = f"{emulator.url}/fal-ai/minimax/requests/{body['request_id']}"
    assert reply.status_code == 200
    assert body == {
        "status": "IN_QUEUE",
        "request_id": body["request_id"],
        "response_url": below,
        "status_url": f"{below}/status",
        "cancel_url": f"{below}/cancel",
        "logs": None,
        "metrics": {},
        "queue_position": 0,
    }


def test_status_codes_follow_the_state(fal: Asking, clock: ManualClock) -> None:
    """202 with a position in the queue, 202 at work, 200 when it is over."""
    ids = [fal.buy() for _ in range(4)]
    queued, working = fal.status(ids[3]), fal.status(ids[0])
    assert (queued.status_code, queued.json()["queue_position"]) == (202, 1)
    assert (working.status_code, working.json()["status"]) == (202, "IN_PROGRESS")
    clock.advance(100)
    over = fal.status(ids[0])
    assert (over.status_code, over.json()["status"]) == (200, "COMPLETED")
    assert over.json()["metrics"] == {"inference_time": 100.0}


def test_logs_come_only_when_asked_for_and_move(fal: Asking, clock: ManualClock) -> None:
    """Logs are null unless asked for, grow with time, and old lines leave the window."""
    request_id = fal.buy()
    assert fal.status(request_id).json()["logs"] is None
    early = fal.status(request_id, logs=1).json()["logs"]
    clock.advance(99)
    late = fal.status(request_id, logs=1).json()["logs"]
    assert len(early) < len(late)
    assert early[0] not in late
    assert set(late[0]) == {"message", "level", "source", "timestamp"}


def test_the_result_waits_for_completion(fal: Asking, clock: ManualClock) -> None:
    """400 while it is in progress; then the output, with fal's headers."""
    request_id = fal.buy(endpoint=HAILUO_02)
    early = fal.result(request_id)
    assert (early.status_code, early.json()) == (400, {"detail": "Request is still in progress"})
    clock.advance(100)
    result = fal.result(request_id)
    assert set(result.json()["video"]) == {"url", "content_type", "file_name", "file_size"}
    assert result.headers["x-fal-request-id"] == request_id
    assert result.headers["x-fal-billable-units"] == "6"


def test_results_are_dropped_an_hour_after_completion(fal: Asking, clock: ManualClock) -> None:
    """After an hour the result is 404, as fal documents."""
    request_id = fal.buy()
    clock.advance(100 + 3599)
    assert fal.result(request_id).status_code == 200
    clock.advance(2)
    late = fal.result(request_id)
    assert (late.status_code, late.json()) == (404, {"status": "NOT_FOUND"})


def test_unknown_requests_are_not_found(fal: Asking) -> None:
    """404 NOT_FOUND for status, result and cancel: so a key is probed at no cost."""
    for reply in (ask(str(uuid.uuid4())) for ask in (fal.status, fal.result, fal.cancel)):
        assert (reply.status_code, reply.json()) == (404, {"status": "NOT_FOUND"})


def test_requests_belong_to_their_app(fal: Asking) -> None:
    """Below another owner or app, a request is not found."""
    reply = fal.http.get(f"/fal-ai/other/requests/{fal.buy()}/status")
    assert (reply.status_code, reply.json()) == (404, {"status": "NOT_FOUND"})


def test_full_paths_are_refused(fal: Asking) -> None:
    """Status, result and cancel below the full endpoint id answer 405."""
    path = f"/{HAILUO_23}/requests/{fal.buy()}"
    replies = [fal.http.get(path), fal.http.get(f"{path}/status"), fal.http.put(f"{path}/cancel")]
    assert [reply.status_code for reply in replies] == [405, 405, 405]


def test_unknown_endpoints_are_not_found(fal: Asking) -> None:
    """404, in the words of fal's apps and of fal's gateway."""
    below, other = fal.submit(endpoint="fal-ai/minimax/nope"), fal.submit(endpoint="no/such/app")
    assert (below.status_code, below.json()) == (404, {"detail": "Path /nope not found"})
    assert (other.status_code, other.json()) == (404, {"detail": "Application 'no/such' not found"})


@pytest.mark.parametrize("authorization", [None, "Key wrong", "Bearer emulator:no-real-key", "Key"])
def test_bad_keys_are_refused(authorization: str | None, emulator: FalEmulator) -> None:
    """401 in fal's words for a missing or wrong key, whatever the body, and nothing is accepted."""
    headers = {"Authorization": authorization} if authorization else {}
    reply = httpx.post(f"{emulator.url}/{HAILUO_23}", content=b"no JSON", headers=headers)
    assert (reply.status_code, reply.json()) == (401, {"detail": "invalid key credentials"})
    assert emulator.submissions == []


def test_an_account_without_credit_is_locked(emulator: FalEmulator) -> None:
    """403 in fal's words at submission; looking stays allowed."""
    locked = Asking(emulator, LOCKED_KEY)
    with locked.http:
        refused = locked.submit()
        assert refused.status_code == 403
        assert refused.json()["detail"].startswith("User is locked. Reason: Exhausted balance.")
        assert locked.status("any").status_code == 404


def test_accounts_do_not_see_each_other() -> None:
    """A request is 404 for another account's key, and absent from its history."""
    with FalEmulator(clip="plain", other_keys=["second:key"]) as emulator:
        first, second = Asking(emulator), Asking(emulator, "second:key")
        with first.http, second.http:
            request_id = first.buy()
            assert first.status(request_id).status_code == 202
            assert second.status(request_id).status_code == 404
            assert second.history()["items"] == []


def test_a_body_that_is_not_json_is_refused_at_once(fal: Asking, emulator: FalEmulator) -> None:
    """422 as FastAPI has it, for what is no JSON and for what is no object."""
    broken = fal.http.post(f"/{HAILUO_23}", content=b"{")
    listed = fal.http.post(f"/{HAILUO_23}", json=["a prompt"])
    assert (broken.status_code, broken.json()["detail"][0]["type"]) == (422, "json_invalid")
    assert (listed.status_code, listed.json()["detail"][0]["type"]) == (422, "dict_type")
    assert emulator.stats()["submitted"] == 0


def test_a_full_queue_refuses_if_asked_to(fal: Asking) -> None:
    """`fal_max_queue_length` turns a submission away from a longer queue."""
    for _ in range(4):
        fal.buy()
    refused = fal.submit(params={"fal_max_queue_length": 1})
    assert refused.status_code == 429
    assert fal.submit(params={"fal_max_queue_length": 2}).status_code == 200


def test_every_reply_is_marked(fal: Asking) -> None:
    """Every reply's header names this very emulator, and so does every request id."""
    replies = [fal.submit(), fal.status("x"), fal.submit(endpoint="x"), fal.http.get("/x/y/z/zz")]
    [name] = {reply.headers["x-fal-emulator"] for reply in replies}
    assert replies[0].json()["request_id"].startswith(f"emulator-{name}-")


def test_a_restarted_emulator_has_another_mark(fal: Asking, clock: ManualClock) -> None:
    """So whoever holds a request can tell that the one who took it is gone."""
    with FalEmulator(clock=clock) as other, httpx.Client() as http:
        mark = http.get(other.url).headers["x-fal-emulator"]
    assert mark != fal.submit().headers["x-fal-emulator"]


def test_playing_fal_leaves_no_mark(clock: ManualClock) -> None:
    """With `realm="fal"` nothing tells it from fal: no header, plain ids, no line in the log."""
    with FalEmulator(realm="fal", clock=clock) as emulator:
        fal = Asking(emulator)
        with fal.http:
            reply = fal.submit()
            uuid.UUID(reply.json()["request_id"])
            log = fal.status(reply.json()["request_id"], logs=1).json()["logs"]
    assert "x-fal-emulator" not in reply.headers
    assert not any("emulator" in line["message"] for line in log)


def test_submissions_are_recorded(fal: Asking, emulator: FalEmulator) -> None:
    """What was accepted can be looked at: endpoint, body, headers, state."""
    request_id = fal.buy("An owl.", headers={"X-Fal-Queue-Priority": "low"})
    (seen,) = emulator.submissions
    assert (seen.request_id, seen.endpoint, seen.body) == (
        request_id,
        HAILUO_23,
        {"prompt": "An owl."},
    )
    assert (seen.headers["x-fal-queue-priority"], seen.state.value) == ("low", "IN_PROGRESS")


def test_the_start_timeout_is_heeded(fal: Asking, clock: ManualClock) -> None:
    """With fal's header, a request that did not start in time ends with fal's 504."""
    fal.buy(), fal.buy()
    late = fal.buy(headers={"X-Fal-Request-Start-Timeout": "5"})
    clock.advance(6)
    result = fal.result(late)
    assert result.json() == {"detail": "Request timed out", "error_type": "request_timeout"}
    assert (result.status_code, result.headers["x-fal-error-type"]) == (504, "request_timeout")
