"""`prefect-hailuo estimate`: what videos would cost."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter, validators

from prefect_hailuo.cli.output import JsonOption, say, say_json, usd
from prefect_hailuo.models.camera import check_camera_commands
from prefect_hailuo.models.catalogue import find_input_class, model_name
from prefect_hailuo.models.hailuo import HailuoInput
from prefect_hailuo.runs.estimate import Quote, describe_settings, quote


def estimate(
    model: Annotated[str, Parameter(help="Such as hailuo-2.3-pro; see prefect-hailuo models.")],
    /,
    *,
    count: Annotated[
        int, Parameter(help="How many videos.", validator=validators.Number(gte=1))
    ] = 1,
    duration: Annotated[
        int | None,
        Parameter(help="Seconds, of a model that has a choice: 6 or 10; 5 to 15 of Hailuo 3."),
    ] = None,
    resolution: Annotated[
        str | None, Parameter(help="Such as 768P, of a model that has a choice.")
    ] = None,
    prompt: Annotated[
        str | None, Parameter(help="A prompt whose camera commands are to be looked at.")
    ] = None,
    live: Annotated[
        bool,
        Parameter(help="Ask fal for today's price; needs a key.", negative="", show_default=False),
    ] = False,
    credentials: Annotated[
        str | None, Parameter(help="A saved credentials block, for --live.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what videos would cost. It buys nothing.

    What the ledger has already costs nothing: for given prompts, ask prefect_hailuo.estimate.
    """
    asked = {"duration": duration, "resolution": resolution}
    settings = {name: value for name, value in asked.items() if value is not None}
    quoted = quote(model, settings, credentials=credentials, live=live)
    total = None if quoted.price_usd is None else quoted.price_usd * count
    reads = issubclass(find_input_class(model), HailuoInput)
    warnings = check_camera_commands(prompt or "") if reads else []
    if json:
        told = {"count": count, "total_usd": total, "warnings": warnings}
        say_json({**asdict(quoted), **told})
        return
    if quoted.price_usd is not None:
        each = f"{count} x {_name(quoted)} at {usd(quoted.price_usd)}"
        say(f"{each}: about {usd(total)} ({quoted.source}, {quoted.seen}).")
    for note in (*quoted.notes, *warnings):
        say(note)


def _name(quoted: Quote) -> str:
    name, settings = model_name(quoted.endpoint), describe_settings(quoted.settings)
    return f"{name} ({settings})" if settings else name
