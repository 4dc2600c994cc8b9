"""Camera commands: what MiniMax has, what it has not, and where a person is told."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from commands import succeed
from prefect import flow
from roads import generate

from prefect_hailuo import (
    CAMERA_COMMANDS,
    Hailuo02ProTextToVideo,
    Hailuo23ProTextToVideo,
    check_camera_commands,
    estimate,
    generate_videos,
    hailuo_02_pro_text_to_video,
)
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.events import Cautioned

MISSPELT = "[Pan lef] A red fox at dawn."
WARNING = "[Pan lef] is no camera command of MiniMax's; did you mean [Pan left]?"


@pytest.mark.parametrize("command", CAMERA_COMMANDS)
def test_every_command_is_known(command: str) -> None:
    """In any case and with any spaces, alone or with others."""
    loose = command.upper().replace(" ", "  ")
    assert check_camera_commands(f"A fox. [{command}] It runs. [ {loose} ,Shake]") == []


def test_the_commands_are_fifteen() -> None:
    """As many as MiniMax documents, no two alike."""
    assert len({name.casefold() for name in CAMERA_COMMANDS}) == 15


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        *[("Pan lef", "Pan left"), ("truk right", "Truck right"), ("zoom", "Zoom in")],
        *[("Push-in", "Push in"), ("pedestel up", "Pedestal up"), ("static", "Static shot")],
    ],
)
def test_the_nearest_is_suggested(wrong: str, nearest: str) -> None:
    """Where one is near; only of the one that is wrong, and once."""
    prompt = f"[Tilt up, {wrong}] A fox. [{wrong}] It runs."
    told = f"[{wrong}] is no camera command of MiniMax's; did you mean [{nearest}]?"
    assert check_camera_commands(prompt) == [told]


def test_what_is_like_none_is_told_what_there_is() -> None:
    """All of them are listed; a long text in brackets is cut."""
    (told,) = check_camera_commands(f"[{'A sign that says hello. ' * 20}] A fox.")
    assert all(f"[{name}]" in told for name in CAMERA_COMMANDS)
    assert told.startswith("[A sign that says hello.") and "…]" in told


def test_more_than_three_at_once_is_told() -> None:
    """MiniMax advises three at most; one after the other, there may be any number."""
    (told,) = check_camera_commands("[Pan left, Tilt up, Zoom in, Shake] A fox.")
    assert "4 ways at once" in told and "3 at most" in told
    assert check_camera_commands("[Pan left][Tilt up][Zoom in][Shake]") == []


@pytest.mark.parametrize(
    "prompt", ["A fox.", "A fox] at [dawn", "[[Pan left]]", "(Pan lef)", "[a](b)"]
)
def test_brackets_that_hold_nothing_are_no_matter(prompt: str) -> None:
    """Only what stands in a pair of brackets is looked at."""
    assert check_camera_commands(prompt) == []


def test_it_is_told_before_it_is_bought_and_only_then(tiny: FalEmulator, tmp_path: Path) -> None:
    """The warning comes before the purchase; a video that is there is not spoken of again."""
    seen: list[object] = []
    for _ in range(2):
        generate(tiny, tmp_path, Hailuo23ProTextToVideo(prompt=MISSPELT), seen.append)
    assert [type(event).__name__ for event in seen[:2]] == ["Cautioned", "Submitted"]
    assert [event for event in seen if isinstance(event, Cautioned)] == [Cautioned((WARNING,))]


@pytest.mark.usefixtures("prefect_server")
def test_it_is_a_warning_in_the_tasks_log(
    tiny: FalEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once in a flow run, although two videos have it; the videos are made all the same."""

    @flow
    def clips() -> None:
        for take in (0, 1):
            hailuo_02_pro_text_to_video(
                MISSPELT, take=take, credentials=tiny.credentials(), storage=tmp_path
            )

    clips()
    told = [each for each in caplog.records if each.getMessage() == WARNING]
    assert [(each.levelno, each.name) for each in told] == [(logging.WARNING, "prefect.task_runs")]
    assert tiny.charged == 2


@pytest.mark.usefixtures("prefect_server")
def test_a_batch_tells_each_thing_once(
    tiny: FalEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However many of its prompts have it."""
    inputs = [Hailuo02ProTextToVideo(prompt=f"{MISSPELT} Take {n}.") for n in range(3)]
    generate_videos(inputs, credentials=tiny.credentials(), storage=tmp_path)
    assert [each.getMessage() for each in caplog.records].count(WARNING) == 1


def test_an_estimate_tells_it(ledger_url: str) -> None:
    """Before anything is spent, in Python and on the command line."""
    fox = Hailuo02ProTextToVideo(prompt=MISSPELT)
    assert estimate([fox, (fox, 1)]).warnings == (WARNING,)
    assert WARNING in succeed("estimate", "hailuo-02-pro", "--prompt", MISSPELT).words
    told = succeed("estimate", "hailuo-02-pro", "--prompt", MISSPELT, "--json").json
    assert told["warnings"] == [WARNING]
