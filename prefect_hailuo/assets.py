"""Stored videos as Prefect's assets, for those who switch that on: keyed by the file's address.

Prefect's own `@materialize` wants an asset's key before the task runs; here it is known when the
file is in its place.
"""

from __future__ import annotations

import re

from prefect.assets import Asset, AssetProperties
from prefect.context import AssetContext
from prefect.events import emit_event
from prefect.filesystems import RemoteFileSystem
from prefect.logging import get_logger
from prefect.types.names import MAX_ASSET_KEY_LENGTH, RESTRICTED_ASSET_CHARACTERS

from prefect_hailuo.endpoints import find_input_class
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.orders import find_place
from prefect_hailuo.places import Place
from prefect_hailuo.runs import is_in_a_run
from prefect_hailuo.settings import current_settings
from prefect_hailuo.storage import StorageBlock
from prefect_hailuo.video import Video

MATERIALIZED_BY = "prefect-hailuo"

BUCKETS = {"s3-bucket": ("s3", "bucket_name"), "gcs-bucket": ("gs", "bucket")}
"""By a block type's slug: how addresses in it begin, and where it keeps the bucket's name."""


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


def materialize(video: Video, place: Place | None = None, *, alone: bool = True) -> None:
    """Tell Prefect of a stored video as an asset, if the settings say so.

    Args:
        video: The video.
        place: Where it is kept.
        alone: Whether the task makes this one: it is then the task's asset, told when the task
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
            _emit(asset, video)
    except Exception as error:  # a paid video is not lost over an event
        get_logger("hailuo").warning("The video could not be told as an asset: %s", error)


def _make_the_tasks(asset: Asset, video: Video, context: AssetContext) -> None:
    context.downstream_assets.add(asset)
    context.materialized_by = context.materialized_by or MATERIALIZED_BY
    context.add_asset_metadata(asset.key, _metadata(video))
    context.update_tracked_assets()


def _emit(asset: Asset, video: Video) -> None:
    emit_event(
        "prefect.asset.materialization.succeeded",
        AssetContext.asset_as_resource(asset),
        related=[AssetContext.related_materialized_by(MATERIALIZED_BY)],
        payload=_metadata(video),
    )


def _asset(video: Video, key: str) -> Asset:
    title = find_input_class(video.endpoint).endpoint.title
    words = f"{title}: {video.prompt or video.request_id}"[:1000]
    return Asset(key=key, properties=AssetProperties(name=video.storage_key, description=words))


def _metadata(video: Video) -> dict[str, object]:
    """What is worth knowing of it; not fal's link, which is nobody else's business."""
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
    """The address of what a block keeps: the bucket's, where it is known what block it is."""
    block, slug = place.block, place.block.get_block_type_slug()
    if isinstance(block, RemoteFileSystem):
        scheme, _, rest = block.basepath.partition("://")
        host, slash, path = rest.partition("/")
        # Without a login, which whoever sees the asset would see.
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}".rstrip("/")
    if slug in BUCKETS:
        scheme, field = BUCKETS[slug]
        folder = str(getattr(block, "bucket_folder", "")).strip("/")
        return "/".join(part for part in (f"{scheme}://{getattr(block, field)}", folder) if part)
    return place.label.replace(":", "://", 1)
