"""Calls to Prefect's own API, from a thread that may wait."""

from __future__ import annotations

from typing import Any

import httpx
from prefect.blocks.core import Block

from prefect_hailuo.errors import ConfigurationError


def load_block(block_class: type[Block], name: str) -> Any:
    """Load a saved block, from a thread that may wait.

    Raises:
        ConfigurationError: There is no such block, or no server to ask.
    """
    try:
        return synchronously(block_class.load, name)
    except (ValueError, RuntimeError, httpx.HTTPError) as error:
        raise ConfigurationError(
            f"The block {name!r} could not be loaded: {error}",
            cure="Save it first (block.save(name), or in Prefect's UI under Blocks), and check "
            "PREFECT_API_URL.",
        ) from error


def synchronously(function: Any, *arguments: Any, **keywords: Any) -> Any:
    """Call a function of Prefect's that has two colours in its synchronous one.

    Prefect would choose by the task that runs, also in a worker thread; `_sync`, which its types
    do not show, is how it is told.
    """
    return function(*arguments, **keywords, _sync=True)
