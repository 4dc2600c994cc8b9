"""The whole suite, as the test command runs it, in several processes side by side.

A plugin that `conftest.py` loads. A part of the suite, say one file, runs as ever in one process,
and so does everything with `-n 0`.
"""

from __future__ import annotations

import gc
import os

import pytest

PROCESSES = 4
"""For two cores: half of the time tests wait, and each process has a Prefect server of its own."""

LONGEST = (
    "test_style.py",
    "test_crash_matrix.py",
    "test_compare_models.py",
    "test_dropped_posts.py",
    "test_batch.py",
    "test_tasks.py",
    "test_flow_commands.py",
    "test_pacing.py",
    "test_group_processes.py",
    "test_cancelling.py",
)
"""These files are begun first, or everybody would wait for the last of them."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Before pytest-xdist looks at its options: whole files, in the order that is said here."""
    if _is_whole(config) and _is_free(config):
        config.option.numprocesses = PROCESSES
        config.option.dist = "loadfile"
        config.option.loadscopereorder = False


def _is_whole(config: pytest.Config) -> bool:
    """Whether nobody named a file to run, and this is not one of the processes already."""
    named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    return not named and "PYTEST_XDIST_WORKER" not in os.environ


def _is_free(config: pytest.Config) -> bool:
    """Whether pytest-xdist is there, and neither `-n` nor `--pdb` says otherwise."""
    unset = getattr(config.option, "numprocesses", 0) is None
    return unset and not config.option.usepdb


def pytest_configure() -> None:
    """Collect tests without collecting garbage: there is none, and looking for it takes a third."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the garbage collector need not look through it each time."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
