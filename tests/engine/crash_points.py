"""The points of a generation at which its process is killed, and how each is reached and proven.

Each is a context in which a worker stands still at that point; no line of the product helps with
that. What keeps it there is the world around it: a lock on the ledger that somebody else holds, a
server that does not take a connection, an answer that does not come, a video that breaks off.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from scenes import CONTENT, SETTLING_SECONDS, STRANGER, Evidence, Scene
from workers import PATIENCE_SECONDS, Worker, wait_until

from prefect_hailuo.emulator import State, delay, edit, time_out

Standing = AbstractContextManager[Worker]


@dataclass(frozen=True)
class CrashPoint:
    """A point at which a process may die.

    Args:
        stand: Brings a worker there, and keeps it there.
        evidence: What is known at that moment.
        is_found: Whether a rerun comes back with the video; else it is parked, by design.
    """

    stand: Callable[[Scene], Standing]
    evidence: Evidence
    is_found: bool = True


@contextmanager
def before_the_intent(scene: Scene) -> Iterator[Worker]:
    """It has looked into fal's history, as it does before a first purchase; it may not write."""
    with scene.locked():
        worker = scene.workers.start()
        wait_until(lambda: scene.gate.count("GET /platform") == 1, "the history")
        scene.wait_for_a_writer()
        yield worker


