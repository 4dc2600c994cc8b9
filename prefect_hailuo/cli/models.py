"""`prefect-hailuo models`: what each model makes, and what it costs."""

from __future__ import annotations

from dataclasses import asdict

from prefect_hailuo.cli.output import JsonOption, console, say_json, table, usd
from prefect_hailuo.models.catalogue import CATALOGUE, Endpoint, Variant


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
        rows.add_row(
            endpoint.name if variant is endpoint.variants[0] else "",
            _picture(variant),
            _price(variant),
            variant.price.seen if variant.price else "",
        )
    console.print(rows)


def _picture(variant: Variant) -> str:
    picture, lengths = variant.picture, variant.lengths
    seconds = f"{lengths[0]} to {lengths[-1]}" if lengths else str(picture.duration_seconds)
    sound = ", sound" if picture.form else ""
    return f"{variant.settings.get('resolution', f'{picture.height}p')}, {seconds} s{sound}"


def _price(variant: Variant) -> str:
    if variant.price is None:
        return "not known"
    return f"{usd(variant.price.usd)} a second" if variant.lengths else usd(variant.price_usd)
