"""From fal's link to a verified file on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import httpx

from prefect_hailuo.clock import Deadline
from prefect_hailuo.errors import DownloadError, StorageError, VideoExpiredError
from prefect_hailuo.fal.hosts import is_private_enough
from prefect_hailuo.fal.messages import File
from prefect_hailuo.fal.patience import pause_seconds
from prefect_hailuo.fal.replies import retry_after
from prefect_hailuo.mp4 import check_mp4
from prefect_hailuo.places import CHUNK_BYTES, draft_name

MOST_ATTEMPTS = 6

GONE = frozenset({401, 403, 404, 410})
"""What file servers answer when a link has expired."""


@dataclass(frozen=True)
class Download:
    """A verified file.

    Args:
        path: Where it is, until it is taken over or dropped.
        size: Bytes.
        sha256: Hexadecimal.
        content_type: As the file server said, else as fal said.
    """

    path: Path
    size: int
    sha256: str
    content_type: str | None


@asynccontextmanager
async def downloaded(
    http: httpx.AsyncClient, file: File, workspace: Path, deadline: Deadline
) -> AsyncIterator[Download]:
    """Download a video into a temporary file, verified; dropped at the end unless moved away.

    The file server is sent no key and no redirect is followed. A download that fails is repeated;
    that costs nothing.

    Args:
        http: The client for media.
        file: What fal said of the file.
        workspace: Where the temporary file goes.
        deadline: When to stop repeating.

    Raises:
        VideoExpiredError: The file is no longer served.
        DownloadError: It did not arrive whole.
        StorageError: The temporary file cannot be written.
    """
    draft = workspace / draft_name("download.mp4")
    try:
        yield await _download_patiently(http, file, draft, deadline)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


async def _download_patiently(
    http: httpx.AsyncClient, file: File, draft: Path, deadline: Deadline
) -> Download:
    for attempt in range(MOST_ATTEMPTS):
        try:
            # The scope ends an answer that trickles in for ever.
            with anyio.move_on_after(deadline.remaining):
                return await _download(http, file, draft)
        except DownloadError as error:
            pause = pause_seconds(attempt, error)
            hopeless = not error.retryable or pause >= deadline.remaining
            if hopeless or attempt == MOST_ATTEMPTS - 1:
                raise
            await deadline.sleep(pause)
    raise DownloadError(f"The video did not arrive within {deadline.seconds:g} seconds.")


async def _download(http: httpx.AsyncClient, file: File, draft: Path) -> Download:
    url = _media_url(file)
    try:
        async with http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            _check_answer(response)
            size, sha256 = await _write(response, draft)
    except httpx.HTTPError as error:
        raise DownloadError(f"The download broke off ({type(error).__name__}: {error}).") from error
    announced = response.headers.get("Content-Length")
    _check_length(response.num_bytes_downloaded, announced, "the file server announced")
    _check_length(size, file.file_size, "fal announced")
    await anyio.to_thread.run_sync(check_mp4, draft)
    content_type = response.headers.get("Content-Type") or file.content_type
    return Download(draft, size, sha256, content_type)


def _media_url(file: File) -> httpx.URL:
    try:
        url = httpx.URL(file.url)
    except httpx.InvalidURL as error:
        raise DownloadError(f"fal's link is no URL ({error}).", retryable=False) from error
    if not is_private_enough(url):
        raise DownloadError(
            f"fal's link {file.url!r} is not https, so what it serves could be anything.",
            retryable=False,
        )
    return url


def _check_answer(response: httpx.Response) -> None:
    if response.is_success:
        return
    answer = f"The file server answered HTTP {response.status_code}"
    if response.status_code in GONE:
        raise VideoExpiredError(f"{answer} for the video.")
    if response.is_redirect:
        raise DownloadError(
            f"{answer}, a redirect, and none is followed.",
            cure="Check that the configured hosts are fal's; if they are, report this.",
            retryable=False,
        )
    raise DownloadError(f"{answer}.", retry_after=retry_after(response))


async def _write(response: httpx.Response, draft: Path) -> tuple[int, str]:
    """Write the body to a file, piece by piece: its size and its hash."""
    digest = hashlib.sha256()
    size = 0
    try:
        async with await anyio.open_file(draft, "wb") as target:
            async for chunk in response.aiter_bytes(CHUNK_BYTES):
                await target.write(chunk)
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise StorageError(f"{draft.parent} cannot be written: {error}.") from error
    return size, digest.hexdigest()


def _check_length(size: int, announced: str | int | None, whose: str) -> None:
    if announced is not None and size != int(announced):
        raise DownloadError(f"{size:,} bytes arrived where {whose} {int(announced):,}.")
