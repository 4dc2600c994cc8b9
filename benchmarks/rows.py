"""What goes wrong, a row each: the crash points and faults that both contenders go through."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from benchmarks.ground import OTHERS_PROMPT, Ground, NotHitError, ends_well
from benchmarks.surroundings import WORTHLESS_KEY
from prefect_hailuo.emulator import (
    cut,
    delay,
    drop_after_accepting,
    lose_answer,
    refuse,
    stop_when_cancelled,
)
from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo

FOR_EVER = 3600.0
LONG_DOWNLOAD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Row:
    """One thing that goes wrong.

    Args:
        name: For the command line.
        title: For the table.
        play: Lets it happen, then runs the flow to its end; returns whether it ended well.
        padding: By how many bytes the video is made longer.
        runners: How many requests fal works on at once.
        slow: Whether it takes a minute.
    """

    name: str
    title: str
    play: Callable[[Ground], bool]
    padding: int = 0
    runners: int = 2
    slow: bool = False


def _undisturbed(ground: Ground) -> bool:
    return ground.run_to_end()


def _dropped(ground: Ground) -> bool:
    return ground.go_wrong(drop_after_accepting("submit"))


def _answered_502(ground: Ground) -> bool:
    return ground.go_wrong(lose_answer("submit", 502))


def _truncated(ground: Ground) -> bool:
    return ground.go_wrong(cut("submit", at=40))


def _poll_502(ground: Ground) -> bool:
    # One contender polls the status, the other reads its stream.
    return ground.go_wrong(refuse("status", 502), refuse("stream", 502))


def _killed_unanswered(ground: Ground) -> bool:
    ground.emulator.faults.add(delay("submit", FOR_EVER))
    ground.kill_when(lambda: len(ground.submissions()) == 1, "before fal's answer")
    return ground.run_to_end()


def _killed_queued(ground: Ground) -> bool:
    cancel_url = _keep_busy(ground)
    ground.kill_when(lambda: _follows(ground) and ground.state() == "IN_QUEUE", "while queued")
    _ask(ground, "PUT", cancel_url)  # the runner is free again
    return ground.run_to_end()


def _killed_running(ground: Ground) -> bool:
    ground.kill_when(lambda: _follows(ground) and ground.state() == "IN_PROGRESS", "while running")
    return ground.run_to_end()


def _killed_completed(ground: Ground) -> bool:
    ground.emulator.faults.add(delay("result", FOR_EVER))
    ground.kill_when(
        lambda: ground.asked("result") == 1 and ground.state() == "COMPLETED",
        "after fal completed it, before the result arrived",
    )
    return ground.run_to_end()


def _killed_downloading(ground: Ground) -> bool:
    ground.kill_when(ground.is_downloading, "in the middle of the download")
    ground.proof += f"; {ground.longest_file():,} of {len(ground.video):,} bytes were on the disk"
    return ground.run_to_end()


def _two_at_once(ground: Ground) -> bool:
    both = [ground.start(), ground.start()]
    ground.wait_until(lambda: bool(ground.submissions()), "a first request")
    if any(child.poll() is not None for child in both):
        raise NotHitError("one run ended before the other began")
    ended = [ends_well(child) for child in both]
    ground.proof = f"both ran when fal had the first request; in the end: {ground.what_fal_saw()}"
    return all(ended) or ground.run_to_end()


def _cache_cleared(ground: Ground) -> bool:
    if not ground.run_to_end():
        return False
    ground.forget_results()
    return ground.run_to_end()


def _follows(ground: Ground) -> bool:
    """Whether the flow has fal's answer, and waits for the video."""
    return ground.asked("status", "stream") >= 1


def _keep_busy(ground: Ground) -> str:
    """Give fal's only runner work that costs nothing; returns how to end it.

    It is another model's. An unknown request to the contender's own model might be the very one
    that is wanted, bought before its ledger began: this package would look again for a minute.
    """
    ground.emulator.faults.add(stop_when_cancelled(prompt=OTHERS_PROMPT))
    url = f"{ground.emulator.url}/{Hailuo23ProTextToVideo.endpoint.id}"
    return str(_ask(ground, "POST", url, {"prompt": OTHERS_PROMPT})["cancel_url"])


def _ask(
    ground: Ground, method: str, url: str, body: dict[str, str] | None = None
) -> dict[str, object]:
    context = ssl.create_default_context(cafile=ground.surroundings.certificate)
    headers = {"Authorization": f"Key {WORTHLESS_KEY}"}
    with httpx.Client(verify=context, headers=headers, trust_env=False) as client:
        answer: dict[str, object] = client.request(method, url, json=body).json()
        return answer


ROWS = (
    Row("undisturbed", "nothing goes wrong", _undisturbed),
    Row("dropped", "fal accepts it, and the connection breaks", _dropped),
    Row("answered-502", "fal accepts it, and a proxy answers 502", _answered_502),
    Row("truncated", "fal accepts it, and the answer is cut off", _truncated),
    Row("poll-502", "a question about the status is answered 502", _poll_502),
    Row("killed-unanswered", "killed before fal's answer", _killed_unanswered, slow=True),
    Row("killed-queued", "killed while queued", _killed_queued, runners=1),
    Row("killed-running", "killed while fal works on it", _killed_running),
    Row("killed-completed", "killed when it is done, before the result", _killed_completed),
    Row(
        "killed-downloading",
        "killed in the middle of the download",
        _killed_downloading,
        padding=LONG_DOWNLOAD_BYTES,
    ),
    Row("two-at-once", "two equal runs at once", _two_at_once),
    Row("cache-cleared", "run again later, Prefect's cache cleared", _cache_cleared),
)
"""In the order of the table."""
