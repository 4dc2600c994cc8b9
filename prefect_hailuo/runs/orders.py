"""Orders made of a caller's arguments, and what Prefect is told about repeating a task.

`make_order` and `make_orders` find credentials and storage, and check everything before anything is
bought. `GenerationCachePolicy` says when Prefect may answer from its cache; `repeat_if_free` and
`repeat_if_useful` say when Prefect may run a failed task again.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar, get_args
from uuid import UUID

import anyio
from cachetools import LRUCache
from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.results import ResultStore
from prefect.tasks import Task
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Unpack

from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.order import (
    OnAmbiguous,
    OnLost,
    Order,
    allowed_purchases,
    find_directory,
    settle,
)
from prefect_hailuo.engine.outcome import AnyInput
from prefect_hailuo.errors import (
    BatchError,
    Billed,
    ConfigurationError,
    DownloadError,
    GenerationTimeoutError,
    HailuoError,
    NotReadyError,
    StorageError,
)
from prefect_hailuo.ledger.attempt import storable
from prefect_hailuo.models.catalogue import VideoInput
from prefect_hailuo.models.key import canonical_take
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.blocks import Budget, resolve_budget, resolve_credentials
from prefect_hailuo.runs.cancellation import current_run
from prefect_hailuo.runs.limit import account_limit
from prefect_hailuo.runs.options import DEFAULTS, PurchaseOptions, show_options, with_defaults
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.runs.storage import BLOCK_PREFIX, UNSAVED, named_by_settings, resolve_storage
from prefect_hailuo.storage.place import Place

T = TypeVar("T")


NOBODYS = "default"
"""The scope of purchases that nobody named one for; it alone may be without a limit."""


class _Made:
    """The orders that were made for cache keys.

    Prefect asks for a task run's cache key right before the task runs, so that the order that was
    made for the key is the task's, too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: LRUCache[UUID, tuple[Order, PurchaseOptions]] = LRUCache(maxsize=1000)

    def keep(self, context: TaskRunContext, order: Order, options: PurchaseOptions) -> None:
        with self._lock:
            self._orders[context.task_run.id] = order, options

    def take(self, input: VideoInput, options: PurchaseOptions) -> Order | None:
        """The order of this task run, once; None where the task asks for anything else."""
        context = TaskRunContext.get()
        if context is None:
            return None
        with self._lock:
            order, asked = self._orders.pop(context.task_run.id, (None, None))
        return order if order is not None and (order.input, asked) == (input, options) else None


_made = _Made()


