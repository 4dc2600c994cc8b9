"""The status as server-sent events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from prefect_hailuo.emulator import FalEmulator, ManualClock, go_back_to_queue, replies

from .asking import Asking


def events(reply: httpx.Response) -> Iterator[dict[str, Any]]:
    """The status of each frame."""
    for line in reply.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line[len("data: ") :])


def stream(fal: Asking, request_id: str, **query: Any) -> Any:
    """An open stream."""
    path = f"/fal-ai/minimax/requests/{request_id}/status/stream"
    return fal.http.stream("GET", path, params=query)


def test_a_stream_tells_each_change_and_ends(fal: Asking, clock: ManualClock) -> None:
    """Queued, at work, over: told as it happens, and closed after the last."""
    fal.buy(), fal.buy()
    with stream(fal, fal.buy()) as reply:
        seen = []
        for event in events(reply):
            seen.append(event["status"])
            clock.advance(100)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert seen == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]


def test_a_stream_tells_logs_as_they_come(fal: Asking, clock: ManualClock) -> None:
    """With logs asked for, each new line is told."""
    with stream(fal, fal.buy(), logs=1) as reply:
        messages = []
        for event in events(reply):
            messages.append(event["logs"][-1]["message"])
            clock.advance(20)
    assert len(set(messages)) > 5


def test_streams_wake_at_once(fal: Asking, clock: ManualClock) -> None:
    """Advancing the clock wakes an open stream promptly."""
    with stream(fal, fal.buy()) as reply:
        arriving = events(reply)
        next(arriving)
        started = time.monotonic()
        clock.advance(100)
        assert next(arriving)["status"] == "COMPLETED"
        assert time.monotonic() - started < 5


def test_a_cancellation_wakes_the_stream(fal: Asking, clock: ManualClock) -> None:
    """A stream of a queued request ends when somebody cancels it, though no time passes."""
    fal.buy(), fal.buy()
    queued = fal.buy()
    with stream(fal, queued) as reply:
        arriving = events(reply)
        assert next(arriving)["status"] == "IN_QUEUE"
        fal.cancel(queued)
        assert next(arriving)["error_type"] == "client_cancelled"


def test_positions_are_told(fal: Asking, clock: ManualClock) -> None:
    """Waiting requests see themselves move forward."""
    ids = [fal.buy() for _ in range(6)]
    with stream(fal, ids[5]) as reply:
        arriving = events(reply)
        first = next(arriving)["queue_position"]
        clock.advance(100)
        assert (first, next(arriving)["queue_position"]) == (3, 1)


def test_going_back_to_the_queue_is_told(
    fal: Asking, clock: ManualClock, emulator: FalEmulator
) -> None:
    """A stream shows a request that returns to the queue."""
    emulator.faults.add(go_back_to_queue(after_seconds=10))
    request_id = fal.buy()
    fal.buy(), fal.buy()
    with stream(fal, request_id) as reply:
        arriving = events(reply)
        assert next(arriving)["status"] == "IN_PROGRESS"
        clock.advance(10)
        assert next(arriving)["status"] == "IN_QUEUE"


def test_silence_is_broken_by_comments(fal: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing happens a stream says a comment now and then, so that it is not cut."""
    monkeypatch.setattr(replies, "COMMENT_SECONDS", 0.05)
    with stream(fal, fal.buy()) as reply:
        lines = (line for line in reply.iter_lines() if line)
        assert [next(lines)[:6], next(lines)[:6], next(lines)[:6]] == ["data: ", ": ping", ": ping"]


def test_stopping_ends_open_streams(clock: ManualClock) -> None:
    """An emulator that is stopped does not wait for its streams."""
    emulator = FalEmulator(clock=clock)
    emulator.start()
    fal = Asking(emulator)
    with fal.http, stream(fal, fal.buy()) as reply:
        stopping = threading.Thread(target=emulator.stop)
        started = time.monotonic()
        stopping.start()
        list(events(reply))
        stopping.join()
    assert time.monotonic() - started < 5
