"""fal is out of reach: a run says so soon, how things stand, and when it is over; little else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from batches import shots
from cables import Cable
from deployments import until
from file_server import smallest_video
from prefect import flow, unmapped

from prefect_hailuo import (
    FalCredentials,
    Hailuo02ProTextToVideo,
    generate_video,
    generate_videos,
    hailuo_02_pro_text_to_video,
)
from prefect_hailuo.emulator import FalEmulator, ManualClock, refuse
from prefect_hailuo.fal.outage import SILENT_SECONDS, Outage, Reachability, Witness
from prefect_hailuo.runs.cards import FIRST_SILENCE_SECONDS, _Outages
from prefect_hailuo.ticket import Realm

A_GENERATION = 1000.0

Lines = Callable[[], list[str]]


@contextmanager
def fal_by(
    cable: Cable, realm: Realm = "emulator"
) -> Iterator[tuple[FalEmulator, ManualClock, FalCredentials]]:
    """An emulator at the cable's end, whose time stands still, and what leads there."""
    clock = ManualClock()
    clip = smallest_video()
    with FalEmulator(clock=clock, clip=clip, realm=realm, public_url=cable.url) as emulator:
        cable.port = int(emulator.url.rpartition(":")[2])
        mine = FalCredentials.for_emulator(cable.url, emulator.api_key)
        yield emulator, clock, mine.model_copy(update={"realm": realm})


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What the task runs have logged so far."""
    caplog.set_level(logging.INFO, "prefect.task_runs")
    return lambda: [
        each.getMessage() for each in list(caplog.records) if each.name == "prefect.task_runs"
    ]


def line(lines: Lines, *words: str) -> str:
    """The first line that has all of these words, as soon as there is one."""

    def found() -> str | None:
        return next((each for each in lines() if all(word in each for word in words)), None)

    return str(until(f"a line with {words}", found))


@contextmanager
def under_way(run: Callable[[], Any]) -> Iterator[Future[Any]]:
    """A flow runs meanwhile, in a thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(copy_context().run, run)  # which has the settings of the tests' server


def let_end(run: Future[Any], clock: ManualClock) -> Any:
    """Let everything at fal end, until the run has."""
    while not run.done():
        clock.advance(A_GENERATION)
        time.sleep(0.1)
    return run.result()


def of_the_outage(lines: Lines) -> list[str]:
    """The lines that fal's absence made."""
    return [each for each in lines() if "out of reach" in each or "answers again" in each]


@pytest.mark.usefixtures("prefect_server")
def test_a_run_says_since_when_and_what_is_bought(lines: Lines, tmp_path: Path) -> None:
    """One line for all videos of a run, one when fal is back; no traceback, and nothing is lost."""
    with Cable() as cable, fal_by(cable) as (emulator, clock, credentials):
        mine: dict[str, Any] = {"credentials": credentials, "storage": str(tmp_path)}

        @flow
        def clips() -> list[str]:
            options: Any = {name: unmapped(each) for name, each in mine.items()}
            made = hailuo_02_pro_text_to_video.map(["A fox.", "An owl."], **options)
            return [each.place for each in made.result()]

        with under_way(clips) as run:
            until("both are made", lambda: sum("in progress." in each for each in lines()) == 2)
            cable.cut()
            said = line(lines, "fal is out of reach since ")
            clock.advance(A_GENERATION)
            cable.mend()
            line(lines, "fal answers again, after ")
            assert len(run.result()) == 2
        assert emulator.charged == 2
    assert " UTC (Connect" in said and "It is asked again and again." in said
    assert "is bought for nothing (at fal, about $0.48). In progress: " in said
    assert 2 <= len(of_the_outage(lines)) <= 4  # another for each doubling of a long outage


