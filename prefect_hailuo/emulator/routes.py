"""The platform's request history: what an account sent to an endpoint, and what became of it.

What the routes take from a request: the emulation, the account, the body, the endpoint.

fal's OpenAPI document of a model, made from its input class.

The files that the emulator serves: public, in ranges too.

The platform API: models, prices, the request history; and the OpenAPI documents.

The synchronous run: input in, output out, past the queue.

fal's storage, as fal_client 1.0.3 uses it for files of up to 100 MB.

There are two ways in. By a token of the API, a file is posted to the CDN; or the API says where a
file is to be put, and it is put there. Both end in a public URL.

Telling of completions by webhook, signed as fal signs.

The queue: submit, status, stream, result, cancel.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import httpx
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from prefect_hailuo.emulator.emulation import (
    TOKEN_SECONDS,
    Delivery,
    Emulation,
    MediaRequest,
    Order,
)
from prefect_hailuo.emulator.queue import Generation, State
from prefect_hailuo.emulator.replies import (
    JSON,
    VIDEO_FILE_NAME,
    accepted,
    as_json,
    error_text,
    is_expired,
    not_found,
    result_of,
    status_events,
    status_of,
    video_output,
    video_url,
    wait_until_completed,
)
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.models.catalogue import CATALOGUE, Endpoint, VideoInput

DEFAULT_SPAN = timedelta(hours=24)
"""By fal's documentation: how far back it reaches if no start is given."""


@dataclass(frozen=True)
class HistoryQuery:
    """What is asked of the history.

    Args:
        endpoint_ids: Of these endpoints.
        start: Sent at this time or later.
        end: Sent before this time; None for no limit.
        request_id: Only this one.
        status: `success`, `user_error` (4xx) or `error` (5xx); None for all.
        payloads: Whether inputs and outputs are wanted.
        limit: How many to a page.
        page: Which page, counted from 1.
    """

    endpoint_ids: frozenset[str]
    start: datetime
    end: datetime | None
    request_id: str | None = None
    status: str | None = None
    payloads: bool = False
    limit: int = 50
    page: int = 1


def history_page(query: HistoryQuery, account: str, emulation: Emulation) -> dict[str, Any]:
    """One page of the history, the last to end first, those not ended before them."""
    now = emulation.queue.settle()
    listed = _listed(account, now, emulation)
    chosen = sorted(_matching(query, listed, emulation), key=_newest_first)
    limit = min(query.limit, emulation.history.page_size or query.limit)
    first = (query.page - 1) * limit
    has_more = len(chosen) > first + limit
    return {
        "items": [_item(each, query, emulation) for each in chosen[first : first + limit]],
        "next_cursor": cursor_of(query.page + 1) if has_more else None,
        "has_more": has_more,
    }


def cursor_of(page: int) -> str:
    """fal's cursor: the number of a page, in base64.

    Example:
        >>> cursor_of(2)
        'Mg=='
    """
    return base64.b64encode(str(page).encode()).decode()


def page_of(cursor: str) -> int:
    """The page that a cursor names.

    Raises:
        ValueError: It names none.

    Example:
        >>> page_of("Mg==")
        2
    """
    try:
        return max(1, int(base64.b64decode(cursor, validate=True)))
    except binascii.Error as error:
        raise ValueError(f"not a cursor: {cursor!r}") from error


def _listed(account: str, now: float, emulation: Emulation) -> Iterator[Generation]:
    rules = emulation.history
    seen_until = now - emulation.kept_seconds(rules.lag_seconds)
    for generation in emulation.generations:
        omitted = rules.omits_queued and generation.started_at is None
        seen = generation.submitted_at <= seen_until
        if generation.account == account and seen and not omitted:
            yield generation


def _matching(
    query: HistoryQuery, listed: Iterable[Generation], emulation: Emulation
) -> Iterator[Generation]:
    ahead = timedelta(seconds=emulation.history.skew_seconds)
    start = query.start - ahead
    end = None if query.end is None else query.end - ahead
    for generation in listed:
        if (
            generation.endpoint.id in query.endpoint_ids
            and start <= generation.sent_at
            and (end is None or generation.sent_at < end)
            and query.request_id in (None, generation.request_id)
            and query.status in (None, _status(generation))
        ):
            yield generation


