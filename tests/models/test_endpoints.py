"""The endpoints: what they take, what they are known to be, and how another one is added."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from pydantic import Field, ValidationError

from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.models.catalogue import (
    CATALOGUE,
    PICTURE_1080P,
    Endpoint,
    Hailuo02ProTextToVideo,
    Hailuo23ProTextToVideo,
    Price,
    Variant,
    VideoInput,
    find_input_class,
)
from prefect_hailuo.models.inputs import OptimizedInput

PAGES = Path(__file__).parents[1] / "emulator" / "pages"
"""fal's pages of the two endpoints, word for word."""

PAGE: dict[type[OptimizedInput], str] = {
    Hailuo23ProTextToVideo: "hailuo-2.3-pro-text-to-video.md",
    Hailuo02ProTextToVideo: "hailuo-02-pro-text-to-video.md",
}

each_of_all = pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.__name__)
each_input = pytest.mark.parametrize("kind", list(PAGE))


def page(kind: type[OptimizedInput]) -> str:
    """fal's page of an endpoint."""
    return (PAGES / PAGE[kind]).read_text()


def full_example(kind: type[OptimizedInput]) -> dict[str, Any]:
    """The JSON of a page's "Full Example"."""
    found = re.search(r"\*\*Full Example\*\*:\n\n```json\n(.*?)```", page(kind), re.DOTALL)
    assert found
    return cast("dict[str, Any]", json.loads(found[1]))


@each_input
def test_the_body_is_that_of_fals_page(kind: type[OptimizedInput]) -> None:
    """An input made of the page's full example is sent as that very JSON."""
    example = full_example(kind)
    assert kind(**example).body() == example
    assert kind(prompt=example["prompt"]).body() == example


@each_input
def test_the_fields_are_those_of_fals_page(kind: type[OptimizedInput]) -> None:
    """What the page's schema names, and nothing else; what it requires is required."""
    fields = re.findall(r"^- \*\*`(\w+)`\*\* \(`(\w+)`, _(\w+)_\)", page(kind), re.MULTILINE)
    asked = {name: needed == "required" for name, _, needed in fields if name != "video"}
    assert {name: each.is_required() for name, each in kind.model_fields.items()} == asked
    assert kind.model_fields["prompt_optimizer"].default is True


@each_input
def test_the_facts_are_those_of_fals_page(kind: type[OptimizedInput]) -> None:
    """Id, title and example are the page's own."""
    facts = kind.endpoint
    assert f"- **Model ID**: `{facts.id}`" in page(kind)
    assert page(kind).startswith(f"# {facts.title}\n")
    assert facts.page in page(kind)
    assert full_example(kind)["prompt"].startswith(facts.example["prompt"])
    assert kind(**facts.example)


@pytest.mark.parametrize("length", [1, 2, 1999, 2000])
@each_input
def test_prompts_have_from_1_to_2000_characters(kind: type[OptimizedInput], length: int) -> None:
    """Characters are counted, not bytes: a pictograph is one."""
    for character in ("x", "\N{FOX FACE}"):
        assert kind(prompt=character * length).prompt == character * length


WRONG = {
    "no prompt": ({}, "Field required"),
    "null": ({"prompt": None}, "valid string"),
    "a number": ({"prompt": 7}, "valid string"),
    "empty": ({"prompt": ""}, "at least 1 character"),
    "blank": ({"prompt": " \n\t\u2003"}, "the prompt is blank; describe the video to make"),
    "too long": ({"prompt": "x" * 2001}, "at most 2000 characters"),
    "unknown field": ({"prompt": "x", "seed": 7}, "Extra inputs are not permitted"),
    "misspelt field": ({"prompt": "x", "prompt_optimiser": False}, "not permitted"),
    "no switch": ({"prompt": "x", "prompt_optimizer": "maybe"}, "valid boolean"),
    "null switch": ({"prompt": "x", "prompt_optimizer": None}, "valid boolean"),
    "half a character": ({"prompt": "\ud83e"}, "valid string|surrogates"),
}


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=list(WRONG))
@each_input
def test_what_is_wrong_is_refused_before_anything_is_spent(
    kind: type[OptimizedInput], given: dict[str, Any], said: str
) -> None:
    """Among it what fal would take and charge for: blanks, and fields that it ignores."""
    with pytest.raises(ValidationError, match=said):
        kind(**given)


