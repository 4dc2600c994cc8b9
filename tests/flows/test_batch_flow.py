"""The flow `batch` from its rows to its report, and as a command."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from deployments import until
from file_server import smallest_video
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from flows.batch import batch, main
from prefect_hailuo import Budget
from prefect_hailuo.emulator import FalEmulator, refuse_content
from prefect_hailuo.errors import BatchError, NotApprovedError
from prefect_hailuo.flows import report
from prefect_hailuo.flows.report import BatchSummary
from prefect_hailuo.tasks import approval

pytestmark = pytest.mark.usefixtures("prefect_server")

ROWS = """prompt,model,take,labels.sku
A fox.,,,F-1
An owl.,hailuo-02-pro,,O-1
An owl.,hailuo-02-pro,2,
A fox.,,,F-2
"""


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """A file of four rows that ask for three videos."""
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return str(path)


def artifacts(run_id: str) -> dict[str, dict[str, Any]]:
    """A flow run's artifacts by key."""
    chosen = {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
    api = get_current_settings().api.url
    answer = httpx.post(f"{api}/artifacts/filter", json=chosen).raise_for_status()
    return {each["key"]: each for each in answer.json()}


def runs_of(name: str) -> list[dict[str, Any]]:
    """Prefect's flow runs of a name."""
    chosen = {"flow_runs": {"name": {"any_": [name]}}}
    api = get_current_settings().api.url
    found = httpx.post(f"{api}/flow_runs/filter", json=chosen).raise_for_status().json()
    return list(found)


def test_from_rows_to_a_contact_sheet(
    emulator: FalEmulator, tmp_path: Path, rows: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A plan, the videos, a table, a CSV, a page and a picture, one that failed among them."""
    emulator.faults.add(refuse_content(prompt="A fox.", count=None))
    options: dict[str, Any] = {"credentials": emulator.credentials()}
    name = f"whole {tmp_path.name}"
    run = batch.with_options(flow_run_name=name)
    with pytest.raises(BatchError, match=r"A fox.*ContentPolicyError") as caught:
        asyncio.run(run(prompts_file=rows, storage=str(tmp_path / "v"), **options))
    summary = caught.value.summary
    assert (summary.videos, summary.done, summary.failed) == (3, 2, 1)
    assert summary.plan is not None
    assert (summary.plan.to_buy, summary.plan.repeated) == (3, 1)
    assert summary.csv is not None
    assert summary.sheet is not None
    with Path(summary.csv).open(encoding="utf-8-sig") as file:
        told = list(csv.DictReader(file))
    assert [(each["number"], each["state"], each["labels.sku"]) for each in told] == [
        ("1", "failed", "F-1"),
        ("2", "new", "O-1"),
        ("3", "new", ""),
        ("4", "failed", "F-2"),  # the same purchase as the first, and its own line
    ]
    assert "Input 1 failed, 'A fox.'" in caplog.text
    assert Path(summary.sheet).read_text(encoding="utf-8").count("data:image/jpeg") == 2
    state = runs_of(name)[0]["state"]
    assert (state["type"], state["message"]) == ("FAILED", "2 of 3 done, 1 failed")
    shown = artifacts(runs_of(name)[0]["id"])
    assert {"hailuo-batch-plan", "hailuo-batch-table", "hailuo-batch-sheet"} <= set(shown)
    assert shown["hailuo-batch-sheet"]["data"].startswith("data:image/jpeg;base64,")
    table = json.loads(shown["hailuo-batch-table"]["data"])
    labelled = {row["#"]: row["Labels"] for row in table}
    assert (labelled[1], labelled[4]) == (r"sku: F\-1", r"sku: F\-2")
    page = Path(summary.sheet).read_text(encoding="utf-8")
    assert all(each in page for each in ("#1 ·", "#4 ·", "sku: F-1", "sku: F-2"))
    assert "> 1. A fox." in shown["hailuo-batch-plan"]["data"]
    [card] = [each["data"] for each in shown.values() if "### Failed" in str(each["data"])]
    assert "| 1 | A fox. |" in card and "| 4 | A fox. |" in card


async def test_no_artifact_shows_a_prompts_markup(tiny: FalEmulator, tmp_path: Path) -> None:
    """Prefect's UI would fetch an image that a prompt names: of plan, card, table and summary."""
    evil = '<img src="https://evil.example/x.png"> ![x](https://evil.example/y.png)'
    tiny.faults.add(refuse_content(prompt=evil, count=None))
    name = f"evil {tmp_path.name}"
    run = batch.with_options(flow_run_name=name)
    options: dict[str, Any] = {"storage": str(tmp_path), "credentials": tiny.credentials()}
    summary = await run([evil], on_failed="return", **options)
    assert '<img src="https://evil.example' in summary.failures[0]
    shown = artifacts(runs_of(name)[0]["id"])
    told = [f"{each['data']} {each['description']}" for each in shown.values()]
    assert sum("evil.example" in each for each in told) == 4
    assert not [each for each in told if re.search(r"(?<!\\)(<img|!\[)", each)]


async def test_a_plan_alone_spends_nothing(tiny: FalEmulator, rows: str) -> None:
    """As a deployment's run too."""
    summary = await batch(prompts_file=rows, plan_only=True, credentials=tiny.credentials())
    assert summary.plan is not None
    assert summary.plan.cost_usd == Decimal("1.45")
    assert tiny.submissions == []


async def test_a_report_that_cannot_be_made_loses_nothing(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was paid for is returned all the same."""
    monkeypatch.setattr(report, "as_csv", lambda entries: 1 / 0)
    summary = await batch(["A fox."], storage=str(tmp_path), credentials=tiny.credentials())
    assert (summary.done, summary.csv) == (1, None)


async def test_a_dear_batch_waits_for_a_person(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is Paused before anything is spent; no makes the run Cancelled, yes goes on."""
    monkeypatch.setattr(approval, "POLL_SECONDS", 0.2)
    options: dict[str, Any] = {"credentials": tiny.credentials(), "approve_above_usd": 0.5}
    options |= {"storage": str(tmp_path / "v")}
    dear = ["A fox.", "An owl."]
    with ThreadPoolExecutor(1) as pool:
        answering = pool.submit(answer, f"no {tmp_path.name}", "do not buy")
        with pytest.raises(NotApprovedError):
            await batch.with_options(flow_run_name=f"no {tmp_path.name}")(dear, **options)
        assert answering.result(60) == 0
        assert tiny.submissions == []
        [refused] = runs_of(f"no {tmp_path.name}")
        assert refused["state"]["type"] == "CANCELLED"
        assert "nothing was bought" in refused["state"]["message"]
        answering = pool.submit(answer, f"yes {tmp_path.name}", "buy")
        summary = await batch.with_options(flow_run_name=f"yes {tmp_path.name}")(dear, **options)
    assert summary.done == tiny.charged == 2
    again = await batch(dear, **options)  # what is there costs nothing, so nobody is asked
    assert (again.done, again.new) == (2, 0)


def answer(name: str, said: str, first: Callable[[], Any] = lambda: None) -> int:
    """Resume the flow run of a name, as the UI's form does, once it is paused and somebody has
    done something else."""
    waited: list[object] = []

    def resume() -> bool:
        runs = [each for each in runs_of(name) if each["state"]["type"] == "PAUSED"]
        if not runs:
            return False
        if not waited:
            waited.append(first())
        with get_client(sync_client=True) as client:
            done = client.resume_flow_run(UUID(runs[0]["id"]), run_input={"answer": said})
        return done.status.value == "ACCEPT"

    until("it is resumed", resume)
    return 0


async def test_a_budget_holds_for_the_batch(fal: FalEmulator, tmp_path: Path) -> None:
    """What passes it fails at no cost; the rest is made."""
    summary = await batch(
        ["A fox.", "An owl."],
        credentials=fal.credentials(),
        storage=str(tmp_path),
        budget="acme",
        budget_usd=0.6,
        on_failed="return",
    )
    assert (summary.done, summary.failed, summary.maybe_billed) == (1, 1, 0)
    assert (fal.charged, summary.spent_usd) == (1, Decimal("0.49"))
    budget = Budget(scope="acme", total_usd=Decimal("0.6"))
    assert await budget.aleft("fal") == {"total": Decimal("0.11")}


def test_the_command_plans_without_a_server(
    rows: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text and as JSON."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with FalEmulator(speed=1000, clip=smallest_video()) as emulator:
        assert main([rows, "--plan", "--emulator", emulator.url]) == 0
        text = capsys.readouterr().out
        assert main([rows, "--plan", "--json", "--emulator", emulator.url]) == 0
        assert emulator.submissions == []
    assert text.startswith("3 of 3 to buy, for nothing (at fal, about $1.45).")
    assert "1. 'A fox.'" in text and "3. 'An owl.'" in text
    summary = BatchSummary.model_validate_json(capsys.readouterr().out)
    assert summary.plan is not None
    assert summary.plan.to_buy == 3


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["nowhere.csv"], "cannot be read"),
        (["rows.csv", "A fox."], "Name one file alone"),
        (["prompts.txt"], "looks like a file's name"),
        (["rows.xlsx"], "looks like a file's name"),
        (["https://127.0.0.1:1/export"], "cannot be read"),
        ([], "either as"),
        (["A fox.", " "], "row 2"),
    ],
)
def test_the_command_says_what_is_wrong_at_once(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a server is started; a file that is not there is no prompt."""
    assert main([*words, "--emulator", "http://127.0.0.1:1"]) == 1
    assert why in capsys.readouterr().err
