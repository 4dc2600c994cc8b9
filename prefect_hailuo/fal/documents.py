"""What fal says of its models to anybody: whether they are there, and their OpenAPI documents.

The documents are right about schemas. The addresses in them are not: nobody may build one of them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
from pydantic import Field, SecretStr, TypeAdapter

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.fal.hosts import Access, Hosts
from prefect_hailuo.fal.messages import Message, Realm
from prefect_hailuo.fal.patience import read_patiently
from prefect_hailuo.fal.replies import check_realm, error_of, parse

DEFAULT_TIMEOUT_SECONDS = 30.0
"""How long a question may take, repetitions included."""

GONE = (404, 410)


class Metadata(Message):
    """What fal says about a model.

    Args:
        display_name: Its title.
        status: Such as `active` or `deprecated`.
    """

    display_name: str | None = None
    status: str | None = None


class ModelDocument(Message):
    """A model as fal describes it.

    Args:
        endpoint_id: fal's endpoint id.
        metadata: What fal says about it.
        openapi: Its OpenAPI document; None where fal gives none.
    """

    endpoint_id: str = Field(min_length=1)
    metadata: Metadata = Metadata()
    openapi: dict[str, Any] | None = None


class _Models(Message):
    models: tuple[ModelDocument, ...]


MODELS = TypeAdapter(_Models)


async def read_document(
    endpoint: str,
    hosts: Hosts,
    realm: Realm,
    http: httpx.AsyncClient,
    *,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    clock: Clock | None = None,
) -> ModelDocument | None:
    """A model as fal describes it today; None where fal has it no more. No key is sent.

    Args:
        endpoint: fal's endpoint id.
        hosts: Where fal is.
        realm: Whether that is fal or the emulator.
        http: The HTTP client to use.
        timeout_seconds: How long it may take.
        clock: What waiting is measured with.

    Raises:
        MalformedReplyError: The answer is none of fal's.
        RealmMismatchError: The answer is of the other realm.
        GenerationTimeoutError: Transient faults lasted longer than `timeout_seconds`.
        FalError: fal refused to say.
    """
    access = Access(SecretStr("nobody:none"), hosts, realm)  # it is not sent, and hides no text
    deadline = Deadline(timeout_seconds, clock or SystemClock())
    found = await read_patiently(partial(_read, endpoint, access, http), deadline)
    models = found.models if found else ()
    return next((each for each in models if each.endpoint_id == endpoint), None)


async def _read(endpoint: str, access: Access, http: httpx.AsyncClient) -> _Models | None:
    params = {"endpoint_id": endpoint, "expand": "openapi-3.0"}
    response = await http.get(f"{access.hosts.platform_url}/models", params=params)
    check_realm(response, access)
    if response.status_code in GONE:
        return None
    if not response.is_success:
        raise error_of(response, access)
    return parse(response, MODELS, access)
