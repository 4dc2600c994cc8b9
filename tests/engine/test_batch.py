"""A batch: any number of generations, each bought once, with an outcome for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from batches import carry, files, follow, kinds, shots
from databases import holding
from file_server import smallest_video

from prefect_hailuo import (
    BatchItem,
    Budget,
    Hailuo23ProTextToVideo,
)
from prefect_hailuo.emulator import (
    FalEmulator,
    Fault,
    ManualClock,
    delay,
    fail_inside,
    refuse,
    refuse_content,
    refuse_without_credit,
)
from prefect_hailuo.emulator.faults import Answer, Kind
from prefect_hailuo.engine.batch import FIRST_AT_ONCE
from prefect_hailuo.errors import BatchError, Billed, ConfigurationError, StorageError

FOX = Hailuo23ProTextToVideo(prompt="A red fox.")


def test_outcomes_are_in_the_inputs_order(tiny: FalEmulator, tmp_path: Path) -> None:
    """Of mixed models and takes; each names its input, and has a file."""
    inputs = [*shots(5), FOX, (FOX, 2), BatchItem(input=FOX, take="x", labels={"sku": "1"})]
    outcomes = carry(tiny, inputs, storage=tmp_path, labels={"client": "Acme"})
    assert [each.index for each in outcomes] == list(range(8))
    assert [each.result().prompt for each in outcomes] == [
        *(each.prompt for each in shots(5)),
        *["A red fox."] * 3,
    ]
    assert [each.take for each in outcomes[5:]] == ["0", "2", "x"]
    assert outcomes[7].result().labels == {"client": "Acme", "sku": "1"}
    assert (files(tmp_path), tiny.charged) == (8, 8)


def test_equal_inputs_are_one_video_with_an_outcome_each(tiny: FalEmulator, tmp_path: Path) -> None:
    """It is bought once, and each that wanted it has it."""
    outcomes = carry(tiny, [FOX, *shots(1), FOX, (FOX, "0")], storage=tmp_path)
    assert outcomes[0].video == outcomes[2].video == outcomes[3].video
    assert [each.index for each in outcomes] == [0, 1, 2, 3]
    assert tiny.charged == 2


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ("An owl.", r"inputs\[1\] must be a video input"),
        ((FOX, 1.5), r"inputs\[1\]: take must be"),
        (BatchItem(input=FOX, labels={"a": "\0"}), r"inputs\[1\]: labels holds"),
        (FOX.endpoint, r"inputs\[1\] must be a video input"),
    ],
)
def test_a_bad_input_is_named_before_anything_is_bought(
    wrong: Any, match: str, tiny: FalEmulator
) -> None:
    """By its place in the list."""
    with pytest.raises((TypeError, ConfigurationError), match=match):
        carry(tiny, [FOX, wrong])
    assert tiny.requests["submit"] == 0


def test_one_input_is_not_many(tiny: FalEmulator) -> None:
    """A text would else be taken for its letters."""
    for one in (FOX, "A fox."):
        with pytest.raises(TypeError, match="inputs must be many"):
            carry(tiny, one)


def test_an_unfit_place_is_found_before_anything_is_bought(
    tiny: FalEmulator, tmp_path: Path
) -> None:
    """It is tried once, not once for each."""
    (tmp_path / "file").write_text("No directory.")
    with pytest.raises(StorageError) as caught:
        carry(tiny, shots(3), storage=tmp_path / "file")
    assert (caught.value.billed, tiny.requests["submit"]) == (Billed.NO, 0)


def test_one_that_fails_stops_no_other(tiny: FalEmulator, tmp_path: Path) -> None:
    """Each has the error that it would have had alone."""
    tiny.faults.add(refuse_content(prompt="Shot 1."), fail_inside(prompt="Shot 3."))
    outcomes = carry(tiny, shots(5), storage=tmp_path)
    assert kinds(outcomes) == ["video", "ContentPolicyError", "video", "FalFaultError", "video"]
    with pytest.raises(BatchError, match="2 of 5 videos failed; the first, input 2") as caught:
        outcomes.raise_for_failed()
    assert caught.value.outcomes == outcomes
    assert [each.index for each in outcomes.failed] == [1, 3]


def test_a_budget_for_some_is_spent_on_some(tiny: FalEmulator, tmp_path: Path) -> None:
    """The others have a `BudgetError`, and what is there already costs nothing."""
    budget = Budget(scope="catalogue", total_usd=Decimal("1.50"))
    options: dict[str, Any] = {"storage": tmp_path, "budget": budget}
    outcomes = carry(tiny, shots(5), **options)
    assert sorted(kinds(outcomes)) == ["BudgetError"] * 2 + ["video"] * 3
    again = carry(tiny, shots(5), **options)
    assert (kinds(again), tiny.charged) == (kinds(outcomes), 3)


def test_what_would_befall_all_stops_the_rest(tiny: FalEmulator, tmp_path: Path) -> None:
    """A few were refused; the others say that they were not tried, and why, and cost nothing."""
    tiny.faults.add(refuse_without_credit(count=None))
    outcomes = carry(tiny, shots(100), storage=tmp_path)
    assert set(kinds(outcomes)) == {"NoCreditError"}
    assert tiny.requests["submit"] <= 2 * FIRST_AT_ONCE
    error = outcomes[-1].error
    assert error is not None
    assert error.message.startswith("Not tried, and nothing was bought for it")
    assert (error.billed, "Top up" in error.cure) == (Billed.NO, True)


@pytest.mark.parametrize("body", [None, b"<html>Forbidden</html>"], ids=["fal's", "a page"])
@pytest.mark.parametrize("on", ["status", "result"])
def test_an_odd_answer_to_a_question_concerns_nobody(
    tiny: FalEmulator, tmp_path: Path, on: Kind, body: bytes | None
) -> None:
    """Only a refusal of a submission would befall all: what is paid for is asked about again."""
    said = body or {"detail": "invalid key credentials"}
    tiny.faults.add(refuse("stream", 405, count=None), Fault(on, Answer(401, said), count=40))
    outcomes = carry(tiny, shots(60), storage=tmp_path)
    assert (kinds(outcomes), tiny.charged) == (["video"] * 60, 60)


def test_what_was_begun_goes_on_to_its_end(tiny: FalEmulator, tmp_path: Path) -> None:
    """The credit ends with the fourth: the three before it are made."""
    tiny.faults.add(refuse_without_credit(nth=4, count=None))
    outcomes = carry(tiny, shots(30), storage=tmp_path)
    assert (len(outcomes.videos), tiny.charged, files(tmp_path)) == (3, 3, 3)
    tiny.faults.clear()
    assert len(carry(tiny, shots(30), storage=tmp_path).videos) == 30
    assert tiny.charged == 30


def test_one_damaged_record_stops_no_other(
    tiny: FalEmulator, tmp_path: Path, lose_ledger: Callable[[], None]
) -> None:
    """Where the ledger is new, the place is looked into: one of its records cannot be read."""
    carry(tiny, shots(40), storage=tmp_path)
    [record] = tmp_path.glob("shot-3-*.json")
    record.unlink()
    record.mkdir()
    lose_ledger()
    outcomes = carry(tiny, shots(40), storage=tmp_path)
    assert [(each.index, each.failure.kind) for each in outcomes if each.failure] == [
        (3, "StorageError")
    ]
    assert tiny.charged == 40


def test_a_rerun_costs_nothing(tiny: FalEmulator, tmp_path: Path) -> None:
    """All are there: fal is not asked for any."""
    first = carry(tiny, shots(20), storage=tmp_path)
    asked = sum(tiny.requests.values())
    again, told = follow(tiny, shots(20), storage=tmp_path)
    assert again == first
    assert (sum(tiny.requests.values()), tiny.charged) == (asked, 20)
    assert (told[-1].counts.reused, told[-1].counts.bought) == (20, 0)


def test_batches_that_overlap_share_what_they_both_want(
    tiny: FalEmulator, tmp_path: Path, ledger_url: str
) -> None:
    """At the same time, in one process: by the same ledger."""
    tiny.faults.add(delay("submit", 0.05, count=None))
    carried: list[int] = []
    halves = (shots(20)[:15], shots(20)[5:])

    def work(half: Any) -> None:
        carried.append(len(carry(tiny, half, storage=tmp_path).videos))

    threads = [threading.Thread(target=work, args=[half]) for half in halves]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (carried, tiny.charged, tiny.requests["submit"]) == ([15, 15], 20, 20)


def test_what_comes_no_further_times_out_with_its_ticket(tmp_path: Path) -> None:
    """fal stands still; a later run goes on with the same requests."""
    clock = ManualClock()
    with FalEmulator(clock=clock, clip=smallest_video()) as emulator:
        outcomes = carry(emulator, shots(3), storage=tmp_path, timeout_seconds=2)
        assert kinds(outcomes) == ["GenerationTimeoutError"] * 3
        errors = [each.error for each in outcomes]
        requests = {each.ticket.request_id for each in errors if each and each.ticket}
        assert len(requests) == 3
        clock.advance(100_000)
        again = carry(emulator, shots(3), storage=tmp_path)
        assert {each.request_id for each in again.videos} == requests
        assert emulator.charged == 3


def test_the_queue_is_no_time_out(tmp_path: Path) -> None:
    """An account that makes two at once: the last waits longer than the timeout, but all move."""
    with FalEmulator(speed=100, durations=100, concurrency=2, clip=smallest_video()) as emulator:
        outcomes = carry(emulator, shots(8), storage=tmp_path, timeout_seconds=2.5)
        assert len(outcomes.videos) == 8


def test_what_is_told_adds_up(tiny: FalEmulator, tmp_path: Path) -> None:
    """Every outcome is told once; the last counts are those of the outcomes."""
    tiny.faults.add(refuse_content(prompt="Shot 7."))
    outcomes, told = follow(tiny, shots(30), storage=tmp_path)
    news = [each for event in told for each in event.news]
    assert sorted(news, key=lambda each: each.index) == outcomes
    last = told[-1].counts
    assert (last.done, last.failed, last.bought, last.waiting, last.percent) == (29, 1, 30, 0, 100)
    assert (last.spent_usd + last.reserved_usd, last.left_seconds) == (Decimal("13.92"), 0)


def test_a_ledger_that_is_held_stops_no_batch_for_ever(
    tiny: FalEmulator, tmp_path: Path, ledger_url: str
) -> None:
    """Another process holds it for a while; then all goes on."""
    with holding(ledger_url, realm="emulator"):
        begun = time.monotonic()
        thread = threading.Thread(target=carry, args=[tiny, shots(3)], kwargs={"storage": tmp_path})
        thread.start()
        thread.join(0.5)
        assert (tiny.requests["submit"], thread.is_alive()) == (0, True)
    thread.join()
    assert (tiny.charged, time.monotonic() - begun > 0.5) == (3, True)


def test_a_refusal_that_does_not_pass_is_the_outcome_of_one(
    tiny: FalEmulator, tmp_path: Path
) -> None:
    """A 429 for one of them whenever it is tried, until nothing else moves: the rest are made."""
    tiny.faults.add(refuse("submit", 429, prompt="Shot 2.", count=None))
    outcomes = carry(tiny, shots(4), storage=tmp_path, timeout_seconds=5)
    assert kinds(outcomes) == ["video", "video", "RateLimitedError", "video"]
    assert outcomes[2].failure is not None
    assert outcomes[2].failure.retryable
