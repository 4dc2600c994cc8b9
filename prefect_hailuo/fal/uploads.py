"""fal's storage: where a picture goes that is too large to be sent in a body.

It goes there as fal_client 1.0.3 sends it (`_async_upload_via_storage`): fal's API is asked where,
and the content is put there. Only the question carries the key. It costs nothing and may be
repeated: https://docs.fal.ai/documentation/model-apis/fal-cdn, seen 2026-11-20.
"""

from __future__ import annotations

import json

import httpx
from pydantic import BaseModel, TypeAdapter

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.errors import (
    Billed,
    FalFaultError,
    GenerationTimeoutError,
    HailuoError,
    ImageError,
    MalformedReplyError,
)
from prefect_hailuo.fal.concealing import without_key
from prefect_hailuo.fal.hosts import Access, is_private_enough
from prefect_hailuo.fal.patience import read_patiently
from prefect_hailuo.fal.replies import check_realm, error_of, parse

UPLOAD_SECONDS = 180.0
"""How long an upload is repeated; nothing is bought meanwhile."""

KEPT_SECONDS = 7 * 86400
"""How long fal is asked to keep a picture: longer than any request waits for its turn, whatever the
account's own setting is, and not for ever, for whoever has its URL can see it."""

PUT_TIMEOUT = httpx.Timeout(60.0, connect=10.0, pool=60.0)

INITIATE = "/storage/upload/initiate"


class Initiated(BaseModel):
    """Where to put a file, and where it will be."""

    upload_url: str
    file_url: str


INITIATED = TypeAdapter(Initiated)


async def upload(
    http: httpx.AsyncClient,
    access: Access,
    content: bytes,
    media_type: str,
    file_name: str,
    clock: Clock | None = None,
) -> str:
    """Upload a file to fal's storage; it costs nothing.

    Args:
        http: A client on httpx's own transport; it follows no redirect and holds no key.
        access: The account's key, which goes to fal's API and not to where the file is put.
        content: The file.
        media_type: Such as `image/png`.
        file_name: What it is called; fal may keep it in the URL.
        clock: What waiting is measured with.

    Returns:
        Its public URL.

    Raises:
        HailuoError: fal did not take it; nothing was bought.
    """

    async def send() -> str:
        place = await _initiate(http, access, media_type, file_name)
        await _put(http, place.upload_url, content, media_type)
        return place.file_url

    try:
        return await read_patiently(send, Deadline(UPLOAD_SECONDS, clock or SystemClock()))
    except GenerationTimeoutError as error:
        raise ImageError(
            f"The picture could not be uploaded to fal's storage; nothing was bought. "
            f"{error.message}",
            cure="Try again later; https://status.fal.ai may know more.",
            retryable=True,
        ) from error
    except HailuoError as error:
        error.billed = Billed.NO
        raise


async def _initiate(
    http: httpx.AsyncClient, access: Access, media_type: str, file_name: str
) -> Initiated:
    kept = json.dumps({"expiration_duration_seconds": KEPT_SECONDS})
    asking = http.post(
        access.hosts.rest_url + INITIATE,
        params={"storage_type": "gcs"},
        json={"file_name": file_name, "content_type": media_type},
        headers={**access.authorization, "X-Fal-Object-Lifecycle-Preference": kept},
    )
    response = await without_key(asking, access)
    check_realm(response, access)
    if not response.is_success:
        raise error_of(response, access)
    place = parse(response, INITIATED, access)
    if not all(_is_usable(url) for url in (place.upload_url, place.file_url)):
        raise MalformedReplyError("fal's storage named an address that is not https.")
    return place


def _is_usable(url: str) -> bool:
    try:
        return is_private_enough(httpx.URL(url))
    except httpx.InvalidURL:
        return False


async def _put(http: httpx.AsyncClient, url: str, content: bytes, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    response = await http.put(url, content=content, headers=headers, timeout=PUT_TIMEOUT)
    if not response.is_success:  # not the URL, which is signed
        raise FalFaultError(f"fal's storage answered HTTP {response.status_code} to the upload.")
