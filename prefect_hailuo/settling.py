"""From an order that names pictures to one that says what they are, and to the body that is sent.

Until its pictures were looked at, an order has no key: a path says nothing of what it leads to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import anyio

from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.errors import ImageError
from prefect_hailuo.image_checks import Image
from prefect_hailuo.images import image_sources
from prefect_hailuo.order import Order, with_images
from prefect_hailuo.pictures import Pictures

AnInput = TypeVar("AnInput", bound=VideoInput)


async def look_at(input: VideoInput, pictures: Pictures) -> dict[str, Image]:
    """What the pictures of an input are, by field.

    Raises:
        ImageError: One of them cannot be had, or the models do not take it.
    """
    sources = image_sources(input)
    return {name: await pictures.look(source) for name, source in sources.items()}


async def settle_input(input: AnInput, pictures: Pictures) -> AnInput:
    """The input that names its pictures by what they are.

    Raises:
        ImageError: One of them cannot be had, or the models do not take it.
    """
    return with_images(input, await look_at(input, pictures))


async def settle(order: Order, pictures: Pictures) -> Order:
    """The order, with its pictures looked at.

    Raises:
        ImageError: One of them cannot be had, or the models do not take it.
    """
    if order.is_settled:
        return order
    return replace(order, images=await look_at(order.input, pictures))


async def settle_all(
    orders: Sequence[Order], pictures: Pictures
) -> list[tuple[Order, ImageError | None]]:
    """Each order with its pictures looked at; or with what is wrong with one of them."""
    sources = {source for order in orders for source in image_sources(order.input).values()}
    found: dict[str, Image] = {}
    flaws: dict[str, ImageError] = {}

    async def look(source: str) -> None:
        try:
            found[source] = await pictures.look(source)
        except ImageError as error:
            flaws[source] = error

    async with anyio.create_task_group() as tasks:
        for source in sources:
            tasks.start_soon(look, source)
    return [_settled(order, found, flaws) for order in orders]


def _settled(
    order: Order, found: Mapping[str, Image], flaws: Mapping[str, ImageError]
) -> tuple[Order, ImageError | None]:
    sources = image_sources(order.input)
    flaw = next((flaws[source] for source in sources.values() if source in flaws), None)
    if flaw is not None or order.is_settled:
        return order, flaw
    return replace(order, images={name: found[each] for name, each in sources.items()}), None


async def body_to_send(order: Order, pictures: Pictures) -> Mapping[str, Any]:
    """The exact body to send for a settled order, its pictures uploaded where they are large.

    Raises:
        HailuoError: One of them could not be brought to fal; nothing was bought.
    """
    sources = image_sources(order.input)
    sent = {
        name: await pictures.sendable(sources[name], image, order.access)
        for name, image in order.images.items()
    }
    return {**order.input.body(), **sent}
