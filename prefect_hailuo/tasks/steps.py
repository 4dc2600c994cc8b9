"""The small steps as tasks, for flows that put them together themselves: submit, wait, fetch, keep.

`submit_video` buys; the others only read, and are retried where that can help. Each has an
asynchronous twin, named with an `a` in front.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from anyio.to_thread import run_sync
from prefect import task
from prefect.cache_policies import NO_CACHE
from typing_extensions import Unpack

from prefect_hailuo.fal.messages import Completed, Output
from prefect_hailuo.models.catalogue import VideoInput
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.blocks import Credentials, resolve_credentials
from prefect_hailuo.runs.execution import acquiring, aperform, fetching, perform, storing, waiting
from prefect_hailuo.runs.options import SubmitOptions, show_options
from prefect_hailuo.runs.orders import (
    make_order,
    repeat_if_free,
    repeat_if_useful,
    timeout_or_default,
)
from prefect_hailuo.runs.storage import Storage, resolve_storage
from prefect_hailuo.ticket import Ticket

BUYS: dict[str, Any] = {"cache_policy": NO_CACHE, "retry_condition_fn": repeat_if_free}
READS: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retry_condition_fn": repeat_if_useful,
    "retries": 3,
    "retry_delay_seconds": 10,
}


@task(name="Submit video", **BUYS)
@show_options
def submit_video(input: VideoInput, **options: Unpack[SubmitOptions]) -> Ticket:
    """Submit a generation and return its ticket at once. **This may spend money, once.**

    If the video was bought before, the ticket is that one's, and nothing is spent. The ticket is
    all that the other steps, or another process, need.

    Args:
        input: What to generate.
        options: As for `SubmitOptions`.

    Raises:
        HailuoError: By kind, as `prefect_hailuo.errors` draws them.

    Example:
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     fox = Hailuo23ProTextToVideo(prompt="A red fox.")
        ...     ticket = submit_video(fox, credentials=mine)
        ...     completed = wait_for_video(ticket, credentials=mine)
        ...     output = fetch_video(ticket, completed, credentials=mine)
        ...     video = download_video(ticket, output, completed, storage="videos")
        >>> video.request_id == ticket.request_id
        True
    """
    order = make_order(input, **options)
    return perform(acquiring(order))


@task(name="Submit video", **BUYS)
@show_options
async def asubmit_video(input: VideoInput, **options: Unpack[SubmitOptions]) -> Ticket:
    """The asynchronous twin of `submit_video`. **This may spend money, once.**"""
    make = partial(make_order, input, **options)
    return await aperform(acquiring(await run_sync(make)))


@task(name="Wait for video", **READS)
def wait_for_video(
    ticket: Ticket, *, credentials: Credentials = None, timeout_seconds: float | None = None
) -> Completed:
    """Wait until a request has completed, one way or another; `fetch_video` tells which.

    Args:
        ticket: The request.
        credentials: As for `generate_video`; of the account that submitted it.
        timeout_seconds: How long to wait; by default half an hour.

    Raises:
        GenerationTimeoutError: It takes longer; wait again with the same ticket.
        FalError: fal refused to say.

    Example:
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     ticket = submit_video(Hailuo23ProTextToVideo(prompt="A fox."), credentials=mine)
        ...     wait_for_video(ticket, credentials=mine, timeout_seconds=60).status
        'COMPLETED'
    """
    access = resolve_credentials(credentials).access()
    return perform(waiting(ticket, access, timeout_or_default(timeout_seconds)))


@task(name="Wait for video", **READS)
async def await_for_video(
    ticket: Ticket, *, credentials: Credentials = None, timeout_seconds: float | None = None
) -> Completed:
    """The asynchronous twin of `wait_for_video`."""
    block = await run_sync(resolve_credentials, credentials)
    return await aperform(waiting(ticket, block.access(), timeout_or_default(timeout_seconds)))


@task(name="Fetch video", **READS)
def fetch_video(
    ticket: Ticket, completed: Completed | None = None, *, credentials: Credentials = None
) -> Output:
    """The result of a completed request: fal's link to the video, which expires.

    fal keeps results for an hour, so fetch and download at once.

    Args:
        ticket: The request.
        completed: What `wait_for_video` returned; with it, a failure is reported at once.
        credentials: As for `wait_for_video`.

    Raises:
        HailuoError: The generation failed, by kind; or fal does not have the result.

    Example:
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     ticket = submit_video(Hailuo23ProTextToVideo(prompt="A fox."), credentials=mine)
        ...     completed = wait_for_video(ticket, credentials=mine)
        ...     fetch_video(ticket, completed, credentials=mine).video.content_type
        'video/mp4'
    """
    access = resolve_credentials(credentials).access()
    return perform(fetching(ticket, access, completed))


@task(name="Fetch video", **READS)
async def afetch_video(
    ticket: Ticket, completed: Completed | None = None, *, credentials: Credentials = None
) -> Output:
    """The asynchronous twin of `fetch_video`."""
    block = await run_sync(resolve_credentials, credentials)
    return await aperform(fetching(ticket, block.access(), completed))


@task(name="Download video", **READS)
def download_video(
    ticket: Ticket,
    output: Output,
    completed: Completed | None = None,
    *,
    storage: Storage = None,
) -> Video:
    """Download a result, verify it, and keep it with its provenance. No key is needed.

    Args:
        ticket: The request.
        output: What `fetch_video` returned.
        completed: What `wait_for_video` returned, for the record.
        storage: As for `generate_video`.

    Raises:
        DownloadError: It did not arrive whole, or is no longer served.
        StorageError: The place does not take it.

    Example:
        >>> from prefect_hailuo import Ticket
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator(clip="plain") as emulator:
        ...     mine = emulator.credentials()
        ...     endpoint = "fal-ai/minimax/hailuo-02/pro/text-to-video"
        ...     request_id = emulator.plant(endpoint, {"prompt": "An owl."})
        ...     ticket = Ticket(endpoint=endpoint, request_id=request_id, realm="emulator")
        ...     output = fetch_video(ticket, credentials=mine)
        ...     download_video(ticket, output, storage="videos").is_there()
        True
    """
    return perform(storing(ticket, output, resolve_storage(storage, ticket.realm), completed))


@task(name="Download video", **READS)
async def adownload_video(
    ticket: Ticket,
    output: Output,
    completed: Completed | None = None,
    *,
    storage: Storage = None,
) -> Video:
    """The asynchronous twin of `download_video`."""
    place = await run_sync(resolve_storage, storage, ticket.realm)
    return await aperform(storing(ticket, output, place, completed))
