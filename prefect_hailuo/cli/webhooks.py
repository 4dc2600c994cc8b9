"""`prefect-hailuo webhooks`: the receiver of fal's calls."""

from __future__ import annotations

import logging
from typing import Annotated

from cyclopts import Parameter

from prefect_hailuo.cli.output import CredentialsOption, say
from prefect_hailuo.fal.messages import WEBHOOK_PORT


def webhooks(
    *,
    host: Annotated[
        str, Parameter(help="The address to listen on: put https in front of it.")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Where to listen.")] = WEBHOOK_PORT,
    credentials: CredentialsOption = None,
) -> None:
    """Receive fal's calls, so that no process has to ask if a video is done. It buys nothing."""
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