@pytest.mark.usefixtures("prefect_server")
def test_a_batch_says_how_all_of_it_stands(lines: Lines, tmp_path: Path) -> None:
    """What is bought, running and queued, for how much, and about how long; soon after the last
    purchase, and with fal out of reach."""
    with Cable() as cable, fal_by(cable) as (_, clock, mine):

        @flow
        def catalogue() -> int:
            return len(generate_videos(shots(3), credentials=mine, storage=tmp_path).videos)

        standing = "0 of 3 done, 2 running, 1 queued; 3 bought for nothing (at fal, about $1.44);"
        with under_way(catalogue) as run:
            assert " left." in line(lines, standing)
            cable.cut()
            said = line(lines, "fal is out of reach since ")
            cable.mend()
            line(lines, "fal answers again, after ")
            assert let_end(run, clock) == 3
    assert standing in said and " left." in said
    assert 2 <= len(of_the_outage(lines)) <= 4


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("batch", [False, True], ids=["video", "batch"])
def test_before_a_purchase_nothing_else_is_claimed(
    batch: bool, lines: Lines, tmp_path: Path
) -> None:
    """The history cannot be read, at an address where nobody listens: it is said, and not that the
    account has something under way; and it is waited out."""
    with Cable(is_cut=True) as cable, fal_by(cable, "fal") as (_, clock, mine):

        @flow
        def clip() -> int:
            if batch:
                return len(generate_videos(shots(2), credentials=mine, storage=tmp_path).videos)
            fox = Hailuo02ProTextToVideo(prompt="A fox.")
            return len([generate_video(fox, credentials=mine, storage=tmp_path)])

        with under_way(clip) as run:
            said = line(lines, "fal is out of reach since ")
            cable.mend()
            assert let_end(run, clock) == (2 if batch else 1)
    assert ("0 of 2 done, 2 to go; 0 bought" if batch else "Nothing is bought yet.") in said
    assert not any("this ledger is new" in each for each in lines())


@pytest.mark.usefixtures("prefect_server")
def test_what_fails_alike_is_said_once(lines: Lines, tmp_path: Path) -> None:
    """A batch for an address where nobody listens: one reason, however many inputs."""
    with Cable(is_cut=True) as cable, fal_by(cable) as (_, _, mine):

        @flow
        def catalogue() -> int:
            return len(generate_videos(shots(100), credentials=mine, storage=tmp_path).failed)

        assert catalogue() == 100
    [said] = [each for each in lines() if "No connection to" in each]
    assert said.startswith("Input ") and "Check the network" in said
    assert any("failed in the same way as " in each for each in lines())
    assert len(lines()) < 15


def test_faults_that_are_no_outage_are_told_as_what_they_are() -> None:
    """Something answers, and not as fal does."""
    reach = Reachability()
    reach.failed(httpx.ConnectError("refused"))
    assert str(reach.outage).startswith("fal is out of reach since ")
    reach.failed(ValueError("HTTP 503"))
    assert str(reach.outage).startswith("fal gives no good answer since ")
    assert "ValueError: HTTP 503" in str(reach.outage)


@pytest.mark.usefixtures("prefect_server")
def test_one_fault_that_passes_at_once_is_not_worth_a_word(
    lines: Lines, tiny: FalEmulator, tmp_path: Path
) -> None:
    """A question that is answered at the second time."""
    tiny.faults.add(refuse("status", 502), refuse("stream", 502))
    fox = Hailuo02ProTextToVideo(prompt="A fox.")
    generate_video(fox, credentials=tiny.credentials(), storage=tmp_path)
    assert of_the_outage(lines) == []


def test_it_is_told_before_a_pause_that_would_be_a_silence() -> None:
    """After one failure already, where fal asks for a minute."""
    told: list[Outage] = []
    witness = Witness(Reachability(), told.append)
    witness.failed(httpx.ReadTimeout("slow"), SILENT_SECONDS / 10)
    assert told == []
    witness.failed(httpx.ReadTimeout("slow"), 60.0)
    witness.answered()
    assert [each.is_over for each in told] == [False, True]


def test_it_is_told_ever_more_seldom() -> None:
    """At once, after half a minute, a minute, two, four; its end is told once, if it was told."""
    outages = _Outages()
    outage = Outage(datetime.now(timezone.utc), 0.0, "refused", unreachable=True)
    over = replace(outage, is_over=True)
    assert not outages.is_due(over)
    told = [at for at in range(3, 500) if outages.is_due(replace(outage, seconds=float(at)))]
    assert told == [3, *(FIRST_SILENCE_SECONDS * 2**n for n in range(5))]
    assert [outages.is_due(over), outages.is_due(over)] == [True, False]
