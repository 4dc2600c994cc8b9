"""A batch as a task of Prefect's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batches import shots
from prefect import flow

from prefect_hailuo import (
    FalCredentials,
    agenerate_videos,
    generate_video,
    generate_videos,
)
from prefect_hailuo.emulator import (
    FalEmulator,
    fail_inside,
    refuse_content,
)
from prefect_hailuo.errors import BatchError, ConfigurationError

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_no_inputs_are_no_outcomes() -> None:
    """Also without a key."""
    assert generate_videos([]) == []


def test_a_generator_is_read_once(
    tiny: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """A retry would find it empty, so it is refused where there are retries."""
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}
    assert len(generate_videos((each for each in shots(2)), **options).videos) == 2
    with pytest.raises(TypeError, match="pass a list"):
        generate_videos.with_options(retries=1)(iter(shots(2)), **options)


def test_retries_try_once_more_what_failed_at_no_cost(tiny: FalEmulator, tmp_path: Path) -> None:
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


async def test_an_asynchronous_flow_awaits_its_batch(tiny: FalEmulator, tmp_path: Path) -> None:
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
    tiny: FalEmulator, tmp_path: Path
) -> None:
    """`.submit()` works; a single task finds what the batch bought."""
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}

    @flow
    def catalogue() -> bool:
        outcomes = generate_videos.submit(shots(3), **options).result()
        return bool(generate_video(shots(3)[1], **options) == outcomes[1].result())

    assert catalogue()
    assert tiny.charged == 3


def test_what_the_listener_raises_ends_the_batch(tiny: FalEmulator, tmp_path: Path) -> None:
    """What was bought is found by a rerun."""
    options: dict[str, Any] = {"credentials": tiny.credentials(), "storage": tmp_path}

    def fail(outcome: Any) -> None:
        raise LookupError(outcome.index)

    with pytest.raises(LookupError):
        generate_videos(shots(5), on_outcome=fail, **options)
    assert len(generate_videos(shots(5), **options).videos) == 5
    assert tiny.charged == 5


def test_a_batch_with_options_that_are_none_is_refused() -> None:
    """Before anything is bought."""
    with pytest.raises(ConfigurationError, match="Pass 'return' or 'raise'"):
        generate_videos(shots(1), on_failed="ignore")  # type: ignore[call-overload]

    async def note(outcome: Any) -> None:
        """Be asynchronous."""

    with pytest.raises(TypeError, match="use agenerate_videos"):
        generate_videos(shots(1), on_outcome=note)
