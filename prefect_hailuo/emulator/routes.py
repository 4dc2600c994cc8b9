"""The routes of fal's queue, of its synchronous run, of its files and of its storage.

First stands what the routes take from a request: the emulation, the account, the input, the
generation. The queue's routes come last, because its POST takes every path.

The storage is as fal_client 1.0.3 uses it for files of up to 100 MB. There are two ways in: with a
token of the API, a file is posted to the CDN; or the API says where to put a file, and the client
puts it there. Both end in a public URL.
"""

from __future__ import annotations

import hmac
import json
import re
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from prefect_hailuo.emulator.emulation import Emulation, MediaRequest, Order
from prefect_hailuo.emulator.outcome import NO_CREDIT
from prefect_hailuo.emulator.queue import Generation, State
from prefect_hailuo.emulator.replies import (
    JSON,
    VIDEO_FILE_NAME,
    accepted,
    is_expired,
    not_found,
    result_of,
    status_events,
    status_of,
    wait_until_completed,
)
from prefect_hailuo.emulator.storage import TOKEN_SECONDS, Upload
from prefect_hailuo.emulator.webhooks import tell_of_completion
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.models.catalogue import CATALOGUE, VideoInput

OVER_THE_LIMIT = "Too many requests: the account's concurrency limit is reached."

RESULT_KEPT_SECONDS = 3600.0
"""By fal's documentation: an hour after completion (six minutes from 10 KB up, which no result
here reaches)."""

_CANCEL_STATUS = {
    Cancellation.REMOVED: 200,
    Cancellation.REQUESTED: 202,
    Cancellation.TOO_LATE: 400,
}

_REQUEST = "/{owner}/{app}/requests/{request_id}"

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

router = APIRouter()


async def _emulation(request: Request) -> Emulation:
    emulation: Emulation = request.app.state.emulation
    return emulation


TheEmulation = Annotated[Emulation, Depends(_emulation)]


async def _account(request: Request, emulation: TheEmulation) -> str:
    key = _key_of(request)
    if key not in emulation.setup.keys and key != emulation.setup.locked_key:
        raise HTTPException(401, _locked(request) if not key else "invalid key credentials")
    return key


def _locked(request: Request) -> str:
    """What fal says to a submission without a key, of an app that answers under another name."""
    called = CATALOGUE.get(request.path_params.get("endpoint_id", ""))
    served_as = called.endpoint.served_as if called else None
    return f'Cannot access application "{served_as}"' if served_as else "invalid key credentials"


def _key_of(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "key" else ""


Account = Annotated[str, Depends(_account)]
"""The API key of a known account. Any other is refused with fal's 401."""


async def _paying_account(account: Account, emulation: TheEmulation) -> str:
    if account == emulation.setup.locked_key:
        raise HTTPException(403, NO_CREDIT)
    return account


PayingAccount = Annotated[str, Depends(_paying_account)]
"""The API key of an account with credit. One without is refused with fal's 403."""


async def _input_class(endpoint_id: str) -> type[VideoInput]:
    if endpoint_id not in CATALOGUE:
        raise HTTPException(404, _unknown(endpoint_id))
    return CATALOGUE[endpoint_id]


def _unknown(endpoint_id: str) -> str:
    parts = endpoint_id.split("/")
    app = "/".join(parts[:2])
    if parts[0] == "minimax":  # as fal answers about ids below a known owner, seen 2026-09
        return f'Application "{"/".join(parts[1:2])}" not found'
    if any(cls.endpoint.app == app for cls in CATALOGUE.values()):
        return f"Path /{'/'.join(parts[2:])} not found"
    return f"Application '{app}' not found"


async def _json_object(request: Request) -> dict[str, Any]:
    # Not FastAPI's own reading of the body: it would judge the body before the key.
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        problem = _problem("json_invalid", "JSON decode error", {})
        raise RequestValidationError([{**problem, "ctx": {"error": str(error)}}]) from error
    if not isinstance(body, dict):
        text = "Input should be a valid dictionary"
        raise RequestValidationError([_problem("dict_type", text, body)])
    return body


def _problem(kind: str, text: str, given: Any) -> dict[str, Any]:
    return {"type": kind, "loc": ("body",), "msg": text, "input": given}


async def _order(
    request: Request,
    account: PayingAccount,
    input_class: Annotated[type[VideoInput], Depends(_input_class)],
    body: Annotated[dict[str, Any], Depends(_json_object)],
    fal_webhook: str | None = None,
) -> Order:
    return Order(input_class, body, dict(request.headers), account, fal_webhook)


AnOrder = Annotated[Order, Depends(_order)]
"""A request for a generation, after its key, endpoint and body were checked."""


class UnknownRequestError(Exception):
    """The account has no such request; answered with fal's 404."""


async def _generation(
    owner: str, app: str, request_id: str, account: Account, emulation: TheEmulation
) -> Generation:
    generation = emulation.find(request_id, account)
    if generation is None or generation.endpoint.app != f"{owner}/{app}":
        raise UnknownRequestError
    return generation


AGeneration = Annotated[Generation, Depends(_generation)]
"""The account's generation that the path names, as it stands now."""


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
            "base_url": f"{emulation.public_url}/cdn",
            "expires_at": expires_at.isoformat(),
        }
    )


