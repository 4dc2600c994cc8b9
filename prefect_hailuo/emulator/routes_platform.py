"""The platform API: models, prices, the request history; and the OpenAPI documents."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from starlette.responses import Response

from prefect_hailuo.emulator.history import DEFAULT_SPAN, HistoryQuery, history_page, page_of
from prefect_hailuo.emulator.incoming import Account, TheEmulation
from prefect_hailuo.emulator.openapi import document
from prefect_hailuo.emulator.replies import JSON
from prefect_hailuo.endpoints import CATALOGUE, VideoInput

PREFIX = "/platform/v1"

router = APIRouter()

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


@router.get(PREFIX + "/models")
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


@router.get(PREFIX + "/models/requests/by-endpoint")
async def requests_by_endpoint(
    account: Account,
    query: Annotated[HistoryQuery, Depends(_history_query)],
    emulation: TheEmulation,
) -> Response:
    """What the account sent to an endpoint."""
    return JSON(history_page(query, account, emulation))


@router.get("/api/openapi/queue/openapi.json")
async def openapi(endpoint_id: str, emulation: TheEmulation) -> Response:
    """The OpenAPI document of a model. No key is needed."""
    if endpoint_id not in CATALOGUE:
        raise HTTPException(404, f"Endpoint not found: {endpoint_id}")
    return JSON(document(CATALOGUE[endpoint_id], emulation.url))
