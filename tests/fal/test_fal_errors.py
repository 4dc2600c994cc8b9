"""Every way in which fal says no, over HTTP: what it is called, what cures it, what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from raw_server import TICKET, HurriedClock, RawServer, Reply, answer

from prefect_hailuo import errors
from prefect_hailuo.errors import (
    Billed,
    FalError,
    GenerationTimeoutError,
    HailuoError,
    InputRefusedError,
    Problem,
)
from prefect_hailuo.fal.client import AsyncFalClient


@dataclass(frozen=True)
class No:
    """One of fal's refusals, and what is to be made of it."""

    reply: Reply
    kind: type[FalError]
    cure: str
    billed: Billed
    retryable: bool = False
    error_type: str | None = None
    problems: tuple[Problem, ...] = field(default=())
    is_final: bool = True


def detail(*problems: Problem) -> dict[str, Any]:
    """fal's list of problems, as a model sends it."""
    return {"detail": [{**each._asdict(), "ctx": {}, "input": {}, "url": "x"} for each in problems]}


LONG = Problem(("body", "prompt"), "String should have at most 2000 characters", "string_too_long")
POLICY = Problem(("body", "prompt"), "It was flagged.", "content_policy_violation")
NO_MEDIA = Problem(("body",), "No video came out.", "no_media_generated")
FAULT = Problem(("body",), "Internal server error", "internal_server_error")
DOWNSTREAM = Problem(("body",), "MiniMax failed", "downstream_service_error")
LOCKED = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard."
REQUEST_TIMEOUT = {"detail": "Request timed out", "error_type": "request_timeout"}

