"""Models, prices and OpenAPI documents."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.models.catalogue import CATALOGUE

from .asking import HAILUO_02, HAILUO_23, Asking


def platform(fal: Asking, path: str, **query: Any) -> Any:
    """GET from the platform API."""
    return fal.http.get(f"/platform/v1{path}", params=query).json()


def test_models(fal: Asking) -> None:
    """All of the catalogue, or those that are named; with their documents if asked for."""
    everything = platform(fal, "/models")
    one = platform(fal, "/models", endpoint_id=HAILUO_23, expand="openapi-3.0")["models"]
    assert [each["endpoint_id"] for each in everything["models"]] == list(CATALOGUE)
    assert (everything["next_cursor"], everything["has_more"]) == (None, False)
    assert one[0]["metadata"]["status"] == "active"
    assert one[0]["openapi"]["openapi"] == "3.0.4"


def test_prices(fal: Asking) -> None:
    """Unit and price as the catalogue has them."""
    (price,) = platform(fal, "/models/pricing", endpoint_id=HAILUO_02)["prices"]
    assert price == {
        "endpoint_id": HAILUO_02,
        "unit_price": 0.08,
        "unit": "second",
        "currency": "USD",
    }


def test_unknown_models_are_not_found(fal: Asking) -> None:
    """404 in the platform's form."""
    reply = platform(fal, "/models/pricing", endpoint_id="no/such/model")
    assert reply["error"]["type"] == "not_found"


@pytest.mark.parametrize("endpoint", CATALOGUE)
def test_the_document_of_a_model(endpoint: str, emulator: FalEmulator) -> None:
    """fal's schema names, order and limits; paths in the full-path form; no key needed."""
    url = f"{emulator.url}/api/openapi/queue/openapi.json"
    document = httpx.get(url, params={"endpoint_id": endpoint}).json()
    facts = CATALOGUE[endpoint].endpoint
    schema = document["components"]["schemas"][facts.input_schema]
    assert schema["x-fal-order-properties"] == list(CATALOGUE[endpoint].model_fields)
    fields = CATALOGUE[endpoint].model_fields
    assert schema["required"] == [name for name, each in fields.items() if each.is_required()]
    named = {name for name in ("duration", "resolution") if name in fields}
    assert named <= facts.default.settings.keys()
    for name, default in facts.default.settings.items():
        choice = schema["properties"][name]
        assert choice["default"] == default
        if facts.default.lengths and name == "duration":
            assert (choice["type"], choice["minimum"], choice["maximum"]) == ("integer", 5, 15)
            continue
        assert choice["type"] == "string"
        assert {*choice["enum"]} == {each.settings[name] for each in facts.variants}
    most = 50_000 if facts.id.startswith("minimax/") else 2000
    assert schema["properties"]["prompt"]["maxLength"] == most
    assert facts.output_schema in document["components"]["schemas"]
    assert f"/{endpoint}/requests/{{request_id}}/status" in document["paths"]


def test_references_in_the_document_lead_somewhere(emulator: FalEmulator) -> None:
    """Every $ref names a schema that is there."""
    url = f"{emulator.url}/api/openapi/queue/openapi.json"
    text = httpx.get(url, params={"endpoint_id": HAILUO_23})
    names = {part.split('"')[0] for part in text.text.split("#/components/schemas/")[1:]}
    assert names <= set(text.json()["components"]["schemas"])
