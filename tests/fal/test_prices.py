"""The platform API's prices: what models cost today."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from platform_ground import asking
from raw_server import (
    ENDPOINT,
    RawServer,
    Reply,
    answer,
)

from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import (
    MalformedReplyError,
    RequestRefusedError,
)
from prefect_hailuo.models.catalogue import CATALOGUE


async def test_prices_are_those_of_the_catalogue() -> None:
    """What is asked for is told, for each endpoint, exactly."""
    with FalEmulator(clip=b"") as emulator:
        async with asking(emulator) as client:
            prices = await client.prices(list(CATALOGUE))
            with pytest.raises(RequestRefusedError, match="Endpoint not found: fal-ai/none"):
                await client.prices(["fal-ai/none"])
    assert {each.endpoint_id: (each.unit_price, each.unit, each.currency) for each in prices} == {
        name: (price.usd, price.unit, "USD")
        for name, cls in CATALOGUE.items()
        if (price := cls.endpoint.unit_price)
    }


def price(text: str, cursor: str | None = None) -> Reply:
    """A page with one price, its number written so."""
    given = {"endpoint_id": ENDPOINT, "unit_price": "?", "unit": "videos", "currency": "USD"}
    body = {"prices": [given], "next_cursor": cursor, "has_more": cursor is not None}
    return answer(200, json.dumps(body).replace('"?"', text).encode())


async def test_prices_have_the_digits_that_fal_wrote() -> None:
    """A price is a Decimal, without a float's noise, on whichever page it is."""
    written = ["0.49", "0.1", '"0.28"', "1e-3"]
    replies = [price(text, f"c{n}") for n, text in enumerate(written)]
    with RawServer(*replies, price("3")) as server:
        async with asking(server) as client:
            prices = await client.prices([ENDPOINT, "fal-ai/other"])
    assert [str(each.unit_price) for each in prices] == ["0.49", "0.1", "0.28", "0.001", "3"]
    assert parse_qs(urlsplit(server.requests[0].target).query) == {
        "endpoint_id": [ENDPOINT, "fal-ai/other"]
    }


@pytest.mark.parametrize("text", ["NaN", "-1", "null", "true", '"dear"', "1e999"])
async def test_a_price_that_is_none_is_an_error(text: str) -> None:
    """No budget is counted with it."""
    with RawServer(price(text)) as server:
        async with asking(server) as client:
            with pytest.raises(MalformedReplyError, match=r"prices\.0\.unit_price"):
                await client.prices([ENDPOINT])


async def test_prices_of_nothing_are_not_asked_for() -> None:
    """Without an endpoint's name fal would tell those of all."""
    with RawServer() as server:
        async with asking(server) as client:
            assert await client.prices([]) == []
    assert server.connections == 0
