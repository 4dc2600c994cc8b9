"""The request history, by which lost requests are found."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from prefect_hailuo.emulator import (
    FalEmulator,
    ManualClock,
    drop_after_accepting,
    refuse,
    refuse_content,
)

from .asking import HAILUO_02, HAILUO_23, Asking


def ids(page: Any) -> list[str]:
    """The request ids of a page."""
    return [item["request_id"] for item in page["items"]]


def test_a_lost_request_is_found(fal: Asking, emulator: FalEmulator, clock: ManualClock) -> None:
    """A submission whose answer was lost is listed with its input, and can be collected."""
    emulator.faults.add(drop_after_accepting("submit"))
    with pytest.raises(httpx.TransportError):
        fal.submit("The lost one.")
    clock.advance(100)
    (item,) = fal.history(expand="payloads")["items"]
    assert item["json_input"] == {"prompt": "The lost one."}
    assert fal.result(item["request_id"]).status_code == 200


def test_an_item_has_fals_fields(fal: Asking, clock: ManualClock) -> None:
    """When it was sent, started and ended, how it ended, and, if asked for, what it was."""
    sent = datetime.now(timezone.utc)
    fal.buy()
    clock.advance(100)
    (bare,) = fal.history()["items"]
    (full,) = fal.history(expand="payloads")["items"]
    assert set(full) - set(bare) == {"json_input", "json_output"}
    assert (bare["endpoint_id"], bare["status_code"], bare["duration"]) == (HAILUO_23, 200, 100)
    assert abs(datetime.fromisoformat(bare["sent_at"].replace("Z", "+00:00")) - sent) < timedelta(
        seconds=2
    )
    assert full["json_output"]["video"]["url"].endswith(f"{bare['request_id']}/output.mp4")


def test_what_has_not_ended_has_no_end(fal: Asking) -> None:
    """A waiting request is listed too, without start and end."""
    fal.buy(), fal.buy()
    waiting = fal.buy()
    item = next(each for each in fal.history()["items"] if each["request_id"] == waiting)
    assert item["started_at"] is None
    assert "ended_at" not in item
    assert "status_code" not in item


def test_pages(fal: Asking) -> None:
    """Every request is on exactly one page; the cursor is fal's, a page number in base64."""
    bought = [fal.buy() for _ in range(5)]
    first = fal.history(limit=2)
    second = fal.history(limit=2, cursor=first["next_cursor"])
    last = fal.history(limit=2, cursor=second["next_cursor"])
    assert (first["next_cursor"], first["has_more"]) == ("Mg==", True)
    assert (last["next_cursor"], last["has_more"]) == (None, False)
    assert sorted(ids(first) + ids(second) + ids(last)) == sorted(bought)


def test_pages_can_be_small_whatever_was_asked(fal: Asking, emulator: FalEmulator) -> None:
    """A client that reads only one page misses something."""
    emulator.history.page_size = 1
    fal.buy(), fal.buy()
    page = fal.history(limit=100)
    assert (len(page["items"]), page["has_more"]) == (1, True)


def test_it_can_lag(fal: Asking, emulator: FalEmulator, clock: ManualClock) -> None:
    """A request is listed only after a while: absence proves nothing."""
    emulator.history.lag_seconds = 30
    request_id = fal.buy()
    assert ids(fal.history()) == []
    clock.advance(30)
    assert ids(fal.history()) == [request_id]


def test_it_can_omit_queued_requests(fal: Asking, emulator: FalEmulator) -> None:
    """A request that never started may not be listed."""
    emulator.history.omits_queued = True
    working = [fal.buy(), fal.buy()]
    fal.buy()
    assert sorted(ids(fal.history())) == sorted(working)


