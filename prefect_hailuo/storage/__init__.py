"""Where files are kept: places, names, records, downloads, and the pictures brought in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_hailuo.moved import reading

if not TYPE_CHECKING:  # checkers know the names of today
    __getattr__ = reading(__name__)