@router.post("/rest/storage/upload/initiate")
async def initiate(
    request: Request, account: Account, wanted: UploadRequest, emulation: TheEmulation
) -> Response:
    """Say where a file is to be put, and where it will be."""
    seconds = lifetime_seconds(request.headers.get("x-fal-object-lifecycle-preference"))
    upload = emulation.uploads.begin(wanted.file_name, wanted.content_type, seconds)
    url = emulation.public_url + upload.path
    return JSON({"upload_url": f"{url}?signature={upload.signature}", "file_url": url})


@router.post("/rest/storage/upload/initiate-multipart")
async def initiate_multipart(
    request: Request, account: Account, wanted: UploadRequest, emulation: TheEmulation
) -> Response:
    """The same for a file that comes in parts, as fal's JavaScript client sends those of 90 MB."""
    return await initiate(request, account, wanted, emulation)


@router.put("/storage/{folder}/{name}/{number:int}")
async def put_part(
    request: Request, folder: str, name: str, number: int, emulation: TheEmulation
) -> Response:
    """Take a part of a file, by the signature in the URL."""
    upload = _signed_upload(request, folder, name, emulation)
    etag = upload.take_part(number, await request.body())
    return JSON({"partNumber": number, "etag": etag}, 200, {"etag": etag})


@router.post("/storage/{folder}/{name}/complete")
async def complete(
    request: Request,
    folder: str,
    name: str,
    body: Annotated[dict[str, Any], Depends(_json_object)],
    emulation: TheEmulation,
) -> Response:
    """Put a file together from its parts."""
    return _completed(_signed_upload(request, folder, name, emulation), body, emulation)


def _signed_upload(request: Request, folder: str, name: str, emulation: Emulation) -> Upload:
    upload = emulation.uploads.find(f"/storage/{folder}/{name}")
    signature = request.query_params.get("signature", "")
    if upload is None or not hmac.compare_digest(signature, upload.signature):
        raise HTTPException(403, "The signature is not good.")
    upload.authorized = upload.authorized or "authorization" in request.headers
    return upload


def _completed(upload: Upload, body: dict[str, Any], emulation: Emulation) -> Response:
    if not upload.complete(body.get("parts")):
        raise HTTPException(400, "The parts are not those that were sent.")
    return JSON({"access_url": emulation.public_url + upload.path})


@router.put("/storage/{folder}/{name}")
async def put(request: Request, folder: str, name: str, emulation: TheEmulation) -> Response:
    """Take a file. The signature in the URL is enough, no key is needed."""
    upload = _signed_upload(request, folder, name, emulation)
    upload.content = await request.body()
    return Response()


@router.post("/cdn/files/upload")
async def post(request: Request, emulation: TheEmulation) -> Response:
    """Take a file that comes with a token; its name is in a header."""
    upload = _begun_with_token(request, emulation)
    upload.content = await request.body()
    return JSON({"access_url": emulation.public_url + upload.path})


@router.post("/cdn/files/upload/multipart")
async def post_multipart(request: Request, emulation: TheEmulation) -> Response:
    """Make room for a file that comes in parts, as fal_client sends those of 100 MB."""
    upload = _begun_with_token(request, emulation)
    url = emulation.public_url + upload.path
    return JSON({"access_url": url, "uploadId": upload.signature})


@router.put("/storage/{folder}/{name}/multipart/{upload_id}/{number:int}")
async def put_part_with_token(
    request: Request, folder: str, name: str, upload_id: str, number: int, emulation: TheEmulation
) -> Response:
    """Take a part of it; the answer's ETag is named at the end."""
    upload = _upload_with_token(request, f"/storage/{folder}/{name}", upload_id, emulation)
    return Response(headers={"etag": upload.take_part(number, await request.body())})


@router.post("/storage/{folder}/{name}/multipart/{upload_id}/complete")
async def complete_with_token(
    request: Request,
    folder: str,
    name: str,
    upload_id: str,
    body: Annotated[dict[str, Any], Depends(_json_object)],
    emulation: TheEmulation,
) -> Response:
    """Put it together."""
    upload = _upload_with_token(request, f"/storage/{folder}/{name}", upload_id, emulation)
    return _completed(upload, body, emulation)


def _upload_with_token(request: Request, path: str, upload_id: str, emulation: Emulation) -> Upload:
    _check_token(request, emulation)
    upload = emulation.uploads.find(path)
    if upload is None or not hmac.compare_digest(upload_id, upload.signature):
        raise HTTPException(404, "There is no such upload.")
    return upload


def _begun_with_token(request: Request, emulation: Emulation) -> Upload:
    _check_token(request, emulation)
    return emulation.uploads.begin(
        request.headers.get("x-fal-file-name", "upload.bin"),
        request.headers.get("content-type", "application/octet-stream"),
        lifetime_seconds(request.headers.get("x-fal-object-lifecycle")),
    )


def _check_token(request: Request, emulation: Emulation) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not emulation.uploads.knows_token(given):
        raise HTTPException(401, "invalid token")


