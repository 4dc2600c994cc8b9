"""Why somebody who waited for a slot of a global concurrency limit has none, and the cures."""

from __future__ import annotations

from prefect_hailuo.errors import Billed, ConcurrencyLimitError, GenerationTimeoutError


def unknown_limit(name: str) -> ConcurrencyLimitError:
    """There is no such limit."""
    return ConcurrencyLimitError(
        f"Prefect knows no global concurrency limit {name!r}, so nothing was bought.",
        cure=f"Make it: prefect gcl create {name} --limit 40; or take the setting away.",
        billed=Billed.NO,
        retryable=False,
    )


def no_answer(name: str, error: Exception) -> ConcurrencyLimitError:
    """Prefect cannot be asked."""
    return ConcurrencyLimitError(
        f"Prefect could not be asked for a slot of the concurrency limit {name!r}, so nothing was "
        f"bought: {error}",
        billed=Billed.NO,
    )


def no_slot(name: str, seconds: float) -> GenerationTimeoutError:
    """The limit was full for too long."""
    return GenerationTimeoutError(
        f"No slot of the concurrency limit {name!r} was free for {seconds:g} seconds.",
        cure="Raise the limit, or timeout_seconds; nothing was bought.",
        billed=Billed.NO,
    )