@show_options
def make_order(input: VideoInput, **options: Unpack[PurchaseOptions]) -> Order:
    """An order, with credentials and storage found and everything checked.

    Args:
        input: What to generate.
        options: As for `PurchaseOptions`.

    Raises:
        ConfigurationError: Something is missing or cannot be used; the message names the cure.
        TypeError: `input` is no video input, `take` neither int nor str, or there is no such
            option.

    Example:
        >>> from prefect_hailuo import FalCredentials, Hailuo23ProTextToVideo
        >>> fox = Hailuo23ProTextToVideo(prompt="A red fox.")
        >>> order = make_order(fox, credentials=FalCredentials(api_key="id:secret"), take=2)
        >>> order.timeout_seconds
        1800.0
    """
    check_input("input", input)
    given = with_defaults(options)
    if (made := _made.take(input, given)) is not None:
        return made
    block = resolve_credentials(given["credentials"])
    access = block.access()
    settings = current_settings()
    check_texts("budget", _scope_of(given["budget"]) or "")
    budget = resolve_budget(given["budget"], access.realm)
    order = Order(
        input=input,
        access=access,
        place=resolve_storage(given["storage"], access.realm),
        ledger=settings.ledger_of(access.realm),
        take=canonical_take(given["take"]),
        timeout_seconds=timeout_or_default(given["timeout_seconds"]),
        labels={str(name): str(value) for name, value in (given["labels"] or {}).items()},
        scope=_scope_of(budget) or settings.budget_scope,
        limits=budget.limits() if isinstance(budget, Budget) else None,
        is_scope_named=budget is not None or settings.budget_scope != NOBODYS,
        credentials=block._block_document_name,
        run=current_run(),
        on_ambiguous=_one_of(OnAmbiguous, "on_ambiguous", given["on_ambiguous"]),
        on_lost=_one_of(OnLost, "on_lost", given["on_lost"]),
        reconcile_seconds=settings.reconcile_seconds,
        find_place=find_place,
        poster=settings.artifacts,
        download_connections=settings.download_connections,
        file_hosts=settings.file_hosts,
        gate=account_limit(settings.concurrency_limit),
        webhook_url=settings.webhook_url,
        approved=allowed_purchases(),
    )
    check_texts("labels", *order.labels, *order.labels.values())
    check_texts("take", canonical_take(given["take"]))
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
    """Refuse, before anything is bought, texts that could not be recorded afterwards.

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


LOOP_SECONDS = 1.0
"""How long a caller's event loop may be blocked while a picture is read for a cache key. Beyond it,
there is no cache key: the task runs, and finds the video by itself."""


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
            input, options = self._asked(inputs)
            order = _with_pictures(make_order(input, **options))
        except (HailuoError, ValidationError, TypeError, TimeoutError):
            return None
        _made.keep(task_ctx, order, with_defaults(options))
        key = hashlib.sha256(f"{order.key} {order.place.label}".encode()).hexdigest()
        _forget_if_gone(task_ctx.result_store, key, order)
        return key

    def _asked(self, inputs: dict[str, Any]) -> tuple[VideoInput, PurchaseOptions]:
        options: Any = {name: inputs[name] for name in DEFAULTS if name in inputs}
        if self.input_class is None:
            return inputs["input"], options
        fields = {name: inputs[name] for name in self.input_class.model_fields if name in inputs}
        return self.input_class(**fields), options


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
    """Prefect's `retry_condition_fn` for tasks that may buy: repeat if nothing is bought twice.

    That is so if nothing was bought, or if there is a request, to which the next run attaches.

    Example:
        >>> from prefect_hailuo import generate_video
        >>> patient = generate_video.with_options(retries=3, retry_delay_seconds=60)
    """
    error = _error_of(state)
    if isinstance(error, BatchError):
        return any(_is_free(each.error) for each in error.outcomes)
    return _is_free(error)


def _is_free(error: object) -> bool:
    if not isinstance(error, HailuoError) or not error.retryable:
        return False
    return error.billed is Billed.NO or error.ticket is not None


def repeat_if_useful(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect's `retry_condition_fn` for tasks that only read: repeat what may work next time.

    Within a task, faults that pass are waited out already. What is left is a result asked for too
    early, a deadline that has passed, and a download that broke off again and again.
    """
    error = _error_of(state)
    passing = NotReadyError | DownloadError | GenerationTimeoutError
    return isinstance(error, passing) and error.retryable


def _error_of(state: State[Any]) -> object:
    # A persisted state holds a record of its result, any other the result itself.
    return getattr(state.data, "result", state.data)


def _forget_if_gone(store: ResultStore, key: str, order: Order) -> None:
    """Let a record of Prefect's cache expire if its video is gone.

    An expiry is all that Prefect looks at before it calls a record a hit.
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


class BatchItem(BaseModel):
    """One input of a batch, with its own take and labels.

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


@show_options
def make_orders(inputs: Iterable[Wanted], **options: Unpack[PurchaseOptions]) -> list[Order]:
    """The orders of a batch, with credentials and storage found once, and everything checked.

    Args:
        inputs: What to generate.
        options: As for `PurchaseOptions`.

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
    base = make_order(items[0].input, **options)
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
    """Name the input in an error that is about it."""
    try:
        yield
    except TypeError as error:
        raise TypeError(f"inputs[{index}]: {error}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"inputs[{index}]: {error.message}", cure=error.cure) from error
