"""fal's platform API: models, their OpenAPI documents, prices, and an account's request history."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from starlette.responses import Response

from prefect_hailuo.emulator.emulation import Emulation
from prefect_hailuo.emulator.queue import Generation, State
from prefect_hailuo.emulator.replies import JSON, VIDEO_FILE_NAME, video_url
from prefect_hailuo.emulator.routes import Account, TheEmulation
from prefect_hailuo.models.catalogue import CATALOGUE, Endpoint, VideoInput

PREFIX = "/platform/v1"

DEFAULT_SPAN = timedelta(hours=24)
"""By fal's documentation: how far back it reaches if no start is given."""

_ERROR_TYPES = {
    400: "validation_error",
    401: "authorization_error",
    403: "authorization_error",
    404: "not_found",
    405: "not_found",
    422: "validation_error",
    429: "rate_limited",
    501: "not_implemented",
}

router = APIRouter()


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


@router.get(PREFIX + "/models")
async def models(
    chosen: Chosen,
    emulation: TheEmulation,
    expand: Annotated[list[str] | None, Query()] = None,
    q: str = "",
    category: str | None = None,
    status: Literal["active", "deprecated"] | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: str | None = None,
) -> Response:
    """What models there are, filtered, a page at a time. No key is needed."""
    with_document = "openapi-3.0" in _separated(expand)
    wanted = [
        cls
        for cls in chosen
        if all(word in _words(cls.endpoint) for word in q.lower().split())
        and category in (None, cls.endpoint.category)
        and status != "deprecated"
    ]
    page = _page(cursor)
    first = (page - 1) * limit
    has_more = len(wanted) > first + limit
    url = emulation.queue_url if with_document else None
    found = [_model(cls, url) for cls in wanted[first : first + limit]]
    following = cursor_of(page + 1) if has_more else None
    return JSON({"models": found, "next_cursor": following, "has_more": has_more})


def _words(endpoint: Endpoint) -> str:
    return f"{endpoint.id} {endpoint.title}".lower()


def _page(cursor: str | None) -> int:
    try:
        return 1 if cursor is None else page_of(cursor)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


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


@router.get(PREFIX + "/models/pricing")
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
        if (price := cls.endpoint.unit_price) is not None
    ]
    return JSON({"prices": prices, "next_cursor": None, "has_more": False})


@router.get("/api/openapi/queue/openapi.json")
async def openapi(endpoint_id: str, emulation: TheEmulation) -> Response:
    """The OpenAPI document of a model. No key is needed."""
    if endpoint_id not in CATALOGUE:
        raise HTTPException(404, f"Endpoint not found: {endpoint_id}")
    return JSON(document(CATALOGUE[endpoint_id], emulation.queue_url))


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
    return HistoryQuery(
        endpoint_ids=_separated(endpoint_id),
        start=_in_utc(start) if start else now - DEFAULT_SPAN,
        end=_in_utc(end) if end else None,
        request_id=request_id,
        status=status,
        payloads="payloads" in _separated(expand),
        limit=limit,
        page=_page(cursor),
    )


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


@router.get(PREFIX + "/models/requests/by-endpoint")
async def requests_by_endpoint(
    account: Account,
    query: Annotated[HistoryQuery, Depends(_history_query)],
    emulation: TheEmulation,
) -> Response:
    """What the account sent to an endpoint."""
    return JSON(history_page(query, account, emulation))


@router.get(PREFIX + "/{path:path}")
async def unknown(path: str) -> Response:
    """Whatever the platform has not."""
    raise HTTPException(404, f"Not found: {path}")


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
    url = video_url(generation, emulation.public_url)
    return {"video": {"url": url, "content_type": "video/mp4", "file_name": VIDEO_FILE_NAME}}


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


_OUTPUT_FIELDS: dict[str, Schema] = {
    "expanded_prompt": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "seed": {"type": "integer"},
    "timings": {"anyOf": [{"type": "object"}, {"type": "null"}]},
}
"""What Hailuo 3 puts beside the video."""


def _output_schema(endpoint: Endpoint) -> Schema:
    return {
        "title": endpoint.output_schema,
        "type": "object",
        "properties": {
            "video": {
                "title": "Video",
                "description": "The generated video",
                "allOf": [_reference("File")],
            },
            **{name: _OUTPUT_FIELDS[name] for name in endpoint.output_fields},
        },
        "x-fal-order-properties": ["video", *endpoint.output_fields],
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
