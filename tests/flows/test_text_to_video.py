"""The flow that makes a video of a prompt, as a flow and as a command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema

from flows.text_to_video import main, text_to_video
from prefect_hailuo import Budget, Video
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.flows.model_names import text_models
from prefect_hailuo.models.catalogue import CATALOGUE, find_input_class

MODELS = text_models()

SCRIPT = Path(__file__).parents[2] / "flows" / "text_to_video.py"


def test_offers_every_text_to_video_model(capsys: pytest.CaptureFixture[str]) -> None:
    """What the command offers is what the catalogue has."""
    facts = [input_class.endpoint for input_class in CATALOGUE.values()]
    assert set(MODELS) == {each.name for each in facts if each.category == "text-to-video"}
    assert main(["A fox.", "--model", "sora"]) == 2
    offered = set(re.findall(r'"((?:hailuo|h3|video-01)[^"]*)"', capsys.readouterr().err))
    assert offered == set(MODELS)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("model", MODELS)
def test_is_a_flow(emulator: FalEmulator, tmp_path: Path, model: Any) -> None:
    """Called from Python it returns the video."""
    options: dict[str, Any] = {"storage": str(tmp_path), "credentials": emulator.credentials()}
    video = text_to_video("A red fox.", model, prompt_optimizer=False, take="b", **options)
    assert (video.take, video.prompt) == ("b", "A red fox.")
    sent = {"prompt": "A red fox.", **find_input_class(model).rewriting(False)}
    assert sent.items() <= emulator.submissions[0].body.items()


@pytest.mark.usefixtures("prefect_server")
def test_the_duration_is_the_standard_models_choice(
    emulator: FalEmulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Theirs is heeded; for another model it is refused before anything is bought."""
    command = ["A red fox.", "--emulator", emulator.url, "--output", str(tmp_path), "--json"]
    longer = [*command, "--duration", "10", "--model"]
    assert main([*longer, "hailuo-2.3-standard"]) == 0
    video = Video.model_validate_json(capsys.readouterr().out.splitlines()[-1])
    assert (video.duration_seconds, str(video.price_usd)) == (10.0, "0.56")
    assert main([*longer, "hailuo-2.3-pro"]) == 1
    assert "no choice of durations" in capsys.readouterr().err
    assert emulator.charged == 1


@pytest.mark.usefixtures("prefect_server")
def test_is_a_command(
    emulator: FalEmulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints the path; run twice, the second is cached and nothing is charged."""
    command = ["A red fox.", "--emulator", emulator.url, "--output", str(tmp_path)]
    for _ in range(2):
        assert main(command) == 0
        assert Path(capsys.readouterr().out.splitlines()[-1]).parent == tmp_path
    assert emulator.charged == 1


@pytest.mark.usefixtures("prefect_server")
def test_prints_the_record_as_its_last_line(
    emulator: FalEmulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json, the last line of standard output is the video's record."""
    options = ["--model", "hailuo-02-pro", "--no-prompt-optimizer", "--take", "7", "--json"]
    command = ["An owl.", "--emulator", emulator.url, "--output", str(tmp_path), *options]
    assert main(command) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    video = Video.model_validate_json(last)
    assert json.loads(last)["realm"] == "emulator"
    assert video.endpoint == "fal-ai/minimax/hailuo-02/pro/text-to-video"
    assert (video.input, video.take) == ({"prompt": "An owl.", "prompt_optimizer": False}, "7")


@pytest.mark.usefixtures("prefect_server")
def test_a_budgets_scope_pays(
    emulator: FalEmulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that is named; what it does not allow is not bought."""
    Budget(scope="pennies", total_usd=Decimal("0.01")).apply("emulator")
    command = ["A red fox.", "--emulator", emulator.url, "--output", str(tmp_path)]
    assert main([*command, "--budget", "pennies"]) == 1
    assert "pennies" in capsys.readouterr().err
    assert emulator.charged == 0


def test_without_a_key_it_stops_at_once() -> None:
    """Neither key nor emulator: both cures are named, before any server is started."""
    command = [sys.executable, str(SCRIPT), "A red fox."]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "FAL_KEY" in done.stderr
    assert "--emulator" in done.stderr
    assert "server" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("prompt", "why"), [(" ", "blank"), ("x" * 2001, "2000")])
def test_a_bad_prompt_is_explained(
    prompt: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the model would not take is said in a line."""
    assert main([prompt, "--emulator"]) == 1
    assert why in capsys.readouterr().err


def test_an_emulator_that_is_not_there_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prefect_server: None
) -> None:
    """A wrong address says that nothing was sent."""
    with FalEmulator(clip="plain") as gone:
        url = gone.url
    assert main(["A red fox.", "--emulator", url, "--output", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "No connection" in error
    assert "Money spent: no" in error


def test_can_be_served_by_another_script() -> None:
    """Prefect resolves the flow's parameters wherever they are asked for."""
    schema = parameter_schema(text_to_video.fn).model_dump()
    assert schema["required"] == ["prompt"]
    assert set(text_to_video.validate_parameters({"prompt": "A fox.", "take": 3})) >= {"take"}
