"""What costs nothing and passes by itself does not end a video of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batches import carry, kinds, shots
from file_server import smallest_video
from roads import generate, order_of

from prefect_hailuo.clock import SystemClock
from prefect_hailuo.emulator import FalEmulator, Fault, refuse
from prefect_hailuo.emulator.faults import Answer
from prefect_hailuo.engine.events import Hindered
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.errors import Billed, ParkedError, RateLimitedError, UnreachableError
from prefect_hailuo.fal.retry import SubmissionRetry

MANY = 60


def test_fal_wants_fewer_at_once(tiny: FalEmulator, tmp_path: Path) -> None:
    """Those that were refused with 429 are submitted later; each is bought once."""
    tiny.faults.add(refuse("submit", 429, headers={"Retry-After": "1"}, nth=3, count=20))
    assert kinds(carry(tiny, shots(MANY), storage=tmp_path)) == ["video"] * MANY
    assert tiny.charged == MANY


async def test_fal_is_out_of_reach_for_a_while() -> None:
    """It was there before; when somebody answers again, it goes on."""
    tries: list[object] = []

    async def bring() -> str:
        if len(tries) < 2:
            raise UnreachableError("No connection stood.", billed=Billed.NO)
        return "video"

    retry = SubmissionRetry(SystemClock())
    retry.note_reached()
    assert await retry.run(bring, tries.append) == "video"


async def test_what_may_have_been_bought_is_not_tried_again() -> None:
    """Only what is known to have cost nothing is."""
    retry = SubmissionRetry(SystemClock())
    retry.note_reached()
    with pytest.raises(RateLimitedError):
        await retry.run(_refused_though_it_may_be_paid_for, print)


def test_where_nobody_was_ever_reached_it_is_said_at_once(tmp_path: Path) -> None:
    """The address may be wrong, which does not pass."""
    with FalEmulator(clip=smallest_video()) as gone:
        pass
    assert kinds(carry(gone, shots(5), storage=tmp_path)) == ["UnreachableError"] * 5


async def _refused_though_it_may_be_paid_for() -> None:
    raise RateLimitedError("Too many.", billed=Billed.UNKNOWN)


def forwarded(status: int, body: Any, count: int | None = None) -> Fault:
    """A gateway sends the POST on to fal, and answers it of itself."""
    answer = Answer(status, body, {"Retry-After": "0.1"}, after_accepting=True)
    return Fault("submit", answer, count=count)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 422, 429])
def test_a_gateways_refusal_is_none(
    tiny: FalEmulator, tmp_path: Path, each_ledger: str, status: int
) -> None:
    """A page says nothing of the POST that the gateway may have sent on: it is looked for."""
    tiny.faults.add(forwarded(status, b"<html>Forbidden</html>"))
    assert generate(tiny, tmp_path).is_there()
    assert (tiny.requests["submit"], tiny.charged) == (1, 1)


def test_after_a_second_429_the_history_is_looked_into(
    tiny: FalEmulator, tmp_path: Path, each_ledger: str
) -> None:
    """A gateway that speaks like fal costs one purchase too many, and no third."""
    tiny.faults.add(forwarded(429, {"detail": "Too many requests"}))
    assert generate(tiny, tmp_path).is_there()
    assert (tiny.requests["submit"], tiny.charged) == (2, 2)
    order = order_of(tiny, tmp_path)

    async def duplicates(connections: Connections, emit: Emit) -> list[bool]:
        claims = connections.ledgers.at(order.ledger).claims
        found = [await claims.attempt(order.key, number) for number in (1, 2, 3)]
        return [each.duplicate for each in found if each and each.request_id]

    assert sorted(process_loop().run(duplicates)) == [False, True]


def test_one_call_waits_for_its_turn_as_a_batch_does(tiny: FalEmulator, tmp_path: Path) -> None:
    """Nothing is bought by a 429, so it is tried again; and whoever waits is told."""
    tiny.faults.add(refuse("submit", 429, headers={"Retry-After": "0.1"}, count=3))
    told: list[object] = []
    assert generate(tiny, tmp_path, handle=told.append).is_there()
    assert (tiny.requests["submit"], tiny.charged) == (4, 1)
    assert [type(each.error) for each in told if isinstance(each, Hindered)] == (
        [RateLimitedError] * 3
    )


def test_one_call_waits_no_longer_than_it_may(tiny: FalEmulator, tmp_path: Path) -> None:
    """Then it is fal's refusal, at no cost."""
    tiny.faults.add(refuse("submit", 429, headers={"Retry-After": "1e9"}, count=None))
    with pytest.raises(RateLimitedError) as caught:
        generate(tiny, tmp_path)
    assert (caught.value.billed, caught.value.retry_after) == (Billed.NO, 3600)
    assert tiny.requests["submit"] == 1


def test_a_lost_answer_is_told_with_its_cause(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is parked names what came, and the request's id if that was seen."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")
    body = {"detail": "Conflict", "request_id": "019df76d"}
    tiny.history.omits_payloads = True
    for status, answer, said in (
        (503, b"<html>Away</html>", "HTTP 503.*Away"),
        (409, body, "HTTP 409: Conflict.*said to be request 019df76d"),
        (302, b"", "HTTP 302: a redirect"),
        (200, b"?", "could not be understood.*What came: \\?"),
    ):
        tiny.faults.add(forwarded(status, answer, count=1))
        with pytest.raises(ParkedError, match=said):
            generate(tiny, tmp_path, take=status)
