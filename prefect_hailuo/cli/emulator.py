"""`prefect-hailuo emulator`: a stand-in for fal on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from prefect_hailuo.errors import HailuoError
from prefect_hailuo.fal.messages import EMULATOR_PORT, EMULATOR_SPEED


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
    public_url: Annotated[
        str, Parameter(help="The address that its answers name, if it is another than its own.")
    ] = "",
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
            public_url=public_url,
        )
    except (HailuoError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
