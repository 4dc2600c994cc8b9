"""The Prefect events that a run sends, for automations; and its videos as Prefect assets.

`docs/events.md` lists all events. Prefect sends them from a thread of its own, and its server drops
what comes in bursts. So of many videos at once, a run tells sums, and failures up to a bound.

An asset's key is the address of the video's file. Prefect's own `@materialize` wants that key
before the task runs; here it is known once the file is stored.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any, Literal

from cachetools import LRUCache
from prefect.assets import Asset, AssetProperties
from prefect.context import AssetContext
from prefect.events import emit_event
from prefect.filesystems import RemoteFileSystem
from prefect.logging import get_logger
from prefect.types.names import MAX_ASSET_KEY_LENGTH, RESTRICTED_ASSET_CHARACTERS

from prefect_hailuo.engine.order import Order
from prefect_hailuo.engine.outcome import Counts
from prefect_hailuo.errors import (
    BudgetError,
    ConfigurationError,
    HailuoError,
    ParkedError,
    RunCancelledError,
)
from prefect_hailuo.models.catalogue import model_name, model_title, price_of
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.cancellation import is_in_a_run, name_of_run
from prefect_hailuo.runs.orders import find_place
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.runs.storage import StorageBlock
from prefect_hailuo.storage.names import name_and_key
from prefect_hailuo.storage.place import Place
from prefect_hailuo.ticket import Realm, Ticket

EventName = Literal[
    "prefect-hailuo.video.submitted",
    "prefect-hailuo.video.completed",
    "prefect-hailuo.video.failed",
    "prefect-hailuo.video.parked",
    "prefect-hailuo.budget.reached",
    "prefect-hailuo.batch.ended",
    "prefect-hailuo.schema.drifted",
]
"""The events' names. They are stable, because automations match them."""

MOST_FAILURES = 10
"""How many failures of a flow run have an event each, where many videos are made at once."""

MOST_REMEMBERED = 256
"""How many runs' counts are kept in memory."""

PROMPT_CHARACTERS = 200

MESSAGE_CHARACTERS = 500

MATERIALIZED_BY = "prefect-hailuo"

BUCKETS = {"s3-bucket": ("s3", "bucket_name"), "gcs-bucket": ("gs", "bucket")}
"""By a block type's slug: how its addresses begin, and which field has the bucket's name."""


@dataclass(frozen=True)
class Subject:
    """The generation that an event is about.

    Args:
        endpoint: fal's endpoint id.
        realm: Whether fal or the emulator makes it.
        key: The generation's key, where it is known.
        request_id: fal's id of the request, where there is one.
        scope: The budget scope that pays, if it is known.
        prompt: What to show, where it is known.
    """

    endpoint: str
    realm: Realm
    key: str | None = None
    request_id: str | None = None
    scope: str | None = None
    prompt: str | None = None

    @classmethod
    def of_order(cls, order: Order) -> Subject:
        """The generation of an order; without a key, as long as its pictures are unread."""
        endpoint, realm = order.request.endpoint, order.access.realm
        key = order.key if order.is_settled else None
        return cls(endpoint, realm, key, None, order.scope, order.request.prompt)

    @classmethod
    def of_ticket(cls, ticket: Ticket) -> Subject:
        """The generation that a request is for."""
        prompt = (ticket.input or {}).get("prompt")
        return cls(
            ticket.endpoint, ticket.realm, name_and_key(ticket)[1], ticket.request_id, prompt=prompt
        )

    @classmethod
    def of_video(cls, video: Video) -> Subject:
        """The generation that a video came from."""
        return cls(video.endpoint, video.realm, video.key, video.request_id, prompt=video.prompt)

    def known_as(self, key: str | None) -> Subject:
        """The same subject, with its key."""
        return self if self.key is not None else replace(self, key=key)

    @property
    def resource(self) -> dict[str, str]:
        """Its resource in Prefect's events: the same in every run and every attempt."""
        name = f"prefect-hailuo.video.{self.key}"
        if self.key is None:
            name = f"prefect-hailuo.request.{self.request_id or 'none'}"
        labels = {
            "prefect.resource.id": name,
            "prefect.resource.name": f"{model_name(self.endpoint)} {(self.key or '')[:12]}".strip(),
            "prefect-hailuo.model": model_name(self.endpoint),
            "prefect-hailuo.endpoint": self.endpoint,
            "prefect-hailuo.realm": self.realm,
        }
        return labels | ({"prefect-hailuo.budget-scope": self.scope} if self.scope else {})


def tell_submitted(subject: Subject, ticket: Ticket) -> None:
    """fal accepted a request."""
    price = price_of(ticket)
    _emit(
        "prefect-hailuo.video.submitted",
        subject.resource,
        {**_facts(subject), "request_id": ticket.request_id, "price_usd": _text(price)},
    )