@each_input
def test_an_input_is_a_value(kind: type[OptimizedInput]) -> None:
    """Inputs are equal by their contents, and nobody changes one that is on its way."""
    one, same = kind(prompt="A fox."), kind(prompt="A fox.", prompt_optimizer=True)
    assert one == same
    assert len({one, same}) == 1
    assert kind.model_validate_json(one.model_dump_json()) == one
    with pytest.raises(ValidationError, match="frozen"):
        one.prompt = "A bear."


def test_two_models_take_different_inputs() -> None:
    """The same words for two models are two inputs."""
    inputs: list[VideoInput] = [kind(prompt="A fox.") for kind in PAGE]
    assert inputs[0] != inputs[1]


@each_of_all
def test_an_input_class_is_found_by_either_name(kind: type[VideoInput]) -> None:
    """By fal's id, and by the short name."""
    assert find_input_class(kind.endpoint.id) is kind
    assert find_input_class(kind.endpoint.name) is kind


@pytest.mark.parametrize("name", ["hailuo", "", "fal-ai/minimax", "HAILUO-2.3-PRO"])
def test_whoever_asks_for_no_endpoint_is_told_which_there_are(name: str) -> None:
    """The error is the list to choose from."""
    with pytest.raises(
        ValueError, match=r"There is no endpoint .*hailuo-2\.3-pro, .*hailuo-02-pro"
    ):
        find_input_class(name)


@pytest.fixture
def another() -> Iterator[type[VideoInput]]:
    """An endpoint that is declared as the documentation says: one class."""

    class AnotherTextToVideo(VideoInput):
        endpoint: ClassVar[Endpoint] = Endpoint(
            id="acme/movies/pro/text-to-video",
            name="acme-pro",
            title="ACME Movies",
            variants=(
                Variant(PICTURE_1080P, Price(Decimal("0.10"), "second", "a test", "2026-08")),
            ),
            expected_seconds=5,
            input_schema="AcmeInput",
            output_schema="AcmeOutput",
            example={"prompt": "A coyote runs."},
        )
        seconds: int = Field(default=6, ge=6, le=10)

    yield AnotherTextToVideo
    del CATALOGUE[AnotherTextToVideo.endpoint.id]


def test_a_declared_endpoint_is_in_the_catalogue(another: type[VideoInput]) -> None:
    """The declaration is all that it takes; a subclass without facts of its own adds nothing."""
    assert find_input_class("acme-pro") is another
    assert another(prompt="A coyote runs.").price_usd == Decimal("0.60")
    count = len(CATALOGUE)

    class Stricter(another):  # type: ignore[misc, valid-type]
        pass

    assert len(CATALOGUE) == count
    assert find_input_class("acme-pro") is another
    assert Stricter.endpoint is another.endpoint


async def test_a_declared_endpoint_is_served_by_the_emulator(another: type[VideoInput]) -> None:
    """It is made, charged at its price, and its own rules are kept."""
    facts = another.endpoint
    with FalEmulator(speed=1000, clip=b"video") as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            ticket = await client.submit(facts.id, another(**facts.example).body())
            refused = await client.submit(facts.id, {"prompt": "A coyote runs.", "seconds": 99})
            for each in (ticket, refused):
                assert [status async for status in client.stream(each)]
            output = await client.result(ticket)
            with pytest.raises(Exception, match=r"body\.seconds: .*less than or equal to 10"):
                await client.result(refused)
        assert ticket.status_url and "/acme/movies/requests/" in ticket.status_url
        assert output.video.url.startswith(emulator.url)
        assert emulator.charged_usd == Decimal("0.60")
