"""The examples in the emulator's docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import prefect_hailuo.emulator

MODULES = [module.name for module in pkgutil.iter_modules(prefect_hailuo.emulator.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    """Every example runs, and gives what it says."""
    module = importlib.import_module(f"prefect_hailuo.emulator.{name}")
    assert doctest.testmod(module).failed == 0