def tell_completed(subject: Subject, video: Video) -> None:
    """A video is stored."""
    payload = {
        **_facts(subject),
        "request_id": video.request_id,
        "place": video.place,
        "size": video.size,
        "sha256": video.sha256,
        "duration_seconds": video.duration_seconds,
        "price_usd": _text(video.price_usd),
        "take": video.take,
        "labels": dict(video.labels),
    }
    _emit("prefect-hailuo.video.completed", subject.resource, payload)


def tell_error(subject: Subject, error: HailuoError, *, crowded: bool = False) -> None:
    """A video will not come, or not now: parked, over its budget, or failed.

    Args:
        subject: Which video.
        error: Why not.
        crowded: Whether it is one of many, of which only the first failures are sent.
    """
    if isinstance(error, RunCancelledError):
        return  # of the run's end, Prefect tells by itself
    if isinstance(error, BudgetError):
        _tell_budget(subject, error)
    elif not crowded or _count(name_of_run(), "failures") <= MOST_FAILURES:
        parked = isinstance(error, ParkedError)
        name: EventName = "prefect-hailuo.video.parked" if parked else "prefect-hailuo.video.failed"
        ticket = error.ticket
        subject = subject.known_as(Subject.of_ticket(ticket).key if ticket else None)
        request_id = ticket.request_id if ticket else subject.request_id
        payload = {**_facts(subject), "request_id": request_id, **_described(error)}
        _emit(name, subject.resource, payload)


def tell_batch(name: str, counts: Counts) -> None:
    """A batch has ended.

    Args:
        name: The batch's: a rerun of it has the same.
        counts: How it stands.
    """
    payload = {
        "realm": counts.realm,
        "total": counts.total,
        "done": counts.done,
        "reused": counts.reused,
        "failed": counts.failed,
        "bought": counts.bought,
        "spent_usd": str(counts.spent_usd),
        "seconds": round(counts.seconds, 1),
    }
    resource = {
        "prefect.resource.id": f"prefect-hailuo.batch.{name}",
        "prefect.resource.name": name,
        "prefect-hailuo.realm": counts.realm,
        "prefect-hailuo.failed": "yes" if counts.failed else "no",
    }
    _emit("prefect-hailuo.batch.ended", resource, payload)


def tell_drift(realm: Realm, matters: bool, payload: Mapping[str, Any]) -> None:
    """fal's documents or prices are not what this release knows.

    Args:
        realm: Who was asked.
        matters: Whether it affects buying.
        payload: What has drifted.
    """
    resource = {
        "prefect.resource.id": f"prefect-hailuo.schema.{realm}",
        "prefect.resource.name": f"Schemas and prices of {realm}",
        "prefect-hailuo.realm": realm,
        "prefect-hailuo.matters": "yes" if matters else "no",
    }
    _emit("prefect-hailuo.schema.drifted", resource, payload)


def _tell_budget(subject: Subject, error: BudgetError) -> None:
    """Send the event of a reached budget, once for a scope in a flow run."""
    scope = subject.scope or "default"
    if _count(name_of_run(), subject.realm, scope) > 1:
        return
    resource = {
        "prefect.resource.id": f"prefect-hailuo.budget.{scope}",
        "prefect.resource.name": scope,
        "prefect-hailuo.realm": subject.realm,
    }
    video = {**subject.resource, "prefect.resource.role": "video"}
    payload = {**_facts(subject), "scope": scope, **_described(error)}
    _emit("prefect-hailuo.budget.reached", resource, payload, video)


def _emit(
    name: EventName, resource: dict[str, str], payload: Mapping[str, Any], *related: dict[str, str]
) -> None:
    """Hand an event over to Prefect's thread, which adds the runs and the deployment to it.

    Only within a run: elsewhere Prefect would start a server for it.
    """
    if not (is_in_a_run() and current_settings().events):
        return
    try:
        emit_event(name, resource, payload=dict(payload), related=[*related])
    except Exception as error:  # a paid video is not lost over an event
        get_logger("hailuo").warning("The event %s could not be sent: %s", name, error)


def _facts(subject: Subject) -> dict[str, Any]:
    return {
        "key": subject.key,
        "model": model_name(subject.endpoint),
        "endpoint": subject.endpoint,
        "realm": subject.realm,
        "prompt": shorten(subject.prompt or "", PROMPT_CHARACTERS, placeholder="…"),
    }


def _described(error: HailuoError) -> dict[str, Any]:
    return {
        "error": type(error).__name__,
        "message": presentable(error.message),
        "cure": presentable(error.cure),
        "billed": error.billed.value,
        "retryable": error.retryable,
    }