def test_it_can_omit_payloads(fal: Asking, emulator: FalEmulator) -> None:
    """Payloads may be missing although they were asked for, or because storing was declined."""
    fal.buy(headers={"X-Fal-Store-IO": "0"})
    assert fal.history(expand="payloads")["items"][0]["json_input"] is None
    emulator.history.omits_payloads = True
    assert "json_input" not in fal.history(expand="payloads")["items"][0]


def test_somebody_elses_request(fal: Asking, emulator: FalEmulator) -> None:
    """An identical request of another sender is listed and collectable, and counts nowhere."""
    planted = emulator.plant(HAILUO_23, {"prompt": "A red fox."}, seconds_ago=60)
    fal.buy()
    items = fal.history(expand="payloads")["items"]
    assert planted in [item["request_id"] for item in items]
    assert [item["json_input"] for item in items] == [{"prompt": "A red fox."}] * 2
    assert fal.result(planted).status_code == 200
    assert (emulator.stats()["submitted"], len(emulator.submissions)) == (1, 1)


def test_the_window(fal: Asking, emulator: FalEmulator) -> None:
    """Only what was sent from start on and before end; by default the last 24 hours."""
    now = datetime.now(timezone.utc)
    hours = [emulator.plant(HAILUO_23, {"prompt": "x"}, seconds_ago=3600 * h) for h in (1, 5, 30)]
    start, end = now - timedelta(hours=6), now - timedelta(hours=4)
    window = {"start": start.isoformat(), "end": end.isoformat()}
    assert ids(fal.history(**window)) == [hours[1]]
    assert sorted(ids(fal.history())) == sorted(hours[:2])


def test_it_is_of_one_endpoint(fal: Asking) -> None:
    """Other endpoints' requests are not listed; several can be named."""
    old, new = fal.buy(endpoint=HAILUO_02), fal.buy(endpoint=HAILUO_23)
    assert ids(fal.history()) == [new]
    assert sorted(ids(fal.history(endpoint_id=f"{HAILUO_02},{HAILUO_23}"))) == sorted([old, new])


def test_it_can_be_asked_by_status_and_id(
    fal: Asking, emulator: FalEmulator, clock: ManualClock
) -> None:
    """Successes, the model's refusals, or one request."""
    emulator.faults.add(refuse_content())
    refused, fine = fal.buy(), fal.buy()
    clock.advance(100)
    assert ids(fal.history(status="success")) == [fine]
    assert ids(fal.history(status="user_error")) == [refused]
    assert ids(fal.history(request_id=refused)) == [refused]


def test_fals_clock_can_be_ahead(fal: Asking, emulator: FalEmulator) -> None:
    """The history's times and the Date header are ahead together."""
    emulator.history.skew_seconds = 7200
    fal.buy()
    end = (datetime.now(timezone.utc) + timedelta(hours=3)).isoformat()
    sent_at = fal.history(end=end)["items"][0]["sent_at"]
    ahead = datetime.fromisoformat(sent_at.replace("Z", "+00:00")) - datetime.now(timezone.utc)
    assert timedelta(hours=1.9) < ahead < timedelta(hours=2.1)
    assert httpx.get(f"{emulator.url}/_emulator/stats").headers["date"] != ""


def test_refusals_have_the_platforms_form(fal: Asking, emulator: FalEmulator) -> None:
    """A bad key, a bad limit and a bad cursor are told in the platform's own words."""
    url = "/platform/v1/models/requests/by-endpoint"
    stranger = httpx.get(emulator.url + url, params={"endpoint_id": HAILUO_23})
    assert (stranger.status_code, stranger.json()["error"]["type"]) == (401, "authorization_error")
    for wrong in ({"limit": 101}, {"cursor": "?"}, {"start": "yesterday"}):
        assert fal.history(**wrong)["error"]["type"] == "validation_error"


def test_it_can_fail(fal: Asking, emulator: FalEmulator) -> None:
    """Faults on `history` are faults like others."""
    emulator.faults.add(refuse("history", 500))
    assert "detail" in fal.history()
    assert fal.history()["items"] == []
