"""`prefect-hailuo models`: what each model makes, and what it costs."""

from __future__ import annotations

from dataclasses import asdict

from prefect_hailuo.cli.output import JsonOption, console, say_json, table, usd
from prefect_hailuo.models.catalogue import CATALOGUE, Endpoint


def models(*, json: JsonOption = False) -> None:
    """List the models: what they make, what it costs, and where that is known from."""
    endpoints = [input_class.endpoint for input_class in CATALOGUE.values()]
    if json:
        say_json([asdict(endpoint) for endpoint in endpoints])
    else:
        _print(endpoints)


def _print(endpoints: list[Endpoint]) -> None:
    rows = table()
    rows.add_column("model", no_wrap=True)
    for title in ("picture", "price a video", "price seen"):
        rows.add_column(title)
    for endpoint, variant in ((e, v) for e in endpoints for v in e.variants):
        picture, price = variant.picture, variant.price
        rows.add_row(
            endpoint.name if variant is endpoint.default else "",
            f"{picture.height}p, {picture.duration_seconds} s",
            usd(variant.price_usd) if price else "not known",
            price.seen if price else "",
        )
    console.print(rows)
