"""Scenes that go on from the last picture of the scene before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from picture_ground import Shot
from test_joining import RED, shot
from test_storyboard import film

from prefect_hailuo.emulator import FalEmulator, refuse_content
from prefect_hailuo.errors import BatchError, Billed, ConfigurationError
from prefect_hailuo.flows.model_names import text_models
from prefect_hailuo.flows.plan import Plan, make_plan
from prefect_hailuo.flows.scenes import Scene, Script, Shooting
from prefect_hailuo.media.frames import last_picture
from prefect_hailuo.models.catalogue import CATALOGUE
from prefect_hailuo.models.image import data_uri, identity_of

MODEL = Shot.endpoint.name
PROMPTS = ["A fox.", "It runs.", "An owl.", "It lands.", "It sleeps."]

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.parametrize("model", text_models())
def test_every_text_model_can_go_on(model: str) -> None:
    """By its own endpoint that makes videos of pictures, and none goes on without a picture."""
    script = Script(["A fox.", Scene(prompt="It runs.", continues=True)], model=model)
    assert script.given(0).endpoint.name == model
    assert script.expected(1).input.endpoint.name == f"{model}-image"
    with pytest.raises(
        ConfigurationError, match=r"Scene 2 \('It runs\.'\): .*(image_url|no picture)"
    ):
        script.given(1)


def test_a_model_of_pictures_needs_one() -> None:
    """A fast model has no endpoint for a prompt alone, and the error says so."""
    fast = "hailuo-2.3-fast-pro-image"
    with pytest.raises(ConfigurationError, match=r"Scene 1 .* has no text-to-video endpoint"):
        Script([Scene(prompt="A fox.", model=fast)])
    script = Script(["A fox.", Scene(prompt="It runs.", continues=True, model=fast)])
    assert script.expected(1).input.endpoint.name == fast


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> list[str | Scene]:
    """Two that stand alone, and three that go on, by a model that makes videos of pictures."""
    monkeypatch.setitem(CATALOGUE, Shot.endpoint.id, Shot)
    continuing = {"continues": True, "model": MODEL}
    return [
        each if each[0] == "A" else Scene.model_validate({"prompt": each, **continuing})
        for each in PROMPTS
    ]


@pytest.fixture
def red(tmp_path: Path) -> Iterator[FalEmulator]:
    """An emulator whose every video is a quarter of a second of red."""
    content = shot(tmp_path / "red.mp4", RED, size=(400, 304), frames=6).read_bytes()
    with FalEmulator(speed=1000, clip=content) as emulator:
        yield emulator


async def test_a_scene_goes_on_from_the_last_picture(
    red: FalEmulator, tmp_path: Path, scenes: list[str | Scene]
) -> None:
    """It is made of exactly that picture, after the scene before; and so is the next of it."""
    board, _ = await film(red, scenes, tmp_path / "videos")
    assert [each.prompt for each in board.videos] == PROMPTS
    sent = {each.body["prompt"]: each.body.get("image_url") for each in red.submissions}
    order = list(sent)
    assert order.index("A fox.") < order.index("It runs.")
    assert order.index("An owl.") < order.index("It lands.") < order.index("It sleeps.")
    assert board.videos[0].path
    picture = last_picture(board.videos[0].path)
    (kept,) = (tmp_path / "videos").glob("a-fox-*-last.png")
    assert kept.read_bytes() == picture
    assert sent["A fox."] is None
    assert identity_of(str(sent["It runs."])) == identity_of(data_uri(picture, "image/png"))


async def test_a_rerun_buys_nothing(
    red: FalEmulator, tmp_path: Path, scenes: list[str | Scene]
) -> None:
    """The pictures are the same bytes, so the scenes that go on from them are found, too."""
    board, _ = await film(red, scenes, tmp_path / "videos")
    for picture in (tmp_path / "videos").glob("*-last.png"):
        picture.unlink()  # they are made anew
    again, _ = await film(red, scenes, tmp_path / "videos")
    assert (again.videos, again.clip.sha256, red.charged) == (board.videos, board.clip.sha256, 5)


async def test_a_failure_holds_up_only_what_goes_on_from_it(
    red: FalEmulator, tmp_path: Path, scenes: list[str | Scene]
) -> None:
    """The error names the scene that failed and those that were not begun; a rerun goes on."""
    red.faults.add(refuse_content(prompt="lands"))
    with pytest.raises(BatchError, match=r"Scene 4 \('It lands\.'\) failed by Content") as info:
        await film(red, scenes, tmp_path / "videos")
    assert "not begun, for they go on from one that failed: 5" in info.value.message
    assert [each.index for each in info.value.outcomes] == [0, 1, 2]
    assert (info.value.billed, red.charged) == (Billed.NO, 3)
    board, _ = await film(red, scenes, tmp_path / "videos")
    assert (len(board.videos), red.charged) == (5, 5)


async def planned(shooting: Shooting, emulator: FalEmulator) -> Plan:
    """What the rest of a storyboard would cost."""
    return await make_plan(shooting.rest(), credentials=emulator.credentials())


async def test_what_the_rest_costs_is_known_before(
    red: FalEmulator, tmp_path: Path, scenes: list[str | Scene]
) -> None:
    """Scenes count whose first picture is not there yet; those that are stored do not."""
    options: dict[str, Any] = {"storage": str(tmp_path), "credentials": red.credentials()}
    shooting = Shooting(Script(scenes), options)
    await shooting.find()
    assert (await planned(shooting, red)).to_buy == 5
    await film(red, scenes[:2], tmp_path)
    later = Shooting(Script(scenes), options)
    await later.find()
    plan = await planned(later, red)
    assert (plan.to_buy, sorted(later.outcomes)) == (3, [0, 1])
    assert red.charged == 2
