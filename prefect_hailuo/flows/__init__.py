"""Ready flows, and what they are made of.

`from prefect_hailuo.flows import batch` gives the flow, to call, serve or deploy; the entry point
of a deployment is `prefect_hailuo.flows.batch.batch`. Each flow is a command, too:
`prefect-hailuo run batch`. A flow is imported when it is first asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

__all__ = [
    "batch",
    "compare_models",
    "patient_video",
    "reconcile",
    "schema_watch",
    "storyboard",
    "text_to_video",
]

if TYPE_CHECKING:
    from prefect_hailuo.flows.batch import batch
    from prefect_hailuo.flows.compare_models import compare_models
    from prefect_hailuo.flows.patient_video import patient_video
    from prefect_hailuo.flows.reconcile import reconcile
    from prefect_hailuo.flows.schema_watch import schema_watch
    from prefect_hailuo.flows.storyboard import storyboard
    from prefect_hailuo.flows.text_to_video import text_to_video


class _Flows(ModuleType):
    """This package, whose attribute `batch` is always the flow.

    Each flow is in a module of its own name. When Python has imported that module, it sets it as
    an attribute of the package; the flow is set in its place.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in __all__ and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import_module(f"{__name__}.{name}")
        return vars(self)[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Flows
