"""Bad input is accepted, completes, and fails in the result, as at fal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prefect_hailuo.emulator import FalEmulator, ManualClock

from .asking import HAILUO_23, Asking


@pytest.mark.parametrize(
    ("body", "field", "kind"),
    [
        ({}, "prompt", "missing"),
        ({"prompt": ""}, "prompt", "string_too_short"),
        ({"prompt": "x" * 2001}, "prompt", "string_too_long"),
        ({"prompt": 7}, "prompt", "string_type"),
        ({"prompt": "x", "prompt_optimizer": "maybe"}, "prompt_optimizer", "bool_parsing"),
        ({"prompt": "\ud83d"}, "prompt", "string_unicode"),
    ],
)
def test_bad_input_fails_in_the_result(
    body: dict[str, Any], field: str, kind: str, fal: Asking, emulator: FalEmulator
) -> None:
    """Accepted with 200; completed; the result is 422 with fal's list; nothing is charged."""
    content = json.dumps(body)
    accepted = fal.http.post(f"/{HAILUO_23}", content=content)
    request_id = accepted.json()["request_id"]
    status, result = fal.status(request_id), fal.result(request_id)
    (problem,) = result.json()["detail"]
    assert (accepted.status_code, status.status_code, result.status_code) == (200, 200, 422)
    assert (problem["loc"], problem["type"]) == (["body", field], kind)
    assert {"msg", "input"} <= set(problem)
    assert status.json()["error"] == "Invalid status code: 422"
    assert (emulator.charged, result.headers["x-fal-billable-units"]) == (0, "0")


def test_the_context_of_a_problem_is_told(fal: Asking) -> None:
    """Limits are named in `ctx`, and 422 is marked as not worth repeating."""
    result = fal.result(fal.buy("x" * 2001))
    assert result.json()["detail"][0]["ctx"] == {"max_length": 2000}
    assert result.headers["x-fal-retryable"] == "false"


def test_unknown_keys_are_passed_over(
    fal: Asking, clock: ManualClock, emulator: FalEmulator
) -> None:
    """The lenient reading, which costs money: a seed is ignored and the video billed."""
    reply = fal.http.post(f"/{HAILUO_23}", json={"prompt": "x", "seed": 7})
    clock.advance(100)
    assert fal.result(reply.json()["request_id"]).status_code == 200
    assert emulator.charged == 1


def test_a_blank_prompt_is_billed(fal: Asking, clock: ManualClock, emulator: FalEmulator) -> None:
    """The package refuses a blank prompt before it is sent; fal would take the money."""
    request_id = fal.buy("  \n ")
    clock.advance(100)
    assert fal.result(request_id).status_code == 200
    assert emulator.charged == 1
