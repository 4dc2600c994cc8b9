"""A batch: any number of generations, each bought once, with an outcome for each."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from batches import carry, files, follow, kinds, shots
from databases import holding
from file_server import smallest_video
from prefect import flow

from prefect_hailuo import (
    BatchItem,
    Budget,
    FalCredentials,
    Hailuo23ProTextToVideo,
    agenerate_videos,
    generate_video,
    generate_videos,
)
from prefect_hailuo.batch import FIRST_AT_ONCE
from prefect_hailuo.emulator import FalEmulator, ManualClock
from prefect_hailuo.emulator.common_faults import (
    delay,
    fail_inside,
    refuse,
    refuse_content,
    refuse_without_credit,
)
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


def test_no_inputs_are_no_outcomes(prefect_server: None) -> None:
    """Also without a key."""
    assert generate_videos([]) == []


def test_a_generator_is_read_once(
    prefect_server: None, tiny: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """A retry would find it empty, so it is refused where there are retries."""
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}
    assert len(generate_videos((each for each in shots(2)), **options).videos) == 2
    with pytest.raises(TypeError, match="pass a list"):
        generate_videos.with_options(retries=1)(iter(shots(2)), **options)


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
    with pytest.raises(BatchError, match="2 of 5 videos failed; the first, input 1") as caught:
        outcomes.raise_for_failed()
    assert caught.value.outcomes == outcomes
    assert [each.index for each in outcomes.failed] == [1, 3]


def test_a_budget_for_some_is_spent_on_some(
    prefect_server: None, tiny: FalEmulator, tmp_path: Path
) -> None:
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


def test_what_was_begun_goes_on_to_its_end(tiny: FalEmulator, tmp_path: Path) -> None:
    """The credit ends with the fourth: the three before it are made."""
    tiny.faults.add(refuse_without_credit(nth=4, count=None))
    outcomes = carry(tiny, shots(30), storage=tmp_path)
    assert (len(outcomes.videos), tiny.charged, files(tmp_path)) == (3, 3, 3)
    tiny.faults.clear()
    assert len(carry(tiny, shots(30), storage=tmp_path).videos) == 30
    assert tiny.charged == 30


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


def test_retries_try_once_more_what_failed_at_no_cost(
    prefect_server: None, tiny: FalEmulator, tmp_path: Path
) -> None:
    """With `on_failed="raise"`; what is there is not bought again."""
    tiny.faults.add(fail_inside(prompt="Shot 1.", count=1))
    patient = generate_videos.with_options(retries=2)
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}
    assert len(patient(shots(3), on_failed="raise", **options).videos) == 3
    assert (tiny.charged, tiny.requests["submit"]) == (3, 4)


def test_retries_repeat_no_refusal(prefect_server: None, tiny: FalEmulator, tmp_path: Path) -> None:
    """What will be refused again, or may have cost money, is raised at once."""
    tiny.faults.add(refuse_content(prompt="Shot 1.", count=None))
    patient = generate_videos.with_options(retries=2)
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}
    with pytest.raises(BatchError):
        patient(shots(3), on_failed="raise", **options)
    assert tiny.requests["submit"] == 3


async def test_an_asynchronous_flow_awaits_its_batch(
    prefect_server: None, tiny: FalEmulator, tmp_path: Path
) -> None:
    """And awaits what it does with each outcome."""
    seen: list[int] = []

    async def note(outcome: Any) -> None:
        seen.append(outcome.index)

    @flow
    async def catalogue() -> int:
        outcomes = await agenerate_videos(
            shots(5), credentials=tiny.credentials(), storage=tmp_path, on_outcome=note
        )
        return len(outcomes.videos)

    assert (await catalogue(), sorted(seen)) == (5, [0, 1, 2, 3, 4])


def test_a_batch_is_submitted_and_shares_with_single_tasks(
    prefect_server: None, tiny: FalEmulator, tmp_path: Path
) -> None:
    """`.submit()` works; a single task finds what the batch bought."""
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}

    @flow
    def catalogue() -> bool:
        outcomes = generate_videos.submit(shots(3), **options).result()
        return bool(generate_video(shots(3)[1], **options) == outcomes[1].result())

    assert catalogue()
    assert tiny.charged == 3


def test_what_the_listener_raises_ends_the_batch(
    prefect_server: None, tiny: FalEmulator, tmp_path: Path
) -> None:
    """What was bought is found by a rerun."""
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}

    def fail(outcome: Any) -> None:
        raise LookupError(outcome.index)

    with pytest.raises(LookupError):
        generate_videos(shots(5), on_outcome=fail, **options)
    assert len(generate_videos(shots(5), **options).videos) == 5
    assert tiny.charged == 5


def test_a_batch_with_options_that_are_none_is_refused(prefect_server: None) -> None:
    """Before anything is bought."""
    with pytest.raises(ConfigurationError, match="Pass 'return' or 'raise'"):
        generate_videos(shots(1), on_failed="ignore")  # type: ignore[call-overload]

    async def note(outcome: Any) -> None:
        """Be asynchronous."""

    with pytest.raises(TypeError, match="use agenerate_videos"):
        generate_videos(shots(1), on_outcome=note)


def test_a_transient_refusal_is_the_outcome_of_one(tiny: FalEmulator, tmp_path: Path) -> None:
    """A 429 for one of them: it may be tried again, and the rest are made."""
    tiny.faults.add(refuse("submit", 429, prompt="Shot 2.", count=None))
    outcomes = carry(tiny, shots(4), storage=tmp_path)
    assert kinds(outcomes) == ["video", "video", "RateLimitedError", "video"]
    assert outcomes[2].failure is not None
    assert outcomes[2].failure.retryable
