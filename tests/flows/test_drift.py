"""What fal changes is seen, and what matters for buying is told apart."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from prefect_hailuo import FalCredentials, Hailuo02ProTextToVideo
from prefect_hailuo.emulator import FalEmulator, edit, garble, refuse
from prefect_hailuo.emulator.platform import document
from prefect_hailuo.errors import RequestRefusedError, UnknownEndpointError
from prefect_hailuo.fal.platform import Metadata, ModelDocument
from prefect_hailuo.flows.drift import (
    Difference,
    DriftReport,
    awatch_schemas,
    compare,
    fields_of,
    watch_schemas,
)
from prefect_hailuo.models.catalogue import CATALOGUE

MODEL = "hailuo-02-pro"
ENDPOINT = Hailuo02ProTextToVideo.endpoint

Change = Callable[[dict[str, Any]], object]


def fields(schemas: dict[str, Any]) -> dict[str, Any]:
    """The input's fields, in a document's schemas."""
    found: dict[str, Any] = schemas[ENDPOINT.input_schema]["properties"]
    return found


def after(change: Change) -> list[Difference]:
    """What is seen once fal has changed its schemas so."""
    changed = deepcopy(document(Hailuo02ProTextToVideo, "https://queue.fal.run"))
    change(changed["components"]["schemas"])
    described = ModelDocument(endpoint_id=ENDPOINT.id, openapi=changed)
    return compare(Hailuo02ProTextToVideo, described)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda s: fields(s).pop("prompt_optimizer"), "input.prompt_optimizer"),
        (lambda s: fields(s)["prompt"].update(maxLength=1500), "input.prompt"),
        (lambda s: fields(s)["prompt"].update(type="array"), "input.prompt"),
        (lambda s: fields(s)["prompt"].update(enum=["A fox."]), "input.prompt"),
        (
            lambda s: (
                fields(s).update(style={"type": "string"}),
                s[ENDPOINT.input_schema]["required"].append("style"),
            ),
            "input.style",
        ),
        (lambda s: s[ENDPOINT.output_schema].update(properties={}), "output.video"),
        (lambda s: s[ENDPOINT.output_schema].update(required=[]), "output.video"),
        (lambda s: s["File"]["properties"].pop("url"), "output.video.url"),
    ],
    ids=[
        *("a removed field", "a tighter limit", "another type", "a new enumeration"),
        *("a new required field", "no video", "a video at times", "a video without address"),
    ],
)
def test_what_touches_buying_matters(change: Change, place: str) -> None:
    """A request would be refused, or its result not understood."""
    [difference] = after(change)
    assert (difference.place, difference.matters) == (place, True)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda s: fields(s).update(seed={"type": "integer"}), "input.seed"),
        (lambda s: fields(s)["prompt"].update(maxLength=4000), "input.prompt"),
        (lambda s: fields(s)["prompt_optimizer"].update(default=False), "input.prompt_optimizer"),
        (
            lambda s: s[ENDPOINT.input_schema]["required"].append("prompt_optimizer"),
            "input.prompt_optimizer",
        ),
        (
            lambda s: s[ENDPOINT.output_schema]["properties"].update(seed={"type": "integer"}),
            "output.seed",
        ),
        (lambda s: s["File"]["properties"].pop("file_size"), "output.video.file_size"),
    ],
    ids=[
        *("a new field", "a wider limit", "another default", "a field we always send"),
        *("a new output", "a size that is not told"),
    ],
)
def test_what_does_not_touch_it_is_told_all_the_same(change: Change, place: str) -> None:
    """As what does not matter."""
    [difference] = after(change)
    assert (difference.place, difference.matters) == (place, False)


def test_another_way_to_write_the_same_is_no_drift() -> None:
    """References, `allOf`, and unions with null say what plain schemas say."""
    root = {
        "$defs": {"Text": {"type": "string", "maxLength": 9}},
        "properties": {
            "a": {"allOf": [{"$ref": "#/$defs/Text"}], "description": "A text."},
            "b": {"anyOf": [{"$ref": "#/$defs/Text"}, {"type": "null"}], "default": None},
            "c": {"type": "string", "maxLength": 9, "title": "C"},
        },
    }
    first, second, third = fields_of(root, root).values()
    assert first == second == third


def test_what_fal_names_in_some_files_alone_is_no_drift() -> None:
    """A watch that always finds something is looked at by nobody."""
    data = {"type": "string", "format": "binary"}
    assert after(lambda schemas: schemas["File"]["properties"].update(file_data=data)) == []


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    """However fal writes it."""
    root = {
        "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}},
        "properties": {"a": {"$ref": "#/$defs/A"}},
    }
    assert fields_of(root, root)["a"].types == frozenset()


def test_a_model_that_is_on_its_way_out_is_told() -> None:
    """It is still sold; a model that is gone is not."""
    openapi = document(Hailuo02ProTextToVideo, "https://queue.fal.run")
    fading = ModelDocument(
        endpoint_id=ENDPOINT.id, metadata=Metadata(status="deprecated"), openapi=openapi
    )
    found = [*compare(Hailuo02ProTextToVideo, fading), *compare(Hailuo02ProTextToVideo, None)]
    assert [(each.theirs, each.matters) for each in found] == [
        ("deprecated", False),
        ("fal has it no more", True),
    ]


def test_nothing_has_drifted(credentials: FalCredentials) -> None:
    """The whole catalogue is as the emulator serves it, prices too."""
    report = watch_schemas(credentials)
    assert not report.differences
    assert not report.notes
    assert set(report.checked) == {each.endpoint.name for each in CATALOGUE.values()}
    assert report.prices_checked


def test_a_price_that_has_changed_matters(tiny: FalEmulator) -> None:
    """Budgets count by the catalogue."""

    def dearer(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "prices": [{**each, "unit_price": 0.1} for each in body["prices"]]}

    tiny.faults.add(edit("pricing", dearer, endpoint=ENDPOINT.id))
    [difference] = watch_schemas(tiny.credentials(), [MODEL]).differences
    assert (difference.place, difference.matters) == ("price", True)
    assert difference.ours == "$0.48 a video"
    assert "$0.6" in difference.theirs


def test_without_a_key_prices_are_not_checked(tiny: FalEmulator) -> None:
    """And it says so; the schemas are compared all the same, and no key is sent for them."""
    addresses = tiny.credentials().model_dump(exclude={"api_key"})
    report = watch_schemas(FalCredentials(**addresses), [MODEL])
    assert report.checked == (MODEL,)
    assert not report.prices_checked
    assert "Prices were not checked" in report.to_markdown()


def test_one_that_cannot_be_read_does_not_hide_the_others(tiny: FalEmulator) -> None:
    """It is named, with what fal said."""
    tiny.faults.add(garble("models", {"models": "none"}, endpoint=ENDPOINT.id, count=None))
    report = watch_schemas(tiny.credentials())
    assert MODEL not in report.checked
    assert len(report.checked) == len(CATALOGUE) - 1
    assert [MODEL in note for note in report.notes] == [True]


def test_a_model_that_is_gone_is_drift(tiny: FalEmulator) -> None:
    """fal answers 404."""
    tiny.faults.add(refuse("models", 404, endpoint=ENDPOINT.id))
    [difference] = watch_schemas(tiny.credentials(), [MODEL]).differences
    assert (difference.place, difference.matters) == ("model", True)


async def test_where_nothing_can_be_read_it_raises(tiny: FalEmulator) -> None:
    """A watch that saw nothing is none."""
    tiny.faults.add(refuse("models", 400, count=None))
    with pytest.raises(RequestRefusedError):
        await awatch_schemas(tiny.credentials())
    with pytest.raises(UnknownEndpointError):
        await awatch_schemas(tiny.credentials(), ["sora"])


def test_the_report_shows_what_matters_first() -> None:
    """In Markdown, whatever fal writes."""
    grave, slight = (
        Difference(model="m", place="input.a", ours="x|y", theirs=str(grave), matters=grave)
        for grave in (True, False)
    )
    shown = DriftReport(realm="fal", checked=("m",), differences=(grave, slight)).to_markdown()
    assert shown.index("Matters for buying") < shown.index("Does not matter")
    assert "x\\|y" in shown
    assert shown.startswith("2 differences, 1 of them matter; 1 model was compared.")
