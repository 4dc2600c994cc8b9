"""`prefect-hailuo webhooks`.

`prefect-hailuo emulator`.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from prefect_hailuo.cli.show import CredentialsOption, say
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.fal.messages import EMULATOR_PORT, EMULATOR_SPEED, WEBHOOK_PORT


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


def webhooks(
    *,
    host: Annotated[
        str, Parameter(help="The address to listen on: put https in front of it.")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Where to listen.")] = WEBHOOK_PORT,
    credentials: CredentialsOption = None,
) -> None:
    """Take fal's calls, so that nobody has to ask whether a video is done. It buys nothing."""
    import uvicorn
    from prefect.settings import PREFECT_API_URL

    from prefect_hailuo.runs.settings import current_settings
    from prefect_hailuo.tasks.suspension import webhook_app

    app = webhook_app(credentials)
    if not PREFECT_API_URL.value():
        say("PREFECT_API_URL is not set: suspended flow runs are not resumed.")
    public = current_settings().webhook_url
    say(f"Taking fal's calls at http://{host}:{port}.")
    say(
        f"What submits asks fal to call {public}."
        if public
        else "For fal to call it, set PREFECT_INTEGRATIONS_HAILUO_WEBHOOK_URL to its public "
        "address, wherever videos are submitted."
    )
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("prefect_hailuo.tasks.suspension").setLevel(logging.INFO)
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)
