"""From what a caller of a task or a job says to an order."""

from __future__ import annotations

from collections.abc import Mapping

from prefect_hailuo.blocks import Credentials, resolve_credentials
from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.generation import Order
from prefect_hailuo.key import canonical_take
from prefect_hailuo.settings import HailuoSettings
from prefect_hailuo.storage import Storage, resolve_storage


def make_order(
    input: VideoInput,
    *,
    credentials: Credentials = None,
    storage: Storage = None,
    take: int | str = 0,
    timeout_seconds: float | None = None,
    labels: Mapping[str, str] | None = None,
) -> Order:
    """An order, with credentials and storage found and everything checked.

    Args:
        input: What to generate.
        credentials: A block, a saved block's name, or None: the key is in the environment.
        storage: A directory, a block, `"block:<type>/<name>"`, or None: the default directory.
        take: Which of several videos of the same input.
        timeout_seconds: How long to wait for fal; None: as the settings say.
        labels: The caller's own words for it.

    Raises:
        ConfigurationError: Something is missing or cannot be used; the message names the cure.
        TypeError: `input` is no video input, or `take` neither int nor str.

    Example:
        >>> from prefect_hailuo import FalCredentials, Hailuo23ProTextToVideo
        >>> fox = Hailuo23ProTextToVideo(prompt="A red fox.")
        >>> order = make_order(fox, credentials=FalCredentials(api_key="id:secret"), take=2)
        >>> order.timeout_seconds
        1800.0
    """
    if not (isinstance(input, VideoInput) and hasattr(input, "endpoint")):
        raise TypeError(
            f"input must be a video input such as Hailuo23ProTextToVideo(prompt=...), "
            f"not {type(input).__name__}."
        )
    access = resolve_credentials(credentials).access()
    return Order(
        input=input,
        access=access,
        place=resolve_storage(storage, access.realm),
        take=canonical_take(take),
        timeout_seconds=timeout_or_default(timeout_seconds),
        labels={str(name): str(value) for name, value in (labels or {}).items()},
    )


def timeout_or_default(seconds: float | None) -> float:
    """A timeout in seconds: the caller's, or the settings'.

    Raises:
        ConfigurationError: It is not positive.
    """
    if seconds is None:
        return HailuoSettings().timeout_seconds
    if not seconds > 0:
        raise ConfigurationError(
            f"timeout_seconds is {seconds}.", cure="Pass a positive number of seconds."
        )
    return float(seconds)