def _status(generation: Generation) -> str | None:
    if generation.state is not State.COMPLETED:
        return None
    if generation.outcome.is_video:
        return "success"
    return "error" if generation.outcome.status >= 500 else "user_error"


def _newest_first(generation: Generation) -> tuple[bool, float, int]:
    ended_at = generation.ended_at
    return ended_at is not None, -(ended_at or 0.0), -generation.number


def _sent_at(generation: Generation, emulation: Emulation) -> datetime:
    return generation.sent_at + timedelta(seconds=emulation.history.skew_seconds)


def _item(generation: Generation, query: HistoryQuery, emulation: Emulation) -> dict[str, Any]:
    item: dict[str, Any] = {
        "request_id": generation.request_id,
        "endpoint_id": generation.endpoint.id,
        "sent_at": _written(_sent_at(generation, emulation)),
        "started_at": _moment(generation, generation.started_at, emulation),
    }
    if generation.state is State.COMPLETED and generation.ended_at is not None:
        item["ended_at"] = _moment(generation, generation.ended_at, emulation)
        item["status_code"] = generation.outcome.status
        item["duration"] = generation.worked_seconds()
    if query.payloads and not emulation.history.omits_payloads:
        item.update(_payloads(generation, emulation))
    return item


def _moment(generation: Generation, instant: float | None, emulation: Emulation) -> str | None:
    if instant is None:
        return None
    seconds = (instant - generation.submitted_at) / emulation.clock.speed
    return _written(_sent_at(generation, emulation) + timedelta(seconds=seconds))


def _written(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def _payloads(generation: Generation, emulation: Emulation) -> dict[str, Any]:
    if generation.headers.get("x-fal-store-io") == "0":
        return {"json_input": None, "json_output": None}
    return {"json_input": generation.body, "json_output": _output(generation, emulation)}


def _output(generation: Generation, emulation: Emulation) -> Any:
    if generation.state is not State.COMPLETED:
        return None
    if not generation.outcome.is_video:
        return generation.outcome.body
    # Without the size: to know it, up to a hundred videos would have to be drawn.
    url = video_url(generation, emulation.url)
    return {"video": {"url": url, "content_type": "video/mp4", "file_name": VIDEO_FILE_NAME}}


NO_CREDIT = (
    "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
)


async def _emulation(request: Request) -> Emulation:
    emulation: Emulation = request.app.state.emulation
    return emulation


TheEmulation = Annotated[Emulation, Depends(_emulation)]


async def _account(request: Request, emulation: TheEmulation) -> str:
    key = _key_of(request)
    if key not in emulation.setup.keys and key != emulation.setup.locked_key:
        raise HTTPException(401, "invalid key credentials")
    return key


def _key_of(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "key" else ""


Account = Annotated[str, Depends(_account)]
"""The API key of a known account; fal's 401 else."""


async def _paying_account(account: Account, emulation: TheEmulation) -> str:
    if account == emulation.setup.locked_key:
        raise HTTPException(403, NO_CREDIT)
    return account


PayingAccount = Annotated[str, Depends(_paying_account)]
"""The API key of an account with credit; fal's 403 else."""


async def _input_class(endpoint_id: str) -> type[VideoInput]:
    if endpoint_id not in CATALOGUE:
        raise HTTPException(404, _unknown(endpoint_id))
    return CATALOGUE[endpoint_id]


def _unknown(endpoint_id: str) -> str:
    parts = endpoint_id.split("/")
    app = "/".join(parts[:2])
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
"""A request for a generation, whose key, endpoint and body are in order."""


async def _generation(
    owner: str, app: str, request_id: str, account: Account, emulation: TheEmulation
) -> Generation:
    generation = emulation.find(request_id, account)
    if generation is None or generation.endpoint.app != f"{owner}/{app}":
        raise UnknownRequestError
    return generation


class UnknownRequestError(Exception):
    """The account has no such request; answered with fal's 404."""


AGeneration = Annotated[Generation, Depends(_generation)]
"""The account's generation that the path names, with everything due having happened to it."""


Schema = dict[str, Any]

_FILE: Schema = {
    "title": "File",
    "type": "object",
    "properties": {
        "url": {"title": "Url", "type": "string", "description": "Where the file is."},
        "content_type": {
            "title": "Content Type",
            "type": "string",
            "description": "The mime type of the file.",
        },
        "file_name": {"title": "File Name", "type": "string"},
        "file_size": {"title": "File Size", "type": "integer", "description": "Bytes."},
    },
    "x-fal-order-properties": ["url", "content_type", "file_name", "file_size"],
    "required": ["url"],
}

_QUEUE_STATUS: Schema = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]},
        "request_id": {"type": "string", "description": "The request id."},
        "response_url": {"type": "string", "description": "Where the result is."},
        "status_url": {"type": "string", "description": "Where the status is."},
        "cancel_url": {"type": "string", "description": "Where to cancel."},
        "logs": {"type": "object", "additionalProperties": True},
        "metrics": {"type": "object", "additionalProperties": True},
        "queue_position": {"type": "integer", "description": "Place in the queue."},
    },
    "required": ["status", "request_id"],
}

