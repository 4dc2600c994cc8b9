"""What the routes take from a request: the emulation, the account, the body, the endpoint."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.exceptions import RequestValidationError

from prefect_hailuo.emulator.emulation import Emulation
from prefect_hailuo.emulator.generations import Generation
from prefect_hailuo.emulator.orders import Order
from prefect_hailuo.endpoints import CATALOGUE, VideoInput

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
