"""The flow that compares models, as a flow and as a command."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from PIL import Image
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.utilities.callables import parameter_schema
from test_joining import RED, colour_at, shot

from flows.compare_models import compare_models, main
from prefect_hailuo.emulator import FalEmulator, refuse_content
from prefect_hailuo.errors import BatchError, ConfigurationError
from prefect_hailuo.flows.compare_models import BOTH_PRO
from prefect_hailuo.flows.comparison import (
    CARD_KEY,
    POSTERS_KEY,
    Comparison,
    comparison_card,
    name_of,
    seconds_taken,
)
from prefect_hailuo.flows.model_names import text_models
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo


@pytest.fixture
def red(tmp_path: Path) -> Iterator[FalEmulator]:
    """An emulator whose every video is a quarter of a second of red."""
    content = shot(tmp_path / "red.mp4", RED, frames=6).read_bytes()
    with FalEmulator(speed=1000, clip=content) as emulator:
        yield emulator


async def compare(emulator: FalEmulator, storage: Path, **options: Any) -> tuple[Comparison, str]:
    """A comparison, and its flow run's id."""
    seen: list[str] = []
    watched = compare_models.with_options(
        on_completion=[lambda flow, run, state: seen.append(str(run.id))],
    )
    options |= {"storage": str(storage), "credentials": emulator.credentials()}
    comparison = await watched("A red fox | leaps.", prompt_optimizer=False, **options)
    return comparison, seen[0]


def artifacts_by_key(run_id: str, what: str = "data") -> dict[str, Any]:
    """What a flow run's artifacts hold."""
    api = get_current_settings().api.url
    chosen = {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
    answer = httpx.post(f"{api}/artifacts/filter", json=chosen).raise_for_status()
    return {each["key"]: each[what] for each in answer.json()}


@pytest.mark.usefixtures("prefect_server")
async def test_two_videos_a_clip_and_a_card(red: FalEmulator, tmp_path: Path) -> None:
    """Each model makes one; the clip plays both; card and posters are in Prefect's UI."""
    comparison, run_id = await compare(red, tmp_path / "videos")
    assert [name_of(each) for each in comparison.outcomes] == BOTH_PRO
    assert {each.body["prompt_optimizer"] for each in red.submissions} == {False}
    assert comparison.clip and comparison.clip.path
    assert comparison.clip.parts == [each.place for each in comparison.videos]
    with av.open(str(comparison.clip.path)) as container:
        picture = next(container.decode(video=0)).to_image()
    assert [colour_at(picture, x, 400) for x in (480, 1440)] == [RED, RED]
    shown = artifacts_by_key(run_id)
    assert shown[CARD_KEY] == comparison_card(comparison)
    _, _, content = shown[POSTERS_KEY].partition("data:image/jpeg;base64,")
    strip = Image.open(BytesIO(b64decode(content)))
    assert [colour_at(strip, x, 150) for x in (240, 720)] == [RED, RED]
    assert len(content) < 100_000  # Prefect's UI prints it
    told = artifacts_by_key(run_id, "description")
    assert told[CARD_KEY] == told[POSTERS_KEY] == r"A red fox \| leaps."


@pytest.mark.usefixtures("prefect_server")
async def test_a_rerun_buys_and_makes_nothing(red: FalEmulator, tmp_path: Path) -> None:
    """The videos and the clip are found as they were."""
    first, _ = await compare(red, tmp_path / "videos")
    again, _ = await compare(red, tmp_path / "videos")
    assert red.charged == 2
    assert again.clip == first.clip and again.videos == first.videos


@pytest.mark.usefixtures("prefect_server")
async def test_the_card_tells_what_is_compared(red: FalEmulator, tmp_path: Path) -> None:
    """What each cost, how long it took, where it is; in a column for each model."""
    comparison, _ = await compare(red, tmp_path / "videos")
    left, right = comparison.videos
    left = left.model_copy(update={"realm": "fal", "completed_at": _later(left.submitted_at)})
    outcomes = [comparison.outcomes[0].model_copy(update={"video": left}), comparison.outcomes[1]]
    card = comparison_card(comparison.model_copy(update={"outcomes": outcomes}))
    assert "> A red fox \\| leaps." in card
    rows = {line.split("|")[1].strip(): line for line in card.splitlines() if line[:1] == "|"}
    assert "| about $0.49 | nothing (at fal, about $0.48) |" in rows["Cost"]
    assert rows["Took"].startswith("| Took | 90.5 s | ")
    assert seconds_taken(right) is not None
    assert left.place in rows["File"] and right.place in rows["File"]
    assert "Made by the emulator" in card


def _later(moment: datetime | None) -> datetime:
    assert moment
    return datetime.fromtimestamp(moment.timestamp() + 90.5, moment.tzinfo)


@pytest.mark.usefixtures("prefect_server")
async def test_one_that_fails_does_not_lose_the_others(red: FalEmulator, tmp_path: Path) -> None:
    """The card says why; with one video left there is no clip, and with none an error."""
    red.faults.add(refuse_content(endpoint=Hailuo02ProTextToVideo.endpoint.id, count=None))
    with pytest.raises(BatchError, match="1 of 2 videos failed") as caught:
        await compare(red, tmp_path / "videos")
    comparison, _ = await compare(red, tmp_path / "videos", on_failed="return")
    assert caught.value.summary.videos == comparison.videos
    assert [name_of(each) for each in comparison.failed] == ["hailuo-02-pro"]
    assert (len(comparison.videos), comparison.clip) == (1, None)
    card = comparison_card(comparison)
    assert "ContentPolicyError" in card and "there are not two videos" in card
    red.faults.add(refuse_content(count=None))
    options: dict[str, Any] = {"storage": str(tmp_path), "credentials": red.credentials()}
    with pytest.raises(BatchError, match="2 of 2 videos failed"):
        await compare_models("Another prompt.", **options)


@pytest.mark.usefixtures("prefect_server")
async def test_two_models_are_needed(red: FalEmulator) -> None:
    """The same one twice is one, and nothing is bought."""
    with pytest.raises(ConfigurationError, match="It takes two models"):
        await compare_models("A fox.", ["hailuo-02-pro"] * 2, credentials=red.credentials())
    assert red.charged == 0


@pytest.mark.usefixtures("prefect_server")
def test_is_a_command(red: FalEmulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints where the videos and, last, the clip are; with --json what the flow returned."""
    command = ["A red fox.", "--emulator", red.url, "--output", str(tmp_path / "videos")]
    assert main(command) == 0
    clip = Path(capsys.readouterr().out.splitlines()[-1])
    assert clip.parent == tmp_path / "videos" and clip.name.startswith("side-by-side-a-red-fox")
    assert main([*command, "--json"]) == 0
    comparison = Comparison.model_validate_json(capsys.readouterr().out.splitlines()[-1])
    assert comparison.clip and comparison.clip.path == clip
    assert red.charged == 2


def test_a_form_can_be_made_of_its_parameters() -> None:
    """Models are chosen from a list; every parameter is described."""
    schema = parameter_schema(compare_models.fn).model_dump()
    models = schema["properties"]["models"]
    assert models["items"]["enum"] == text_models()
    assert (models["default"], models["minItems"], schema["required"]) == (BOTH_PRO, 2, ["prompt"])
    assert all(each.get("description") for each in schema["properties"].values())
    checked = compare_models.validate_parameters({"prompt": "A fox.", "models": BOTH_PRO})
    assert checked["models"] == BOTH_PRO
    assert flow_run.id is None  # nothing ran
