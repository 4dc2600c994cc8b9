"""Looking into video files, and making clips of them."""

from __future__ import annotations

from prefect_hailuo.moved import reading

__getattr__ = reading(__name__)
