"""The command `prefect-hailuo`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich import box
from rich.console import Console
from rich.table import Table

from prefect_hailuo.endpoints import CATALOGUE, Endpoint
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.fal.messages import EMULATOR_PORT, EMULATOR_SPEED

app = App(
    name="prefect-hailuo",
    help="Paid video generation as a first-class step of a Prefect workflow.",
    version=version("prefect-hailuo"),
)


@app.command
def emulator(
    *,
    port: Annotated[int, Parameter(help="Where to listen.")] = EMULATOR_PORT,
    speed: Annotated[float, Parameter(help="Emulated seconds to one of yours.")] = EMULATOR_SPEED,
    concurrency: Annotated[int, Parameter(help="Generations worked on at once.")] = 2,
    clip: Annotated[
        Literal["prompt", "plain"], Parameter(help="A video for each prompt, or one for all.")
    ] = "prompt",
    certificate: Annotated[
        Path | None, Parameter(help="A PEM certificate: serves https, as fal's own clients ask.")
    ] = None,
    private_key: Annotated[Path | None, Parameter(help="Its PEM private key.")] = None,
) -> None:
    """Run a stand-in for fal on this machine: the same protocol, real videos, no money."""
    from prefect_hailuo.emulator import serve

    try:
        serve(
            port,
            speed,
            concurrency=concurrency,
            clip=clip,
            certificate=certificate,
            private_key=private_key,
        )
    except (HailuoError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


@app.command
def models(
    *, json: Annotated[bool, Parameter(help="Print everything that is known, as JSON.")] = False
) -> None:
    """List the models: what they make, what it costs, and where that is known from."""
    endpoints = [input_class.endpoint for input_class in CATALOGUE.values()]
    console = Console()
    if json:
        console.print_json(_as_json(endpoints))
    else:
        console.print(_as_table(endpoints))


def _as_json(endpoints: list[Endpoint]) -> str:
    return json.dumps([asdict(endpoint) for endpoint in endpoints], default=str)


def _as_table(endpoints: list[Endpoint]) -> Table:
    table = Table("model", "picture", "price", "price seen", box=box.SIMPLE)
    for endpoint in endpoints:
        picture, price = endpoint.picture, endpoint.price
        table.add_row(
            endpoint.name,
            f"{picture.height}p, {picture.duration_seconds} s, {picture.frames_per_second} fps",
            f"${endpoint.price_usd} a video",
            price.seen,
        )
    return table


def main() -> None:
    """Run the command."""
    app()