_REQUEST_ID: Schema = {
    "name": "request_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "description": "Request ID"},
}


def document(input_class: type[VideoInput], url: str) -> Schema:
    """The OpenAPI 3.0.4 document of an endpoint, as fal would serve it.

    Its paths have the full-path form, which the queue answers with 405: fal's own documents have
    this flaw, and so nobody may build URLs from them.

    Args:
        input_class: The endpoint's.
        url: The queue's.

    Example:
        >>> from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo
        >>> sorted(document(Hailuo23ProTextToVideo, "https://queue.fal.run")["components"])
        ['schemas', 'securitySchemes']
    """
    endpoint = input_class.endpoint
    return {
        "openapi": "3.0.4",
        "info": {
            "title": f"Queue OpenAPI for {endpoint.id}",
            "version": "1.0.0",
            "description": f"The OpenAPI schema for the {endpoint.id} queue.",
            "x-fal-metadata": {
                "endpointId": endpoint.id,
                "category": endpoint.category,
                "playgroundUrl": endpoint.page,
                "documentationUrl": f"{endpoint.page}/api",
            },
        },
        "components": {
            "securitySchemes": {
                "apiKeyAuth": {"type": "apiKey", "in": "header", "name": "Authorization"}
            },
            "schemas": {
                "QueueStatus": _QUEUE_STATUS,
                endpoint.input_schema: _input_schema(input_class),
                endpoint.output_schema: _output_schema(endpoint),
                "File": _FILE,
            },
        },
        "paths": _paths(endpoint),
        "servers": [{"url": url}],
        "security": [{"apiKeyAuth": []}],
    }


def _input_schema(input_class: type[VideoInput]) -> Schema:
    schema = input_class.model_json_schema()
    properties = schema["properties"]
    for name, example in input_class.endpoint.example.items():
        properties[name]["examples"] = [example]
    return {
        "title": input_class.endpoint.input_schema,
        "type": "object",
        "properties": properties,
        "x-fal-order-properties": list(properties),
        "required": schema.get("required", []),
    }


def _output_schema(endpoint: Endpoint) -> Schema:
    return {
        "title": endpoint.output_schema,
        "type": "object",
        "properties": {
            "video": {
                "title": "Video",
                "description": "The generated video",
                "allOf": [_reference("File")],
            }
        },
        "x-fal-order-properties": ["video"],
        "required": ["video"],
    }


