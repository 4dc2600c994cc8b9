"""From what a caller wants of a batch to orders: everything checked before anything is bought."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.key import canonical_take
from prefect_hailuo.order import Order
from prefect_hailuo.orders import check_input, check_texts, make_order
from prefect_hailuo.outcomes import AnyInput


class BatchItem(BaseModel):
    """One line of a catalogue: an input, and what is to be said of this one alone.

    As a flow's parameter, it is written as JSON, such as
    `{"input": {"endpoint": "hailuo-2.3-pro", "prompt": "A fox."}, "labels": {"sku": "F-1"}}`.

    Args:
        input: What to generate.
        take: Which of several videos of the same input; None: the batch's.
        labels: Your own words for it, besides the batch's.

    Example:
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> fox = Hailuo23ProTextToVideo(prompt="A red fox.")
        >>> item = BatchItem(input=fox, take=2, labels={"sku": "F-1"})
        >>> BatchItem.model_validate_json(item.model_dump_json()) == item
        True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: AnyInput
    take: int | str | None = None
    labels: dict[str, str] = Field(default_factory=dict)


Wanted = VideoInput | tuple[VideoInput, int | str] | BatchItem
"""An input, an input with its take, or a whole line of a catalogue."""


def make_orders(
    inputs: Iterable[Wanted],
    *,
    take: int | str = 0,
    labels: Mapping[str, str] | None = None,
    **options: Any,
) -> list[Order]:
    """The orders of a batch, with credentials and storage found once, and everything checked.

    Args:
        inputs: What to generate.
        take: The take of those that come without one.
        labels: The caller's own words for all of them.
        options: As for `make_order`.

    Raises:
        ConfigurationError: Something is missing or cannot be used; the message names the cure.
        TypeError: One of them is no input; the message names which.

    Example:
        >>> from prefect_hailuo import FalCredentials, Hailuo23ProTextToVideo
        >>> fox = Hailuo23ProTextToVideo(prompt="A red fox.")
        >>> options = {"credentials": FalCredentials(api_key="id:secret")}
        >>> [order.take for order in make_orders([fox, (fox, 2)], take=1, **options)]
        ['1', '2']
        >>> make_orders([fox, "An owl."], **options)
        Traceback (most recent call last):
        TypeError: inputs[1] must be a video input such as ...
    """
    if isinstance(inputs, VideoInput | str | bytes | Mapping):
        raise TypeError(f"inputs must be many, such as a list, not one {type(inputs).__name__}.")
    items = [_item(index, wanted) for index, wanted in enumerate(inputs)]
    if not items:
        return []
    base = make_order(items[0].input, take=take, labels=labels, **options)
    base = replace(base, poster=False)  # nobody looks at a poster of each
    return [_order(index, item, base) for index, item in enumerate(items)]


def _item(index: int, wanted: Wanted) -> BatchItem:
    if isinstance(wanted, BatchItem):
        return wanted
    given, take = wanted if isinstance(wanted, tuple) and len(wanted) == 2 else (wanted, None)
    check_input(f"inputs[{index}]", given)
    return BatchItem.model_construct(input=given, take=take, labels={})


def _order(index: int, item: BatchItem, base: Order) -> Order:
    if item.take is None and not item.labels:
        return replace(base, input=item.input)
    with _naming(index):
        take = canonical_take(base.take if item.take is None else item.take)
        check_texts("take", take)
        check_texts("labels", *item.labels, *item.labels.values())
    labels = {**base.labels, **item.labels}
    return replace(base, input=item.input, take=take, labels=labels)


@contextmanager
def _naming(index: int) -> Iterator[None]:
    """Let an error say which of the inputs it is about."""
    try:
        yield
    except TypeError as error:
        raise TypeError(f"inputs[{index}]: {error}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"inputs[{index}]: {error.message}", cure=error.cure) from error
