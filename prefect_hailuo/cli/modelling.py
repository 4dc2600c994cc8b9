"""`prefect-hailuo models`."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Column, Table

from prefect_hailuo.cli.asking import JsonOption
from prefect_hailuo.cli.printing import usd
from prefect_hailuo.endpoints import CATALOGUE, Endpoint


def models(*, json: JsonOption = False) -> None:
    """List the models: what they make, what it costs, and where that is known from."""
    endpoints = [input_class.endpoint for input_class in CATALOGUE.values()]
    console = Console()
    if json:
        console.print_json(_as_json(endpoints))
    else:
        console.print(_as_table(endpoints))


def _as_json(endpoints: list[Endpoint]) -> str:
    return json_format.dumps([asdict(endpoint) for endpoint in endpoints], default=str)


def _as_table(endpoints: list[Endpoint]) -> Table:
    model = Column("model", no_wrap=True)
    table = Table(model, "picture", "price a video", "price seen", box=box.SIMPLE)
    for endpoint, variant in ((e, v) for e in endpoints for v in e.variants):
        picture, price = variant.picture, variant.price
        table.add_row(
            endpoint.name if variant is endpoint.default else "",
            f"{picture.height}p, {picture.duration_seconds} s",
            usd(variant.price_usd) if price else "not known",
            price.seen if price else "",
        )
    return table
