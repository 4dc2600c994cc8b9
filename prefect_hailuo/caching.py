"""When Prefect may answer from its cache, and when a failed task may be run again."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.results import ResultStore
from prefect.tasks import Task
from pydantic import ValidationError

from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.endpoints import VideoInput
from prefect_hailuo.errors import (
    BatchError,
    Billed,
    DownloadError,
    HailuoError,
    NotReadyError,
    StorageError,
)
from prefect_hailuo.loop import process_loop
from prefect_hailuo.order import Order
from prefect_hailuo.orders import make_order
from prefect_hailuo.settling import settle
from prefect_hailuo.video import Video

LOOP_SECONDS = 1.0
"""How long a caller's event loop may stand still while a picture is read: Prefect asks for cache
keys there. A key that takes longer is none: the task runs, and finds the video by itself."""

OPTIONS = ("credentials", "storage", "take")


@dataclass
class GenerationCachePolicy(CachePolicy):
    """Equal generations, kept in the same place, are one result.

    The key covers the realm, the endpoint, the input, its pictures by their content, the take and
    the place; never the credentials. A result whose file has gone is no hit.

    Args:
        input_class: The input that a task's parameters make; None for a task that takes `input`.

    Example:
        >>> from datetime import timedelta
        >>> from prefect_hailuo import generate_video
        >>> monthly = generate_video.with_options(
        ...     cache_policy=GenerationCachePolicy(), cache_expiration=timedelta(days=30)
        ... )
    """

    input_class: type[VideoInput] | None = None

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """The cache key of a call; None for one that the task itself will refuse."""
        try:
            order = _with_pictures(self._order(inputs))
        except (HailuoError, ValidationError, TypeError, TimeoutError):
            return None
        key = hashlib.sha256(f"{order.key} {order.place.label}".encode()).hexdigest()
        _forget_if_gone(task_ctx.result_store, key, order)
        return key

    def _order(self, inputs: dict[str, Any]) -> Order:
        options = {name: inputs[name] for name in OPTIONS if name in inputs}
        if self.input_class is None:
            return make_order(inputs["input"], **options)
        fields = {name: inputs[name] for name in self.input_class.model_fields if name in inputs}
        return make_order(self.input_class(**fields), **options)


def _with_pictures(order: Order) -> Order:
    """The order with its pictures looked at.

    Raises:
        ImageError: One of them cannot be had, or the models do not take it.
        TimeoutError: The caller's event loop would stand still for too long.
    """
    if order.is_settled:
        return order
    seconds = LOOP_SECONDS if _is_on_event_loop() else None

    async def look(connections: Connections, emit: Emit) -> Order:
        with anyio.fail_after(seconds):
            return await settle(order, connections.pictures)

    return process_loop().run(look)


def _is_on_event_loop() -> bool:
    with suppress(RuntimeError):
        return asyncio.get_running_loop().is_running()
    return False


def repeat_if_free(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect's `retry_condition_fn` for tasks that may buy: repeat only what bought nothing.

    Example:
        >>> from prefect_hailuo import generate_video
        >>> patient = generate_video.with_options(retries=3, retry_delay_seconds=60)
    """
    error = _error_of(state)
    if isinstance(error, BatchError):
        return any(_is_free(each.error) for each in error.outcomes)
    return _is_free(error)


def _is_free(error: object) -> bool:
    return isinstance(error, HailuoError) and error.retryable and error.billed is Billed.NO


def repeat_if_useful(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect's `retry_condition_fn` for tasks that only read: repeat what may pass.

    Within a task, faults that pass are waited out already. What is left is a result asked for too
    early, and a download that broke off again and again.
    """
    error = _error_of(state)
    return isinstance(error, NotReadyError | DownloadError) and error.retryable


def _error_of(state: State[Any]) -> object:
    # A persisted state holds a record of its result, any other the result itself.
    return getattr(state.data, "result", state.data)


def _forget_if_gone(store: ResultStore, key: str, order: Order) -> None:
    """Let a record expire whose video is not there any more.

    An expiry is the one thing that Prefect looks at before it calls a record a hit.
    """
    if not store.exists(key):
        return
    record = store.read(key)
    if not _is_there(record.result, order):
        expired = {**record.metadata.model_dump(), "expiration": "1970-01-01T00:00:00Z"}
        metadata = type(record.metadata).model_validate(expired)
        store.persist_result_record(record.model_copy(update={"metadata": metadata}))


def _is_there(video: object, order: Order) -> bool:
    if not isinstance(video, Video):
        return False
    if video.path is not None:
        return video.is_there()

    async def ask(connections: Connections, emit: Emit) -> bool:
        try:
            return await order.place.holds(video.storage_key, video.sha256)
        except StorageError:
            return False  # the task itself will say what is wrong, or put it right

    return process_loop().run(ask)
