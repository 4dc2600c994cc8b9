"""The receiver of fal's calls, as an ASGI app: waiting for a video then costs no requests."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from prefect_hailuo.blocks import Credentials, resolve_credentials
from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.fal.webhooks import MOST_BYTES, RefusedCallError
from prefect_hailuo.loop import process_loop
from prefect_hailuo.receiving import Receiving, Taken
from prefect_hailuo.resuming import resume
from prefect_hailuo.settings import current_settings

HELLO = "Here fal tells when a video is done.\n"

logger = logging.getLogger(__name__)


def webhook_app(credentials: Credentials = None) -> Starlette:
    """An ASGI app that takes fal's calls and writes into the ledger what they tell.

    Mount it in an app of yours, or serve it by `prefect-hailuo webhooks`; then name its public
    address (of a mounted app, with the slash at its end) in
    `PREFECT_INTEGRATIONS_HAILUO_WEBHOOK_URL`, for whatever submits. It needs no API key: a call is
    taken if fal's published key has signed it, within five minutes, and the ledger knows its
    request. It buys nothing, asks fal for nothing but its public keys, and takes a call that comes
    again as it took the first. Flow runs that `suspend_for_video` has suspended are resumed; for
    that, `PREFECT_API_URL` must be set.

    It answers 200 to what it has written down; 404 where the ledger does not know the request yet,
    and 503 where the ledger, fal's keys or Prefect's API are out of reach, so that fal calls again;
    400, 401 or 413 to what is no call of fal's.

    Args:
        credentials: A block, or a saved block's name: tells the realm, and where its keys are. By
            default fal's, or those of the emulator that the settings name.

    Raises:
        ConfigurationError: There is no such block.
        LedgerError: What is set is no place for a ledger.

    Example:
        >>> from fastapi import FastAPI
        >>> app = FastAPI()
        >>> app.mount("/hailuo", webhook_app())
    """
    block = resolve_credentials(credentials)
    ledger = current_settings().ledger_of(block.realm)
    receiver = _Receiver(Receiving(block.realm, block.hosts().rest_url, ledger))
    return Starlette(
        routes=[
            Route("/{path:path}", receiver.receive, methods=["POST"]),
            Route("/{path:path}", _greet, methods=["GET"]),
        ]
    )


async def _greet(request: Request) -> Response:
    """Something for people, and for whoever checks that it lives."""
    return PlainTextResponse(HELLO)


class _Receiver:
    """Answers calls.

    Args:
        receiving: Takes them.
    """

    def __init__(self, receiving: Receiving) -> None:
        self._receiving = receiving

    async def receive(self, request: Request) -> Response:
        """Take a call, and say so, or why not."""
        try:
            taken = await self._take(request.headers, await _body_of(request))
        except RefusedCallError as refusal:
            logger.warning("A call was refused: %s", refusal.why)
            return PlainTextResponse(f"{refusal.why}\n", refusal.status)
        except HailuoError as error:
            logger.error("A call could not be taken: %s", error)
            return PlainTextResponse("Not now: call again.\n", 503)
        except ClientDisconnect:
            return Response(status_code=400)
        return await self._answer(taken)

    async def _answer(self, taken: Taken) -> Response:
        logger.info("%s: %s", taken.request_id, "noted" if taken.news else "known already")
        try:
            for run in await run_sync(resume, taken.runs, (taken.attempt.realm, taken.request_id)):
                logger.info("Flow run %s is resumed.", run)
        except Exception as error:  # of what kind, Prefect does not say
            logger.error("Flow runs could not be resumed: %s", type(error).__name__)
            return PlainTextResponse("Not now: call again.\n", 503)
        return PlainTextResponse("Noted.\n" if taken.news else "Known already.\n")

    async def _take(self, headers: Mapping[str, str], body: bytes) -> Taken:
        async def job(connections: Connections, emit: Emit) -> Taken:
            return await self._receiving.take(headers, body, connections)

        return await process_loop().arun(job)


async def _body_of(request: Request) -> bytes:
    """The body; no more of it is read than a call can have.

    Raises:
        RefusedCallError: It is longer.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise RefusedCallError("The body is longer than any call of fal's.", 413)
    return bytes(body)