@contextmanager
def after_the_intent(scene: Scene) -> Iterator[Worker]:
    """fal does not take its connection."""
    with listening(backlog=0) as listener:
        callers = [socket.socket() for _ in range(3)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield _in_fate(scene, "intended", queue_url=_url_of(listener))
        for caller in callers:
            caller.close()


@contextmanager
def with_bytes_that_reach_nobody(scene: Scene) -> Iterator[Worker]:
    """fal's machine takes its connection and its bytes, and no program there reads them."""
    with listening(backlog=8) as listener:
        yield _in_fate(scene, "sending", queue_url=_url_of(listener))


@contextmanager
def after_the_bytes_left(scene: Scene) -> Iterator[Worker]:
    """The POST has left as a whole, and is on its way to fal; it will get there."""
    with scene.gate.holding("POST", "request") as held:
        worker = scene.workers.start()
        held.wait()
        yield worker
    wait_until(lambda: scene.states, "accepted")


@contextmanager
def after_fal_accepted(scene: Scene) -> Iterator[Worker]:
    """fal's answer is on its way."""
    with scene.gate.holding("POST", "answer") as held:
        worker = scene.workers.start()
        held.wait()
        yield worker


@contextmanager
def before_the_ticket_is_written(scene: Scene) -> Iterator[Worker]:
    """fal's answer is there, and somebody else holds the ledger."""
    with scene.gate.holding("POST", "answer") as held:
        worker = scene.workers.start()
        held.wait()
        with scene.locked():
            held.release()
            held.wait_until_left()
            scene.wait_for_a_writer()
            yield worker


@contextmanager
def while_queued(scene: Scene) -> Iterator[Worker]:
    """fal works for somebody else first."""
    order_as_a_stranger(scene)
    worker = _in_fate(scene, "submitted")
    wait_until(lambda: scene.emulator.requests["stream"], "the stream")
    assert scene.states == [State.IN_QUEUE]
    yield worker


@contextmanager
def while_running(scene: Scene) -> Iterator[Worker]:
    """fal works for it."""
    worker = _in_fate(scene, "submitted")
    wait_until(lambda: scene.emulator.requests["stream"], "the stream")
    assert scene.states == [State.IN_PROGRESS]
    yield worker


@contextmanager
def after_completion(scene: Scene) -> Iterator[Worker]:
    """It has asked for the result, which is late."""
    scene.emulator.faults.add(delay("result", 60))
    worker = _in_fate(scene, "submitted")
    scene.finish_work()
    wait_until(lambda: scene.emulator.requests["result"] == 1, "the result")
    assert scene.states == [State.COMPLETED]
    yield worker


@contextmanager
def amid_the_download(scene: Scene) -> Iterator[Worker]:
    """The video's last byte does not come."""
    with downloading(scene) as (worker, _):
        [draft] = scene.drafts()
        assert 0 < draft.stat().st_size < len(CONTENT)
        yield worker


def before_the_record(scene: Scene) -> Standing:
    """The temporary file has its full size; nothing is in its place yet."""

    def has_come(draft: Path) -> bool:
        return draft.stat().st_size == len(CONTENT)

    return stopped_amid_storing(scene, has_come, records=0)


def before_the_final_move(scene: Scene) -> Standing:
    """The video's record is in its place; the video is not."""
    return stopped_amid_storing(scene, lambda _: bool(scene.kept("json")), records=1)


@contextmanager
def stopped_amid_storing(
    scene: Scene, has_come: Callable[[Path], bool], records: int
) -> Iterator[Worker]:
    """A worker who has all of the video, frozen before the video is in its place.

    Nothing keeps it there but a signal in the right moment: where that comes too late, it is tried
    again with another key.
    """
    while True:
        with downloading(scene) as (worker, release):
            [draft] = scene.drafts()
            release()
            _stop_when(worker, partial(_is_gone_or, has_come, draft))
            if (scene.drafts(), scene.kept(), len(scene.kept("json"))) == ([draft], [], records):
                assert draft.stat().st_size == len(CONTENT)
                yield worker
                return
        scene.miss(worker)


@contextmanager
def after_the_final_move(scene: Scene) -> Iterator[Worker]:
    """The video is in its place, and somebody else holds the ledger."""
    with downloading(scene) as (worker, release), scene.locked():
        release()
        wait_until(scene.kept, "the video")
        scene.wait_for_a_writer()
        yield worker


@contextmanager
def downloading(scene: Scene) -> Iterator[tuple[Worker, Callable[[], None]]]:
    """A worker who has all of the video but its last byte, which comes on request."""
    scene.emulator.faults.add(edit("result", lambda body: _through_gate(scene, body), count=None))
    with scene.gate.holding("GET /files", "rest") as held:
        worker = _in_fate(scene, "submitted")
        scene.finish_work()
        held.wait()
        wait_until(lambda: any(each.stat().st_size for each in scene.drafts()), "a draft")
        yield worker, held.release


@contextmanager
def listening(backlog: int) -> Iterator[socket.socket]:
    """A port at which the machine takes as many connections, and no program takes any."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        yield listener


def _url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _in_fate(scene: Scene, fate: str, **changes: object) -> Worker:
    worker = scene.workers.start(**changes)
    scene.wait_for_fate(fate)
    time.sleep(SETTLING_SECONDS)
    return worker


def order_as_a_stranger(scene: Scene) -> None:
    """Have fal work for somebody else, who is charged nothing, for it fails."""
    scene.emulator.faults.add(time_out(prompt=STRANGER))
    httpx.post(
        f"{scene.emulator.url}/fal-ai/minimax/hailuo-02/pro/text-to-video",
        json={"prompt": STRANGER},
        headers={"Authorization": f"Key {scene.emulator.api_key}"},
    ).raise_for_status()


def _through_gate(scene: Scene, result: dict[str, Any]) -> dict[str, Any]:
    """A result whose video is behind the gate."""
    url = result["video"]["url"].replace(scene.emulator.url, scene.gate.url)
    return {"video": {**result["video"], "url": url}}


def _is_gone_or(has_come: Callable[[Path], bool], draft: Path) -> bool:
    try:
        return has_come(draft)
    except FileNotFoundError:
        return True


def _stop_when(worker: Worker, happened: Callable[[], object]) -> None:
    """Freeze a worker in the very moment: it is looked for without a pause."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < until
    worker.freeze()


CRASH_POINTS = {
    each.stand.__name__: each
    for each in (
        CrashPoint(before_the_intent, Evidence((), 0, 0, 0, 0)),
        CrashPoint(after_the_intent, Evidence(("intended",), 0, 0, 0, 0)),
        CrashPoint(with_bytes_that_reach_nobody, Evidence(("sending",), 0, 0, 0, 0), False),
        CrashPoint(after_the_bytes_left, Evidence(("sending",), 0, 1, 0, 0)),
        CrashPoint(after_fal_accepted, Evidence(("sending",), 0, 1, 1, 0)),
        CrashPoint(before_the_ticket_is_written, Evidence(("sending",), 0, 1, 1, 0)),
        CrashPoint(while_queued, Evidence(("submitted",), 1, 1, 1, 0)),
        CrashPoint(while_running, Evidence(("submitted",), 1, 1, 1, 0)),
        CrashPoint(after_completion, Evidence(("submitted",), 1, 1, 1, 1)),
        CrashPoint(amid_the_download, Evidence(("succeeded",), 1, 1, 1, 1)),
        CrashPoint(before_the_record, Evidence(("succeeded",), 1, 1, 1, 1)),
        CrashPoint(before_the_final_move, Evidence(("succeeded",), 1, 1, 1, 1)),
        CrashPoint(after_the_final_move, Evidence(("succeeded",), 1, 1, 1, 1)),
    )
}