def presentable(text: str) -> str:
    """A text short enough for an event, its URLs without queries, which may hold signatures.

    Example:
        >>> presentable("GET https://fal.media/a.mp4?token=s3cret failed.")
        'GET https://fal.media/a.mp4?… failed.'
    """
    unsigned = re.sub(r"(\bhttps?://[^\s?#]*)[?#][^\s'\"]*", r"\1?…", text)
    return shorten(unsigned, MESSAGE_CHARACTERS, placeholder="…")


def _text(value: object) -> str | None:
    return None if value is None else str(value)


_lock = threading.Lock()

_told: LRUCache[tuple[str, ...], int] = LRUCache(MOST_REMEMBERED)


def _count(*what: str) -> int:
    """How often this run has sent it, this time included."""
    with _lock:
        _told[what] = _told.get(what, 0) + 1
        return _told[what]


def materialize(video: Video, place: Place | None = None, *, alone: bool = True) -> None:
    """Tell Prefect of a stored video as an asset, if the settings say so.

    Args:
        video: The video.
        place: Where it is kept.
        alone: Whether the task makes only this one. It is then the task's asset, sent when the task
            has completed, and Prefect knows it as a source of what later tasks make of it.
    """
    if not (current_settings().assets and is_in_a_run()):
        return
    try:
        asset = _asset(video, asset_key(video, place))
        context = AssetContext.get()
        if alone and context is not None and context.task_run_id is not None:
            _make_the_tasks(asset, video, context)
        else:
            _emit_asset(asset, video)
    except Exception as error:  # a paid video is not lost over an event
        get_logger("hailuo").warning("The video could not be sent as an asset: %s", error)


def asset_key(video: Video, place: Place | None = None) -> str:
    """The address of a stored video, as Prefect takes it for an asset's key.

    What Prefect does not allow in a key, such as a blank, is a dash in it.

    Args:
        video: The video.
        place: Where it is kept; by default, what its record says of that.

    Raises:
        ConfigurationError: The address is longer than Prefect allows.

    Example:
        >>> from prefect_hailuo import hailuo_02_pro_text_to_video
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     video = hailuo_02_pro_text_to_video("An owl.", credentials=mine, storage="videos")
        >>> asset_key(video) == video.path.as_uri()
        True
    """
    unfit = re.escape("".join(RESTRICTED_ASSET_CHARACTERS))
    key = re.sub(f"[{unfit}]", "-", _address(video, place))
    if len(key) > MAX_ASSET_KEY_LENGTH:
        raise ConfigurationError(
            f"The address {key[:60]}… has more than {MAX_ASSET_KEY_LENGTH} characters, which "
            "Prefect allows an asset.",
            cure="Keep the videos in a place with a shorter path.",
        )
    return key


def _make_the_tasks(asset: Asset, video: Video, context: AssetContext) -> None:
    context.downstream_assets.add(asset)
    context.materialized_by = context.materialized_by or MATERIALIZED_BY
    context.add_asset_metadata(asset.key, _metadata(video))
    context.update_tracked_assets()


def _emit_asset(asset: Asset, video: Video) -> None:
    emit_event(
        "prefect.asset.materialization.succeeded",
        AssetContext.asset_as_resource(asset),
        related=[AssetContext.related_materialized_by(MATERIALIZED_BY)],
        payload=_metadata(video),
    )


def _asset(video: Video, key: str) -> Asset:
    words = f"{model_title(video.endpoint)}: {video.prompt or video.request_id}"[:1000]
    return Asset(key=key, properties=AssetProperties(name=video.storage_key, description=words))


def _metadata(video: Video) -> dict[str, object]:
    """The video's record, without its path, its account, and fal's link to it."""
    left_out = {"path", "url", "input", "account"}
    shown = video.model_dump(mode="json", exclude=left_out, exclude_none=True)
    return {**shown, "prompt": video.prompt}


def _address(video: Video, place: Place | None) -> str:
    if video.path:
        # Not as a URI: Prefect allows no percent signs.
        return f"file://{'' if video.path.drive == '' else '/'}{video.path.absolute().as_posix()}"
    place = place or find_place(video.storage)
    if isinstance(place, StorageBlock):
        return f"{_address_of(place)}/{video.storage_key}"
    return f"{video.storage.replace(':', '://', 1)}/{video.storage_key}"


def _address_of(place: StorageBlock) -> str:
    """The address of what a block keeps: the bucket's, if the block's type is known."""
    block, slug = place.block, place.block.get_block_type_slug()
    if isinstance(block, RemoteFileSystem):
        scheme, _, rest = block.basepath.partition("://")
        host, slash, path = rest.partition("/")
        # Without a login: everybody who sees the asset would see it.
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}".rstrip("/")
    if slug in BUCKETS:
        scheme, field = BUCKETS[slug]
        folder = str(getattr(block, "bucket_folder", "")).strip("/")
        return "/".join(part for part in (f"{scheme}://{getattr(block, field)}", folder) if part)
    return place.label.replace(":", "://", 1)
