"""The command `prefect-hailuo`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Literal

from cyclopts import App, Parameter

app = App(
    name="prefect-hailuo",
    help="Paid video generation as a first-class step of a Prefect workflow.",
    version=version("prefect-hailuo"),
)


@app.command
def emulator(
    *,
    port: Annotated[int, Parameter(help="Where to listen.")] = 8123,
    speed: Annotated[float, Parameter(help="Emulated seconds to a second of yours.")] = 30.0,
    concurrency: Annotated[int, Parameter(help="Generations worked on at once.")] = 2,
    clip: Annotated[
        Literal["prompt", "plain"], Parameter(help="A video for each prompt, or one for all.")
    ] = "prompt",
) -> None:
    """Run a stand-in for fal on this machine: the same protocol, real videos, no money."""
    from prefect_hailuo.emulator import serve

    serve(port=port, speed=speed, concurrency=concurrency, clip=clip)


def main() -> None:
    """Run the command."""
    app()
