"""The flow that makes a clip of scenes, as a flow and as a command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.utilities.callables import parameter_schema
from test_compare_models import artifacts_by_key
from test_joining import RED, packets, shot

from flows.storyboard import main, storyboard
from prefect_hailuo.emulator import FalEmulator, refuse_content
from prefect_hailuo.errors import BatchError, Billed, ConfigurationError
from prefect_hailuo.flows.model_names import text_models
from prefect_hailuo.flows.scenes import (
    CARD_KEY,
    SCENES_KEY,
    Scene,
    Script,
    Storyboard,
    storyboard_card,
)


@pytest.fixture
def red(tmp_path: Path) -> Iterator[FalEmulator]:
    """An emulator whose every video is a quarter of a second of red."""
    content = shot(tmp_path / "red.mp4", RED, size=(400, 304), frames=6).read_bytes()
    with FalEmulator(speed=1000, clip=content) as emulator:
        yield emulator


async def film(
    emulator: FalEmulator, scenes: list[str | Scene], storage: Path, **options: Any
) -> tuple[Storyboard, str]:
    """A storyboard, and its flow run's id."""
    seen: list[str] = []
    watched = storyboard.with_options(
        on_completion=[lambda flow, run, state: seen.append(str(run.id))],
    )
    options |= {"storage": str(storage), "credentials": emulator.credentials()}
    return await watched(scenes, **options), seen[0]


@pytest.mark.usefixtures("prefect_server")
async def test_scenes_become_one_clip(red: FalEmulator, tmp_path: Path) -> None:
    """In their order, their pictures copied as they are; the card and the scenes are in the UI."""
    scenes: list[str | Scene] = ["A fox.", Scene(prompt="An owl.", take=2), "A hare."]
    board, run_id = await film(red, scenes, tmp_path / "videos", title="Three *animals*")
    assert [(each.prompt, each.take) for each in board.videos] == [
        ("A fox.", "0"),
        ("An owl.", "2"),
        ("A hare.", "0"),
    ]
    assert board.clip.path and board.clip.path.name.startswith("three-animals-")
    assert (board.clip.duration_seconds, board.clip.reencoded) == (0.75, None)
    parts = [packets(each.path) for each in board.videos if each.path]
    assert packets(board.clip.path) == [each for part in parts for each in part]
    shown = artifacts_by_key(run_id)
    assert shown[CARD_KEY] == storyboard_card(board)
    assert shown[SCENES_KEY].startswith("data:image/jpeg;base64,")
    assert "| 2 | An owl. | hailuo-2.3-pro | about $0.49 |" in shown[CARD_KEY]
    assert "nothing (at fal, about $1.47)" in shown[CARD_KEY]
    told = artifacts_by_key(run_id, "description")
    assert told[CARD_KEY] == told[SCENES_KEY] == r"Three \*animals\*"


@pytest.mark.usefixtures("prefect_server")
async def test_a_failed_scene_is_named_and_a_rerun_goes_on(
    red: FalEmulator, tmp_path: Path
) -> None:
    """What is paid for stays, there is no clip, and only what failed is bought by the rerun."""
    scenes: list[str | Scene] = ["A fox.", "A forbidden owl.", "A hare."]
    red.faults.add(refuse_content(prompt="forbidden"))
    with pytest.raises(BatchError, match=r"Scene 2 \('A forbidden owl\.'\) failed by Cont") as info:
        await film(red, scenes, tmp_path / "videos")
    assert [each.input.prompt for each in info.value.outcomes] == ["A fox.", "A hare."]
    assert [each.index for each in info.value.outcomes] == [0, 2]
    assert info.value.billed is Billed.NO
    red.faults.add(refuse_content(prompt="forbidden"))
    state: State[Any] = await storyboard(
        ["A fox.", "Another forbidden owl."],
        storage=str(tmp_path / "videos"),
        credentials=red.credentials(),
        return_state=True,
    )
    assert (state.type.value, state.message) == ("FAILED", "1 of 2 done, 1 failed")
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 2
    board, _ = await film(red, scenes, tmp_path / "videos")
    assert (len(board.videos), red.charged) == (3, 3)
    again, _ = await film(red, scenes, tmp_path / "videos")
    assert (again, red.charged) == (board, 3)


@pytest.mark.parametrize(
    ("scenes", "match"),
    [
        ([], "no scenes"),
        (["A fox.", " "], r"Scene 2 \(''\): prompt: .*blank"),
        ([Scene(prompt="A fox.", continues=True)], "no scene before the first"),
        ([Scene(prompt="A fox.", duration=10)], r"Scene 1 .*hailuo-2.3-pro always makes 6 s"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_bought(
    scenes: list[str | Scene], match: str
) -> None:
    """By the scene that it is about."""
    with pytest.raises(ConfigurationError, match=match):
        Script(scenes)


def test_a_standard_models_duration_is_chosen() -> None:
    """A pro model's is what it is."""
    standard = Scene(prompt="A fox.", model="hailuo-02-standard", duration=10)
    number = Scene.model_validate({"prompt": "An owl.", "duration": 6})
    script = Script([standard, number])
    assert script.given(0).body()["duration"] == "10"
    assert "duration" not in script.given(1).body()


@pytest.mark.usefixtures("prefect_server")
def test_is_a_command(red: FalEmulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints where the clip is, last; scenes come as words or as a file."""
    options = ["--emulator", red.url, "--output", str(tmp_path / "videos"), "--title", "Two"]
    assert main(["A fox.", "An owl.", *options]) == 0
    clip = Path(capsys.readouterr().out.splitlines()[-1])
    assert clip.parent == tmp_path / "videos" and clip.name.startswith("two-")
    file = tmp_path / "scenes.json"
    file.write_text(json.dumps(["A fox.", {"prompt": "An owl."}]))
    assert main(["--file", str(file), "--json", *options]) == 0
    board = Storyboard.model_validate_json(capsys.readouterr().out.splitlines()[-1])
    assert (board.clip.path, red.charged) == (clip, 2)


def test_a_wrong_call_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a server is started, and without a traceback."""
    (tmp_path / "bad.json").write_text('[{"prompt": "A fox.", "continue": true}]')
    for call, why in [
        ([], "either as prompts or as a file"),
        (["--file", str(tmp_path / "bad.json")], "cannot be read"),
        (["--file", str(tmp_path / "none.json")], "cannot be read"),
        (["x" * 2001], "2000"),
    ]:
        assert main([*call, "--emulator"]) == 1
        error = capsys.readouterr().err
        assert why in error and "Traceback" not in error


def test_a_form_can_be_made_of_its_parameters() -> None:
    """Models are chosen from a list, and every parameter and field is described."""
    schema = parameter_schema(storyboard.fn).model_dump()
    assert schema["properties"]["model"]["enum"] == text_models()
    assert all(each.get("description") for each in schema["properties"].values())
    assert schema["definitions"]["Scene"]["description"] == "A scene of a storyboard."
    fields = schema["definitions"]["Scene"]["properties"]
    assert all(each.get("description") for each in fields.values())
    assert schema["required"] == ["scenes"]
    given = {"scenes": ["A fox.", {"prompt": "It runs.", "continues": True}]}
    first, second = storyboard.validate_parameters(given)["scenes"]
    assert (first, second.continues) == ("A fox.", True)
