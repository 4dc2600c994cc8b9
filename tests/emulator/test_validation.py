"""Bad input is accepted, completes, and fails in the result, as at fal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field
from roads import generate

from prefect_hailuo.emulator import FalEmulator, ManualClock
from prefect_hailuo.errors import InputRefusedError
from prefect_hailuo.models.catalogue import CATALOGUE, Endpoint, Hailuo02ProTextToVideo, VideoInput

from .asking import HAILUO_23, Asking


@pytest.mark.parametrize(
    ("body", "field", "kind"),
    [
        ({}, "prompt", "missing"),
        ({"prompt": ""}, "prompt", "string_too_short"),
        ({"prompt": "x" * 2001}, "prompt", "string_too_long"),
        ({"prompt": 7}, "prompt", "string_type"),
        ({"prompt": "x", "prompt_optimizer": "maybe"}, "prompt_optimizer", "bool_parsing"),
        ({"prompt": "\ud83d"}, "prompt", "string_unicode"),
    ],
)
def test_bad_input_fails_in_the_result(
    body: dict[str, Any], field: str, kind: str, fal: Asking, emulator: FalEmulator
) -> None:
    """Accepted with 200; completed; the result is 422 with fal's list; nothing is charged."""
    content = json.dumps(body)
    accepted = fal.http.post(f"/{HAILUO_23}", content=content)
    request_id = accepted.json()["request_id"]
    status, result = fal.status(request_id), fal.result(request_id)
    (problem,) = result.json()["detail"]
    assert (accepted.status_code, status.status_code, result.status_code) == (200, 200, 422)
    assert (problem["loc"], problem["type"]) == (["body", field], kind)
    assert {"msg", "input"} <= set(problem)
    assert status.json()["error"] == "Invalid status code: 422"
    assert (emulator.charged, result.headers["x-fal-billable-units"]) == (0, "0")


def test_the_context_of_a_problem_is_told(fal: Asking) -> None:
    """Limits are named in `ctx`, and 422 is marked as not worth repeating."""
    result = fal.result(fal.buy("x" * 2001))
    assert result.json()["detail"][0]["ctx"] == {"max_length": 2000}
    assert result.headers["x-fal-retryable"] == "false"


def test_unknown_keys_are_passed_over(
    fal: Asking, clock: ManualClock, emulator: FalEmulator
) -> None:
    """The lenient reading, which costs money: a seed is ignored and the video billed."""
    reply = fal.http.post(f"/{HAILUO_23}", json={"prompt": "x", "seed": 7})
    clock.advance(100)
    assert fal.result(reply.json()["request_id"]).status_code == 200
    assert emulator.charged == 1


def test_a_blank_prompt_is_billed(fal: Asking, clock: ManualClock, emulator: FalEmulator) -> None:
    """The package refuses a blank prompt before it is sent; fal would take the money."""
    request_id = fal.buy("  \n ")
    clock.advance(100)
    assert fal.result(request_id).status_code == 200
    assert emulator.charged == 1


class Rich(VideoInput):
    """An endpoint with optional fields of every kind, as fal's newer ones have them."""

    endpoint: ClassVar[Endpoint] = replace(
        Hailuo02ProTextToVideo.endpoint, id="fal-ai/minimax/rich/text-to-video", name="rich"
    )

    seed: Annotated[int, Field(ge=0, le=2**31)] | None = None
    strength: float | None = Field(default=None, gt=0, le=1)
    fixed_lens: bool | None = None
    reference_urls: list[str] | None = Field(default=None, max_length=2)
    tags: list[str] = Field(default_factory=list)


del CATALOGUE[Rich.endpoint.id]


@pytest.fixture
def rich() -> Iterator[str]:
    """The endpoint, in the catalogue for one test."""
    CATALOGUE[Rich.endpoint.id] = Rich
    yield Rich.endpoint.id
    del CATALOGUE[Rich.endpoint.id]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"seed": 7, "fixed_lens": False},
        {"strength": 0.5, "reference_urls": ["https://example.com/a.png"], "tags": ["fox"]},
    ],
)
@pytest.mark.usefixtures("rich")
def test_an_endpoint_may_have_optional_fields_of_any_type(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """A number, a flag and a list are sent as they are given, taken, and the video is made."""
    with FalEmulator(speed=1000, clip="plain") as emulator:
        given = Rich(prompt="A red fox.", **settings)
        video = generate(emulator, tmp_path, given)
        assert video.is_there()
        assert emulator.submissions[0].body == given.body()
        assert settings.items() <= given.body().items()


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"seed": "seven"}, "int_parsing"),
        ({"seed": -1}, "greater_than_equal"),
        ({"strength": 0}, "greater_than"),
        ({"fixed_lens": "maybe"}, "bool_parsing"),
        ({"reference_urls": ["a", "b", "c"]}, "too_long"),
        ({"reference_urls": [7]}, "string_type"),
        ({"tags": None}, "list_type"),
    ],
)
def test_optional_fields_are_judged_by_their_type(
    settings: dict[str, Any], kind: str, rich: str, fal: Asking
) -> None:
    """What the schema of such a field does not allow is a 422 that names the field."""
    reply = fal.http.post(f"/{rich}", json={"prompt": "x", **settings})
    (problem,) = fal.result(reply.json()["request_id"]).json()["detail"]
    assert (problem["loc"][:2], problem["type"]) == (["body", *settings], kind)


def test_a_refused_setting_is_told_as_fals_refusal(rich: str, tmp_path: Path) -> None:
    """Where the package takes what fal refuses, the run ends with fal's complaint."""
    with FalEmulator(clip=b"", speed=1000) as emulator:
        given = Rich(prompt="x").model_copy(update={"seed": -1})
        with pytest.raises(InputRefusedError, match="seed"):
            generate(emulator, tmp_path, given)
        assert emulator.charged == 0