ANSWERS = {
    "bad key": No(
        answer(401, {"detail": "invalid key credentials"}),
        errors.BadKeyError,
        "https://fal.ai/dashboard/keys",
        Billed.UNKNOWN,
        is_final=False,
    ),
    "no credit": No(
        answer(403, {"detail": LOCKED}),
        errors.NoCreditError,
        "https://fal.ai/dashboard/billing",
        Billed.UNKNOWN,
        is_final=False,
    ),
    "payment required": No(
        answer(402, b""),
        errors.NoCreditError,
        "https://fal.ai/dashboard/billing",
        Billed.UNKNOWN,
        is_final=False,
    ),
    "forbidden": No(
        answer(403, {"detail": "This key may not call fal-ai/minimax"}),
        errors.BadKeyError,
        "https://fal.ai/dashboard/keys",
        Billed.UNKNOWN,
        is_final=False,
    ),
    "input": No(
        answer(422, detail(LONG, NO_MEDIA)),
        InputRefusedError,
        "Change the input as fal says",
        Billed.UNKNOWN,
        error_type="string_too_long",
        problems=(LONG, NO_MEDIA),
    ),
    "input, one string": No(
        answer(422, {"detail": "The prompt is too long"}),
        InputRefusedError,
        "The prompt is too long. Change the input",
        Billed.UNKNOWN,
    ),
    "content": No(
        answer(422, detail(POLICY), {"X-Fal-Retryable": "false"}),
        errors.ContentPolicyError,
        "Rephrase the prompt",
        Billed.UNKNOWN,
        error_type="content_policy_violation",
        problems=(POLICY,),
    ),
    "content, charged": No(
        answer(422, detail(POLICY), {"x-fal-billable-units": "1"}),
        errors.ContentPolicyError,
        "Rephrase the prompt",
        Billed.YES,
        error_type="content_policy_violation",
        problems=(POLICY,),
    ),
    "content, free": No(
        answer(422, detail(POLICY), {"x-fal-billable-units": "0"}),
        errors.ContentPolicyError,
        "Rephrase the prompt",
        Billed.NO,
        error_type="content_policy_violation",
        problems=(POLICY,),
    ),
    "model's fault": No(
        answer(500, detail(FAULT), {"X-Fal-Retryable": "true"}),
        errors.FalFaultError,
        "Run it again later",
        Billed.NO,
        retryable=True,
        error_type="internal_server_error",
    ),
    "model's fault, for good": No(
        answer(500, detail(FAULT), {"X-Fal-Retryable": "false"}),
        errors.FalFaultError,
        "Run it again later",
        Billed.NO,
        error_type="internal_server_error",
    ),
    "MiniMax's fault": No(
        answer(400, detail(DOWNSTREAM)),
        errors.FalFaultError,
        "Run it again later",
        Billed.UNKNOWN,
        retryable=True,
        error_type="downstream_service_error",
    ),
    "MiniMax's fault, charged": No(
        answer(500, detail(DOWNSTREAM), {"x-fal-billable-units": "0.5"}),
        errors.FalFaultError,
        "Run it again later",
        Billed.YES,
        retryable=True,
        error_type="downstream_service_error",
    ),
    "too slow": No(
        answer(504, REQUEST_TIMEOUT),
        errors.FalFaultError,
        "Run it again later",
        Billed.NO,
        retryable=True,
        error_type="request_timeout",
    ),
    "no runner, told by a header": No(
        answer(503, b"", {"X-Fal-Error-Type": "runner_scheduling_failure"}),
        errors.FalFaultError,
        "Run it again later",
        Billed.NO,
        retryable=True,
        error_type="runner_scheduling_failure",
    ),
    "cancelled": No(
        answer(499, {"detail": "Request was cancelled", "error_type": "client_cancelled"}),
        errors.RequestCancelledError,
        "Run it again if the video is wanted",
        Billed.UNKNOWN,
        error_type="client_cancelled",
    ),
    "cancelled, no more said": No(
        answer(499, b""),
        errors.RequestCancelledError,
        "Run it again if the video is wanted",
        Billed.UNKNOWN,
        is_final=False,
    ),
    "not ready": No(
        answer(400, {"detail": "Request is still in progress"}),
        errors.NotReadyError,
        "Wait for completion first",
        Billed.UNKNOWN,
        retryable=True,
    ),
    "not found": No(
        answer(404, {"status": "NOT_FOUND"}),
        errors.RequestNotFoundError,
        "Check the request id",
        Billed.UNKNOWN,
    ),
    "bad request": No(
        answer(400, {"detail": "Bad request", "error_type": "bad_request"}),
        errors.RequestRefusedError,
        "See fal's message",
        Billed.UNKNOWN,
        error_type="bad_request",
    ),
    "wrong method": No(
        answer(405, {"detail": "Method Not Allowed"}),
        errors.RequestRefusedError,
        "Method Not Allowed",
        Billed.UNKNOWN,
        is_final=False,
    ),
    "to be retried": No(
        answer(409, {"detail": "Conflict"}, {"X-Fal-Needs-Retry": "1"}),
        errors.RequestRefusedError,
        "Conflict",
        Billed.UNKNOWN,
        retryable=True,
        is_final=False,
    ),
    "platform's": No(
        answer(400, {"error": {"type": "validation_error", "message": "No such endpoint"}}),
        errors.RequestRefusedError,
        "No such endpoint",
        Billed.UNKNOWN,
        is_final=False,
    ),
    "redirect": No(
        answer(302, b"", {"Location": "https://elsewhere.example/x"}),
        errors.RequestRefusedError,
        "a redirect to https://elsewhere.example/x, which is not followed with the key",
        Billed.UNKNOWN,
        is_final=False,
    ),
}


@pytest.mark.parametrize("no", ANSWERS.values(), ids=list(ANSWERS))
async def test_each_refusal_is_an_error_of_its_own(no: No) -> None:
    """Each is a class to catch, in fal's words, with a cure, the money, and the request.

    What is not fal's last word on the request is asked again to the end, and is the cause then.
    """
    with RawServer(no.reply) as server:
        async with AsyncFalClient(server.access(), clock=HurriedClock()) as client:
            with pytest.raises(HailuoError) as caught:
                await client.result(TICKET)
    error = caught.value
    if not no.is_final:
        assert isinstance(error, GenerationTimeoutError)
        assert (error.ticket, error.retryable) == (TICKET, True)
        assert isinstance(error.__cause__, FalError)
        error = error.__cause__
    assert isinstance(error, FalError)
    assert type(error) is no.kind
    assert no.cure in str(error)
    assert (error.billed, error.retryable) == (no.billed, no.retryable)
    assert error.error_type == no.error_type
    assert error.ticket == TICKET
    assert getattr(error, "problems", ()) == no.problems
    assert set(server.methods) == {"GET"}
    assert (len(server.methods) == 1) is no.is_final
