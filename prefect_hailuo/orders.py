"""From what a caller of a task or a job says to an order."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar, get_args

from prefect_hailuo.account_limit import account_limit
from prefect_hailuo.approved import allowed_purchases
from prefect_hailuo.blocks import Credentials, resolve_credentials
from prefect_hailuo.budget import Budget
from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.key import canonical_take
from prefect_hailuo.ledger.recorded import storable
from prefect_hailuo.order import OnAmbiguous, OnLost, Order, find_directory
from prefect_hailuo.places import Place
from prefect_hailuo.runs import current_run
from prefect_hailuo.settings import current_settings
from prefect_hailuo.storage import (
    BLOCK_PREFIX,
    UNSAVED,
    Storage,
    named_by_settings,
    resolve_storage,
)

T = TypeVar("T")


def make_order(
    input: VideoInput,
    *,
    credentials: Credentials = None,
    storage: Storage = None,
    take: int | str = 0,
    timeout_seconds: float | None = None,
    labels: Mapping[str, str] | None = None,
    budget: Budget | str | None = None,
    on_ambiguous: OnAmbiguous = "park",
    on_lost: OnLost = "raise",
) -> Order:
    """An order, with credentials and storage found and everything checked.

    Args:
        input: What to generate.
        credentials: A block, a saved block's name, or None: the key is in the environment.
        storage: A directory, a block, `"block:<type>/<name>"`, or None: the default directory.
        take: Which of several videos of the same input.
        timeout_seconds: How long to wait for fal; None: as the settings say.
        labels: The caller's own words for it.
        budget: The budget that pays, or its scope's name; None: the scope that the settings name.
        on_ambiguous: `park` or `resubmit`, as `Order` says.
        on_lost: `raise` or `resubmit`, as `Order` says.

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
    check_input("input", input)
    block = resolve_credentials(credentials)
    access = block.access()
    settings = current_settings()
    order = Order(
        input=input,
        access=access,
        place=resolve_storage(storage, access.realm),
        ledger=settings.ledger_of(access.realm),
        take=canonical_take(take),
        timeout_seconds=timeout_or_default(timeout_seconds),
        labels={str(name): str(value) for name, value in (labels or {}).items()},
        scope=_scope_of(budget) or settings.budget_scope,
        limits=budget.limits() if isinstance(budget, Budget) else None,
        credentials=block._block_document_name,
        run=current_run(),
        on_ambiguous=_one_of(OnAmbiguous, "on_ambiguous", on_ambiguous),
        on_lost=_one_of(OnLost, "on_lost", on_lost),
        reconcile_seconds=settings.reconcile_seconds,
        find_place=find_place,
        poster=settings.artifacts,
        download_connections=settings.download_connections,
        gate=account_limit(settings.concurrency_limit),
        webhook_url=settings.webhook_url,
        approved=allowed_purchases(),
    )
    check_texts("labels", *order.labels, *order.labels.values())
    check_texts("take", canonical_take(take))
    check_texts("budget", order.scope)
    check_texts("storage", order.place.label)
    return order


def find_place(label: str) -> Place | None:
    """The place that a label in the ledger names; None where it cannot be told from the label."""
    if label.startswith(BLOCK_PREFIX) and f"/{UNSAVED}" not in label:
        with suppress(ConfigurationError):  # it may have been deleted
            return resolve_storage(label, "fal")
    place = find_directory(label)
    return place and named_by_settings(place)


def check_input(name: str, input: object) -> None:
    """Refuse what is no model's input.

    Raises:
        TypeError: It is something else.
    """
    if not (isinstance(input, VideoInput) and hasattr(input, "endpoint")):
        raise TypeError(
            f"{name} must be a video input such as Hailuo23ProTextToVideo(prompt=...), "
            f"not {type(input).__name__}."
        )


def check_texts(name: str, *texts: str) -> None:
    """Refuse, before anything is bought, what could not be written down after it.

    Args:
        name: The argument that holds them.
        texts: What it holds.

    Raises:
        ConfigurationError: A text is one that not every database and no JSON takes.
    """
    for text in texts:
        if text != storable(text):
            raise ConfigurationError(
                f"{name} holds {text!r}, which has a NUL or half a character in it; nothing was "
                "bought.",
                cure="Pass plain text; of an odd file name, os.fsencode(name).decode(errors="
                "'replace') makes some.",
            )


def _scope_of(budget: Budget | str | None) -> str | None:
    return budget.scope if isinstance(budget, Budget) else budget


def _one_of(choices: Any, name: str, value: T) -> T:
    if value not in get_args(choices):
        listed = " or ".join(repr(each) for each in get_args(choices))
        raise ConfigurationError(f"{name} is {value!r}.", cure=f"Pass {listed}.")
    return value


def timeout_or_default(seconds: float | None) -> float:
    """A timeout in seconds: the caller's, or the settings'.

    Raises:
        ConfigurationError: It is not positive.
    """
    if seconds is None:
        return current_settings().timeout_seconds
    if not seconds > 0:
        raise ConfigurationError(
            f"timeout_seconds is {seconds}.", cure="Pass a positive number of seconds."
        )
    return float(seconds)
