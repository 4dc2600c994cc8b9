"""Where modules of the first release are now, so that what it pickled still loads.

A persisted result of Prefect's names the module of each class in it, and so does a flow that a
user wrote against an inner module. An old module is made when it is asked for, and reads each name
from the module that has it now. It never warns: reading an old result looks the same from here as
running old code, and nothing is wrong with the result.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

PACKAGE = __name__.rpartition(".")[0]

HOMES = {
    "approval": "tasks.approval",
    "approved": "engine.order models.key",
    "as_completed": "tasks.batch",
    "batch_report": "flows.report",
    "batch_summary": "flows.report",
    "batch_tasks": "tasks.batch",
    "blocks": "runs.blocks",
    "budget": "runs.blocks",
    "caching": "runs.orders",
    "camera": "models.camera",
    "catalogue": "runs.orders",
    "choices": "flows.model_names",
    "comparison": "flows.comparison",
    "drift": "flows.drift",
    "drift_watch": "flows.drift",
    "endpoints": "models.catalogue",
    "endpoints.facts": "models.endpoint",
    "endpoints.image": "models.hailuo",
    "endpoints.inputs": "models.inputs",
    "endpoints.text": "models.hailuo",
    "entries": "flows.sheet",
    "estimating": "runs.estimate",
    "flow_command": "flows.command",
    "hooks": "tasks.sweep",
    "images": "models.image",
    "jobs": "tasks.jobs",
    "key": "models.key",
    "manifest": "flows.manifest",
    "media": "media.probe",
    "montage": "tasks.clips",
    "montage_tasks": "tasks.clips",
    "name_templates": "storage.names",
    "notices": "runs.events",
    "outcomes": "engine.outcome",
    "plan": "flows.plan",
    "plan_approval": "flows.plan",
    "quoting": "runs.estimate",
    "row_files": "flows.row_files",
    "scenes": "flows.scenes",
    "schedules": "tasks.schedule",
    "settings": "runs.settings",
    "sharding": "flows.shards",
    "shooting": "flows.scenes",
    "step_tasks": "tasks.steps",
    "storage": "runs.storage",
    "storyboards": "flows.scenes",
    "suspending": "tasks.suspension",
    "sweep": "tasks.sweep",
    "sweeping": "engine.sweep",
    "tally": "engine.outcome",
    "tasks.generating": "tasks.generate",
    "tasks.image_02": "tasks.hailuo",
    "tasks.image_02_fast": "tasks.hailuo",
    "tasks.image_23": "tasks.hailuo",
    "tasks.image_23_fast": "tasks.hailuo",
    "tasks.text_02": "tasks.hailuo",
    "tasks.text_23": "tasks.hailuo",
    "video": "models.video",
    "webhooks": "tasks.suspension",
}
"""For each old module that a file or a user can name: the modules that have what it had."""

GONE = {"flow_command": ("flow_parser", "add_purchase_options", "add_approval_options")}
"""What has no successor: the options of the first release's flows as commands."""


def spec_of(name: str) -> ModuleSpec | None:
    """How to make a module that has moved; None for a name that no module ever had."""
    if name.removeprefix(f"{PACKAGE}.") not in HOMES:
        return None
    return ModuleSpec(name, _Reader(), is_package=True)


def reading(name: str) -> Callable[[str], object]:
    """A module's `__getattr__`, which reads what the module had in the first release.

    Example:
        >>> reading("prefect_hailuo.video")("Video")
        <class 'prefect_hailuo.models.video.Video'>
    """
    old = name.removeprefix(f"{PACKAGE}.")
    homes = HOMES[old].split()

    def read(attribute: str) -> object:
        if attribute in GONE.get(old, ()):
            return _refuse_command
        if not attribute.startswith("_"):
            for home in homes:
                module = import_module(f"{PACKAGE}.{home}")
                if hasattr(module, attribute):
                    return getattr(module, attribute)
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}")

    return read


def _refuse_command(*args: object, **kwargs: object) -> NoReturn:
    """End the command of a flow file that was copied from the first release.

    The flow in it still runs, and so does a deployment of it; only its command line is gone.
    """
    raise SystemExit(
        "error: This file is a copy of a flow of an earlier release. It still runs as a flow and "
        "in deployments, but not as a command; nothing was bought. Use the package's own command, "
        "such as `prefect-hailuo run batch`, or its flow: `from prefect_hailuo.flows import batch`."
    )


class _Reader(Loader):
    """Makes a module that reads everything from elsewhere."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__getattr__"] = reading(module.__name__)
