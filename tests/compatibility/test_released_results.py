"""Results that the first release persisted: they load, and Prefect answers from them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from prefect import flow
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from released import FOLDER, VIDEOS, told

from prefect_hailuo import (
    BatchItem,
    Estimate,
    Hailuo02ProTextToVideo,
    Ticket,
    Video,
    VideoOutcomes,
    generate_video,
    hailuo_23_pro_text_to_video,
)
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import BatchError, Billed, ContentPolicyError
from prefect_hailuo.fal.messages import Completed, Output
from prefect_hailuo.flows.comparison import Comparison
from prefect_hailuo.flows.drift import DriftReport
from prefect_hailuo.flows.report import BatchSummary
from prefect_hailuo.flows.scenes import Storyboard
from prefect_hailuo.tasks.sweep import SweepReport

pytestmark = pytest.mark.usefixtures("prefect_server", "release")

OWL = Hailuo02ProTextToVideo(prompt="An owl lands.", prompt_optimizer=False)

RESULTS = {
    "generate_video": Video,
    "hailuo_23_pro_text_to_video": Video,
    "generate_video, pickle": Video,
    "video, json": Video,
    "video, pickle": Video,
    "ticket, json": Ticket,
    "ticket, pickle": Ticket,
    "completed, json": Completed,
    "completed, pickle": Completed,
    "output, json": Output,
    "output, pickle": Output,
    "input, json": Hailuo02ProTextToVideo,
    "input, pickle": Hailuo02ProTextToVideo,
    "item, json": BatchItem,
    "item, pickle": BatchItem,
    "estimate, json": Estimate,
    "estimate, pickle": Estimate,
    "outcomes, json": list,
    "outcomes, pickle": VideoOutcomes,
    "failed, json": ContentPolicyError,
    "failed, pickle": ContentPolicyError,
    "batch failed, pickle": BatchError,
    "flow text_to_video": Video,
    "flow batch": BatchSummary,
    "flow reconcile": SweepReport,
    "flow schema_watch": DriftReport,
    "flow compare_models": Comparison,
    "flow storyboard": Storyboard,
}
"""What is to come of each."""


@pytest.fixture
def stored(release: None) -> Iterator[ResultStore]:
    """The release's results, as a task's own store has them, and where tasks look for theirs."""
    folder = FOLDER / "results"
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: folder}):
        yield ResultStore(result_storage=LocalFileSystem(basepath=str(folder)))


def load(store: ResultStore, name: str) -> Any:
    """A result by its name."""
    return store.read(told("results")[name]["file"]).result


def test_every_result_loads(stored: ResultStore) -> None:
    """As the class that it has today, from whatever module its class was in."""
    assert RESULTS.keys() == told("results").keys()
    for name, kind in RESULTS.items():
        assert type(load(stored, name)) is kind, name


def test_both_serializers_tell_the_same(stored: ResultStore) -> None:
    """What was written twice is read as equal values."""
    twice = [name.removesuffix(", json") for name in RESULTS if name.endswith(", json")]
    for name in set(twice) - {"failed", "estimate"}:
        assert load(stored, f"{name}, json") == load(stored, f"{name}, pickle"), name
    plain, pickled = load(stored, "estimate, json"), load(stored, "estimate, pickle")
    # JSON keeps no model's own fields there.
    assert (str(plain), plain.purchases) == (str(pickled), pickled.purchases)


def test_an_error_still_says_what_it_said(stored: ResultStore) -> None:
    """What happened, whether it cost money, and of which request."""
    error = load(stored, "failed, pickle")
    assert (error.billed, error.retryable) == (Billed.NO, False)
    assert "flagged by a content checker" in str(error) and error.problems
    assert error.message in load(stored, "failed, json").message
    batch = load(stored, "batch failed, pickle")
    assert [bool(each.error) for each in batch.outcomes] == [False, False, True]
    assert isinstance(batch.outcomes[2].error, ContentPolicyError)


def test_prefect_answers_from_its_cache(
    stored: ResultStore, emulator: FalEmulator, capfd: pytest.CaptureFixture[str]
) -> None:
    """The release's results are hits, by the keys that calls have today."""
    options: Any = {"credentials": emulator.credentials(), "storage": VIDEOS}
    pickled = generate_video.with_options(result_serializer="pickle")
    calls = [
        partial(generate_video, OWL, **options),
        partial(pickled, OWL, take="pickle", **options),
        partial(hailuo_23_pro_text_to_video, "A kite.", **options),
        partial(hailuo_23_pro_text_to_video, "A red fox.", take="sqlite again", **options),
    ]

    @flow
    def again() -> None:
        states: list[Any] = [call(return_state=True) for call in calls]
        assert [each.name for each in states] == ["Cached"] * len(calls)
        assert all(each.result().is_there() for each in states)

    again()
    assert sum(emulator.requests.values()) == 0
    assert "Deprecat" not in capfd.readouterr().err
