"""Where files are kept: places, names, records, downloads, and the pictures brought in."""

from __future__ import annotations

from prefect_hailuo.moved import reading

__getattr__ = reading(__name__)
