"""fal's storage, as fal_client 1.0.3 uses it for files of up to 100 MB.

There are two ways in. By a token of the API, a file is posted to the CDN; or the API says where a
file is to be put, and it is put there. Both end in a public URL.
"""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta, timezone

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel
from starlette.responses import Response

from prefect_hailuo.emulator.incoming import Account, TheEmulation
from prefect_hailuo.emulator.replies import JSON
from prefect_hailuo.emulator.routes_files import lifetime_seconds
from prefect_hailuo.emulator.uploads import TOKEN_SECONDS

router = APIRouter()


class UploadRequest(BaseModel):
    """What is to be uploaded."""

    file_name: str
    content_type: str


@router.post("/rest/storage/auth/token")
async def token(account: Account, emulation: TheEmulation) -> Response:
    """A token for the CDN."""
    expires_at = datetime.now(timezone.utc) + timedelta(seconds=TOKEN_SECONDS)
    return JSON(
        {
            "token": emulation.uploads.issue_token(),
            "token_type": "Bearer",
            "base_url": f"{emulation.url}/cdn",
            "expires_at": expires_at.isoformat(),
        }
    )


@router.post("/cdn/files/upload")
async def post(request: Request, emulation: TheEmulation) -> Response:
    """Take a file that comes with a token; its name is in a header."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not emulation.uploads.knows_token(given):
        raise HTTPException(401, "invalid token")
    upload = emulation.uploads.begin(
        request.headers.get("x-fal-file-name", "upload.bin"),
        request.headers.get("content-type", "application/octet-stream"),
        lifetime_seconds(request.headers.get("x-fal-object-lifecycle")),
    )
    upload.content = await request.body()
    return JSON({"access_url": emulation.url + upload.path})


@router.post("/rest/storage/upload/initiate")
async def initiate(
    request: Request, account: Account, wanted: UploadRequest, emulation: TheEmulation
) -> Response:
    """Say where a file is to be put, and where it will be."""
    seconds = lifetime_seconds(request.headers.get("x-fal-object-lifecycle-preference"))
    upload = emulation.uploads.begin(wanted.file_name, wanted.content_type, seconds)
    url = emulation.url + upload.path
    return JSON({"upload_url": f"{url}?signature={upload.signature}", "file_url": url})


@router.put("/storage/{path:path}")
async def put(request: Request, path: str, emulation: TheEmulation) -> Response:
    """Take a file, by the signature alone."""
    upload = emulation.uploads.find(f"/storage/{path}")
    signature = request.query_params.get("signature", "")
    if upload is None or not hmac.compare_digest(signature, upload.signature):
        raise HTTPException(403, "The signature is not good.")
    upload.authorized = "authorization" in request.headers
    upload.content = await request.body()
    return Response()


@router.api_route("/storage/{path:path}", methods=["GET", "HEAD"])
async def get(path: str, emulation: TheEmulation) -> Response:
    """Serve a file to anybody."""
    upload = emulation.uploads.find(f"/storage/{path}")
    if upload is None or upload.content is None:
        return JSON({"detail": "Not Found"}, 404)
    return Response(upload.content, media_type=upload.content_type)