def _paths(endpoint: Endpoint) -> Schema:
    submit = {
        "requestBody": {"required": True, "content": _json(endpoint.input_schema)},
        "responses": _response("The request status.", "QueueStatus"),
    }
    status = {
        "parameters": [_REQUEST_ID, {"name": "logs", "in": "query", "schema": {"type": "number"}}],
        "responses": _response("The request status.", "QueueStatus"),
    }
    result = {
        "parameters": [_REQUEST_ID],
        "responses": _response("Result of the request.", endpoint.output_schema),
    }
    cancel = {
        "parameters": [_REQUEST_ID],
        "responses": {"200": {"description": "The request was cancelled."}},
    }
    request_path = f"/{endpoint.id}/requests/{{request_id}}"
    return {
        f"{request_path}/status": {"get": status},
        f"{request_path}/cancel": {"put": cancel},
        f"/{endpoint.id}": {"post": submit},
        request_path: {"get": result},
    }


def _response(description: str, schema: str) -> Schema:
    return {"200": {"description": description, "content": _json(schema)}}


def _json(schema: str) -> Schema:
    return {"application/json": {"schema": _reference(schema)}}


def _reference(schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{schema}"}


files_router = APIRouter(prefix="/files")

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@files_router.api_route("/{request_id}/{file_name}", methods=["GET", "HEAD"])
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


def lifetime_seconds(preference: str | None) -> float | None:
    """How long a file is to be served, by a header of its request; None: for ever."""
    try:
        seconds = json.loads(preference or "{}")["expiration_duration_seconds"]
        return None if seconds is None else float(seconds)
    except (ValueError, TypeError, KeyError):
        return None


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


PREFIX = "/platform/v1"

platform_router = APIRouter()

_ERROR_TYPES = {401: "authorization_error", 404: "not_found", 422: "validation_error"}


def platform_error(status: int, message: str) -> Response:
    """A refusal in the platform's own form."""
    kind = _ERROR_TYPES.get(status, "server_error")
    error = {"type": kind, "message": message, "request_id": str(uuid.uuid4())}
    return JSON({"error": error}, status)


async def _chosen(
    endpoint_id: Annotated[list[str] | None, Query()] = None,
) -> list[type[VideoInput]]:
    names = _separated(endpoint_id)
    unknown = sorted(names - CATALOGUE.keys())
    if unknown:
        raise HTTPException(404, f"Endpoint not found: {', '.join(unknown)}")
    return [cls for name, cls in CATALOGUE.items() if name in names or not names]


def _separated(values: Iterable[str] | None) -> frozenset[str]:
    return frozenset(name for value in values or () for name in value.split(",") if name)


Chosen = Annotated[list[type[VideoInput]], Depends(_chosen)]
"""The endpoints that are asked about: all, if none is named."""


@platform_router.get(PREFIX + "/models")
async def models(
    chosen: Chosen,
    emulation: TheEmulation,
    expand: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """What models there are. No key is needed."""
    with_document = "openapi-3.0" in _separated(expand)
    found = [_model(cls, emulation.url if with_document else None) for cls in chosen]
    return JSON({"models": found, "next_cursor": None, "has_more": False})


def _model(input_class: type[VideoInput], url: str | None) -> dict[str, Any]:
    endpoint = input_class.endpoint
    metadata = {
        "display_name": endpoint.title,
        "category": endpoint.category,
        "status": "active",
        "model_url": f"https://fal.run/{endpoint.id}",
    }
    model: dict[str, Any] = {"endpoint_id": endpoint.id, "metadata": metadata}
    return model if url is None else {**model, "openapi": document(input_class, url)}


@platform_router.get(PREFIX + "/models/pricing")
async def pricing(account: Account, chosen: Chosen) -> Response:
    """What they cost."""
    prices = [
        {
            "endpoint_id": cls.endpoint.id,
            "unit_price": float(price.usd),
            "unit": price.unit,
            "currency": "USD",
        }
        for cls in chosen
        if (price := cls.endpoint.default.price) is not None
    ]
    return JSON({"prices": prices, "next_cursor": None, "has_more": False})


async def _history_query(
    endpoint_id: Annotated[list[str], Query(min_length=1)],
    start: datetime | None = None,
    end: datetime | None = None,
    request_id: str | None = None,
    status: Literal["success", "error", "user_error"] | None = None,
    expand: Annotated[list[str] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: str | None = None,
) -> HistoryQuery:
    now = datetime.now(timezone.utc)
    try:
        page = 1 if cursor is None else page_of(cursor)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    return HistoryQuery(
        endpoint_ids=_separated(endpoint_id),
        start=_in_utc(start) if start else now - DEFAULT_SPAN,
        end=_in_utc(end) if end else None,
        request_id=request_id,
        status=status,
        payloads="payloads" in _separated(expand),
        limit=limit,
        page=page,
    )


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


@platform_router.get(PREFIX + "/models/requests/by-endpoint")
async def requests_by_endpoint(
    account: Account,
    query: Annotated[HistoryQuery, Depends(_history_query)],
    emulation: TheEmulation,
) -> Response:
    """What the account sent to an endpoint."""
    return JSON(history_page(query, account, emulation))


@platform_router.get("/api/openapi/queue/openapi.json")
async def openapi(endpoint_id: str, emulation: TheEmulation) -> Response:
    """The OpenAPI document of a model. No key is needed."""
    if endpoint_id not in CATALOGUE:
        raise HTTPException(404, f"Endpoint not found: {endpoint_id}")
    return JSON(document(CATALOGUE[endpoint_id], emulation.url))


run_router = APIRouter(prefix="/run")

OVER_THE_LIMIT = "Too many requests: the account's concurrency limit is reached."


@run_router.post("/{endpoint_id:path}")
async def run(order: AnOrder, emulation: TheEmulation) -> Response:
    """Generate at once; 429 when every runner is busy."""
    generation = emulation.run_now(order)
    if generation is None:
        return JSON({"detail": OVER_THE_LIMIT}, 429)
    if not await wait_until_completed(generation, emulation):
        return JSON({"detail": "The emulator was stopped."}, 503)
    return await result_of(generation, emulation)


storage_router = APIRouter()


class UploadRequest(BaseModel):
    """What is to be uploaded."""

    file_name: str
    content_type: str


@storage_router.post("/rest/storage/auth/token")
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


@storage_router.post("/cdn/files/upload")
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


@storage_router.post("/rest/storage/upload/initiate")
async def initiate(
    request: Request, account: Account, wanted: UploadRequest, emulation: TheEmulation
) -> Response:
    """Say where a file is to be put, and where it will be."""
    seconds = lifetime_seconds(request.headers.get("x-fal-object-lifecycle-preference"))
    upload = emulation.uploads.begin(wanted.file_name, wanted.content_type, seconds)
    url = emulation.url + upload.path
    return JSON({"upload_url": f"{url}?signature={upload.signature}", "file_url": url})


@storage_router.put("/storage/{path:path}")
async def put(request: Request, path: str, emulation: TheEmulation) -> Response:
    """Take a file, by the signature alone."""
    upload = emulation.uploads.find(f"/storage/{path}")
    signature = request.query_params.get("signature", "")
    if upload is None or not hmac.compare_digest(signature, upload.signature):
        raise HTTPException(403, "The signature is not good.")
    upload.authorized = "authorization" in request.headers
    upload.content = await request.body()
    return Response()


@storage_router.api_route("/storage/{path:path}", methods=["GET", "HEAD"])
async def get(path: str, emulation: TheEmulation) -> Response:
    """Serve a file to anybody."""
    upload = emulation.uploads.find(f"/storage/{path}")
    if upload is None or upload.content is None:
        return JSON({"detail": "Not Found"}, 404)
    return Response(upload.content, media_type=upload.content_type)


RETRY_SECONDS = (0.1, 0.3, 1.0, 3.0)
"""After how long an unacknowledged delivery is repeated; fal goes on for two hours."""

_PATIENCE_SECONDS = 10.0


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine: the emulator speaks to no other.

    Example:
        >>> is_loopback("http://127.0.0.1:8000/hook"), is_loopback("https://example.com/hook")
        (True, False)
    """
    try:
        parts = urlsplit(url)
        # Reading the port, too, raises ValueError if it cannot be one.
        host, _ = parts.hostname or "", parts.port
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def tell_of_completion(generation: Generation, emulation: Emulation, url: str) -> None:
    """Wait for a generation to be over, then tell its webhook, as often as the faults want."""
    if not await wait_until_completed(generation, emulation):
        return
    if not is_loopback(url):
        emulation.deliveries.append(Delivery(generation.request_id, url, None))
        return
    body = as_json(await _payload(generation, emulation))
    async with httpx.AsyncClient(trust_env=False, timeout=_PATIENCE_SECONDS) as client:
        for _ in range(generation.twists.webhook_deliveries):
            await _deliver(client, generation, emulation, url, body)


async def _deliver(
    client: httpx.AsyncClient, generation: Generation, emulation: Emulation, url: str, body: bytes
) -> None:
    for wait in (*RETRY_SECONDS, None):
        headers = emulation.signer.headers(generation.request_id, body, time.time())
        status = await _post(client, url, body, headers)
        emulation.deliveries.append(Delivery(generation.request_id, url, status))
        if wait is None or emulation.alarms.stopped or (status is not None and status < 300):
            return
        await emulation.alarms.pause(wait)


async def _post(
    client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]
) -> int | None:
    try:
        reply = await client.post(
            url, content=body, headers={"Content-Type": "application/json", **headers}
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return reply.status_code


async def _payload(generation: Generation, emulation: Emulation) -> dict[str, Any]:
    names = {"request_id": generation.request_id, "gateway_request_id": generation.request_id}
    if not generation.outcome.is_video:
        error = {"error": error_text(generation), "payload": generation.outcome.body}
        return {**names, "status": "ERROR", **error}
    return {**names, "status": "OK", "payload": await video_output(generation, emulation)}


RESULT_KEPT_SECONDS = 3600.0
"""By fal's documentation: an hour after completion (six minutes from 10 KB up, which no result
here reaches)."""

_CANCEL_STATUS = {
    Cancellation.REMOVED: 200,
    Cancellation.REQUESTED: 202,
    Cancellation.TOO_LATE: 400,
}

queue_router = APIRouter()
"""The routes of fal's queue. They end in a catch-all, so they are included last."""

_REQUEST = "/{owner}/{app}/requests/{request_id}"


@queue_router.get(_REQUEST + "/status")
async def status(generation: AGeneration, emulation: TheEmulation, logs: bool = False) -> Response:
    """Where a request is; 200 once it is over, 202 before."""
    body = status_of(generation, emulation.queue, emulation.clock.now(), with_logs=logs)
    return JSON(body, 200 if body["status"] == State.COMPLETED.value else 202)


@queue_router.get(_REQUEST + "/status/stream")
async def stream(generation: AGeneration, emulation: TheEmulation, logs: bool = False) -> Response:
    """Where a request is, as server-sent events, until it is over."""
    events = status_events(generation, emulation, logs)
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"cache-control": "no-cache"}
    )


@queue_router.get(_REQUEST)
async def result(generation: AGeneration, emulation: TheEmulation) -> Response:
    """The model's answer, once there is one and while it is kept."""
    if generation.state is not State.COMPLETED:
        return JSON({"detail": "Request is still in progress"}, 400)
    kept = emulation.kept_seconds(RESULT_KEPT_SECONDS)
    if is_expired(generation, emulation.clock.now(), kept):
        return not_found()
    return await result_of(generation, emulation)


@queue_router.put(_REQUEST + "/cancel")
async def cancel(generation: AGeneration, emulation: TheEmulation) -> Response:
    """Cancel a request, as far as that goes."""
    verdict = emulation.queue.cancel(generation)
    return JSON({"status": verdict.value}, _CANCEL_STATUS[verdict])


@queue_router.post("/{endpoint_id:path}")
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
    return JSON(accepted(generation, position, emulation.url), 200, headers)
