"""Every block type of the package: the module that Prefect imports when it looks for them.

It is the package's `prefect.collections` entry point, because importing the package itself imports
no block.
"""

from __future__ import annotations

from prefect_hailuo.runs.blocks import Budget, FalCredentials
from prefect_hailuo.tasks.jobs import HailuoVideoJob

__all__ = ["Budget", "FalCredentials", "HailuoVideoJob"]
