"""`prefect-hailuo run`: the flows as commands. A flow is loaded when it is named."""

from __future__ import annotations

from cyclopts import App

SUMMARIES = {
    "batch": "Make a video of each row, once.",
    "compare_models": "Have several models make a video of the same prompt, once each.",
    "patient_video": "Make a video of a prompt, once; deployed, it is suspended meanwhile.",
    "reconcile": "Adopt lost requests, collect finished videos, cancel what nobody wants. It "
    "never buys.",
    "schema_watch": "See whether fal's models are still what this release knows. It never buys.",
    "storyboard": "Make a video of each scene, once, and one clip of them all.",
    "text_to_video": "Make a video of a prompt, once.",
}

run = App(name="run", help="Run a flow in this process. With --emulator, it spends nothing.")

for name, summary in SUMMARIES.items():
    run.command(f"prefect_hailuo.flows.{name}:app", name=name.replace("_", "-"), help=summary)
