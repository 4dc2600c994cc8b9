"""What the flows say of their cost before they spend anything, and whose word they wait for."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from test_batch_flow import answer, runs_of
from test_joining import RED, shot

from flows import compare_models as comparing
from flows import storyboard as filming
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import NotApprovedError
from prefect_hailuo.flows.plan import Plan
from prefect_hailuo.tasks import approval

DEAR: list[tuple[Flow[..., Any], Any]] = [
    (comparing.compare_models, "A fox."),
    (filming.storyboard, ["A fox.", "An owl."]),
]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(("flow", "wanted"), DEAR, ids=["compare_models", "storyboard"])
async def test_what_is_dear_waits_for_a_person(
    flow: Flow[..., Any], wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No makes the run Cancelled, and nothing is bought; yes goes on; what is there costs none."""
    monkeypatch.setattr(approval, "POLL_SECONDS", 0.2)
    content = shot(tmp_path / "red.mp4", RED, frames=6).read_bytes()
    no, yes = f"no {tmp_path.name}", f"yes {tmp_path.name}"
    with FalEmulator(speed=1000, clip=content) as emulator, ThreadPoolExecutor(1) as pool:
        options: dict[str, Any] = {"credentials": emulator.credentials(), "approve_above_usd": 0.5}
        options |= {"storage": str(tmp_path / "videos")}
        answering = pool.submit(answer, no, "do not buy")
        with pytest.raises(NotApprovedError):
            await flow.with_options(flow_run_name=no)(wanted, **options)
        assert answering.result(60) == 0
        assert (emulator.submissions, runs_of(no)[0]["state"]["type"]) == ([], "CANCELLED")
        answering = pool.submit(answer, yes, "buy")
        made = await flow.with_options(flow_run_name=yes)(wanted, **options)
        again = await flow(wanted, **options)
        assert (again.clip, emulator.charged) == (made.clip, 2)


@pytest.mark.parametrize(
    ("command", "cost"),
    [
        ([comparing.main, "A fox."], "$0.97"),
        ([filming.main, "A fox.", "An owl.", "--model", "hailuo-02-pro"], "$0.96"),
    ],
    ids=["compare_models", "storyboard"],
)
def test_a_command_tells_the_plan(
    command: list[Any], cost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would be bought and what it costs, without a server, and nothing is bought."""
    main, *arguments = command
    with FalEmulator(clip=b"") as emulator:
        options = ["--plan", "--emulator", emulator.url]
        assert main([*arguments, *options]) == 0
        assert cost in capsys.readouterr().out
        assert main([*arguments, *options, "--json"]) == 0
        plan = Plan.model_validate(json.loads(capsys.readouterr().out))
        assert (plan.to_buy, emulator.submissions) == (2, [])