@router.api_route("/storage/{path:path}", methods=["GET", "HEAD"])
async def get(path: str, emulation: TheEmulation) -> Response:
    """Serve a file to anybody."""
    upload = emulation.uploads.find(f"/storage/{path}")
    if upload is None or upload.content is None:
        return JSON({"detail": "Not Found"}, 404)
    return Response(upload.content, media_type=upload.content_type)


def lifetime_seconds(preference: str | None) -> float | None:
    """How long a file is served, in seconds, by a header of its request; None for ever."""
    try:
        seconds = json.loads(preference or "{}")["expiration_duration_seconds"]
        return None if seconds is None else float(seconds)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


@router.api_route("/files/{request_id}/{file_name}", methods=["GET", "HEAD"])
async def media(
    request: Request, request_id: str, file_name: str, emulation: TheEmulation
) -> Response:
    """A generation's video. No key is needed, and whether one was sent is noted."""
    asked_range = request.headers.get("range")
    authorized = "authorization" in request.headers
    seen = MediaRequest(request_id, request.method, authorized, asked_range)
    emulation.media_requests.append(seen)
    generation = emulation.find_any(request_id)
    if generation is None or file_name != VIDEO_FILE_NAME or not _is_served(generation, emulation):
        return JSON({"detail": "Not Found"}, 404)
    return _ranged(await emulation.video(generation), asked_range)


def _is_served(generation: Generation, emulation: Emulation) -> bool:
    if generation.state is not State.COMPLETED or not generation.outcome.is_video:
        return False
    lifetime = lifetime_seconds(generation.headers.get("x-fal-object-lifecycle-preference"))
    if lifetime is None or generation.ended_at is None:
        return True
    return emulation.clock.now() <= generation.ended_at + emulation.kept_seconds(lifetime)


def _ranged(video: bytes, asked: str | None) -> Response:
    headers = {"accept-ranges": "bytes"}
    match = _RANGE.fullmatch(asked) if asked else None
    if match is None or match.groups() == ("", ""):
        return Response(video, 200, headers, "video/mp4")
    start, end = _bounds(match[1], match[2], len(video))
    if start >= end:
        return Response(status_code=416, headers={"content-range": f"bytes */{len(video)}"})
    headers["content-range"] = f"bytes {start}-{end - 1}/{len(video)}"
    return Response(video[start:end], 206, headers, "video/mp4")


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1 if last else size)


@router.post("/run/{endpoint_id:path}")
async def run(order: AnOrder, emulation: TheEmulation) -> Response:
    """Generate at once; 429 when every runner is busy."""
    generation = emulation.run_now(order)
    if generation is None:
        return JSON({"detail": OVER_THE_LIMIT}, 429)
    if not await wait_until_completed(generation, emulation):
        return JSON({"detail": "The emulator was stopped."}, 503)
    return await result_of(generation, emulation)


@router.get(_REQUEST + "/status")
async def status(generation: AGeneration, emulation: TheEmulation, logs: bool = False) -> Response:
    """Where a request is; 200 once it is over, 202 before."""
    now, url = emulation.clock.now(), emulation.queue_url
    body = status_of(generation, emulation.queue, now, url, with_logs=logs)
    return JSON(body, 200 if body["status"] == State.COMPLETED.value else 202)


@router.get(_REQUEST + "/status/stream")
async def stream(generation: AGeneration, emulation: TheEmulation, logs: bool = False) -> Response:
    """Where a request is, as server-sent events, until it is over."""
    events = status_events(generation, emulation, logs)
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"cache-control": "no-cache"}
    )


@router.get(_REQUEST)
async def result(generation: AGeneration, emulation: TheEmulation) -> Response:
    """The model's answer, once there is one and while it is kept."""
    if generation.state is not State.COMPLETED:
        return JSON({"detail": "Request is still in progress"}, 400)
    kept = emulation.kept_seconds(RESULT_KEPT_SECONDS)
    if is_expired(generation, emulation.clock.now(), kept):
        return not_found()
    return await result_of(generation, emulation)


@router.put(_REQUEST + "/cancel")
async def cancel(generation: AGeneration, emulation: TheEmulation) -> Response:
    """Cancel a request, if it can still be cancelled."""
    verdict = emulation.queue.cancel(generation)
    return JSON({"status": verdict.value}, _CANCEL_STATUS[verdict])


@router.post("/{endpoint_id:path}")
async def submit(
    order: AnOrder,
    emulation: TheEmulation,
    fal_max_queue_length: Annotated[int | None, Query()] = None,
) -> Response:
    """Take a request into the queue. The input is not looked at yet, as at fal."""
    if fal_max_queue_length is not None and emulation.queue.waiting > fal_max_queue_length:
        return JSON({"detail": "Queue is full"}, 429)
    generation, position = emulation.accept(order)
    if order.webhook is not None and emulation.tasks is not None:
        emulation.tasks.start_soon(tell_of_completion, generation, emulation, order.webhook)
    headers = {"x-fal-request-id": generation.request_id}
    return JSON(accepted(generation, position, emulation.queue_url), 200, headers)
