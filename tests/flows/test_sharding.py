"""A catalogue as a deployable flow: in one run, and split over several real ones."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from deployments import A_GENERATION, running, until
from file_server import smallest_video
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.utilities.callables import parameter_schema
from pydantic import SecretStr
from talking import talking_to

from flows.batch import batch, main
from prefect_hailuo import FalCredentials
from prefect_hailuo.emulator import FalEmulator, ManualClock, refuse_content
from prefect_hailuo.errors import BatchError, ConfigurationError, HailuoError
from prefect_hailuo.flows import shards
from prefect_hailuo.flows.report import BatchSummary
from prefect_hailuo.flows.shards import run_shards, split_parameters

ROOT = Path(__file__).parents[2]

SHOTS = [f"Shot {number}." for number in range(8)]

PREFECTS_LIMIT = 524_288

OWN: dict[str, Any] = {"model": "hailuo-02-pro", "shards": 2}
"""What the deployment fills in for whoever does not say: no shard may be given it."""


async def test_a_batch_tells_little_of_much(
    prefect_server: None, tiny: FalEmulator, tmp_path: Path
) -> None:
    """Counts, money, the first failures, and where the videos are; a rerun buys nothing."""
    tiny.faults.add(refuse_content(prompt="Shot 1.", count=None))
    options: dict[str, Any] = {"storage": str(tmp_path), "credentials": tiny.credentials()}
    first = await batch([*SHOTS, *SHOTS], on_failed="return", **options)
    with pytest.raises(BatchError) as caught:
        await batch(SHOTS, **options)
    again = caught.value.summary
    assert (first.videos, first.done, first.new, first.failed) == (8, 7, 7, 1)
    assert first.failures[0].startswith("'Shot 1.': ContentPolicyError")
    assert (first.spent_usd, first.places) == (Decimal(0), [str(tmp_path)])
    assert (again.done, again.new, tiny.charged) == (7, 0, 7)


async def test_prompts_may_come_from_a_file(
    prefect_server: None, tiny: FalEmulator, tmp_path: Path
) -> None:
    """A prompt on each line, for what is more than Prefect takes as parameters."""
    file = tmp_path / "prompts.txt"
    file.write_text("\ufeffA fox.\n\nEin Käuzchen.\r\nA fox.\n", encoding="utf-8")
    summary = await batch(
        prompts_file=str(file), storage=str(tmp_path / "v"), credentials=tiny.credentials()
    )
    assert (summary.done, {each.body["prompt"] for each in tiny.submissions}) == (
        2,
        {"A fox.", "Ein Käuzchen."},
    )


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({}, "either as"),
        ({"prompts": ["A fox."], "prompts_file": "prompts.txt"}, "either as"),
        ({"prompts_file": "nowhere.txt"}, "nowhere.txt"),
        ({"prompts": ["A fox.", " "]}, "row 2"),
        ({"prompts": ["A fox."], "budget_usd": 5}, "Pass budget"),
        (
            {
                "prompts": ["A fox."],
                "shards": 2,
                "credentials": FalCredentials(api_key=SecretStr("a:b")),
            },
            "Save",
        ),
        ({"prompts": ["A fox."], "shards": 2}, "deployment="),
    ],
)
async def test_what_cannot_work_is_said_before_anything_is_bought(
    parameters: dict[str, Any], why: str, prefect_server: None
) -> None:
    """Each with its cure."""
    with pytest.raises(ConfigurationError, match=why):
        await batch(**parameters)


@pytest.mark.parametrize("prompt", ["x" * 200, "夜" * 200])
def test_shards_are_as_many_as_prefect_takes(prompt: str) -> None:
    """The parameters of 10,000 prompts, each within the limit, in order, none lost."""
    prompts = [f"{prompt} {number}" for number in range(10_000)]
    parts = split_parameters("prompts", prompts, 2, {"take": 1})
    assert max(len(json.dumps(each)) for each in parts) < PREFECTS_LIMIT
    assert [each for part in parts for each in part["prompts"]] == prompts
    assert len({len(each["prompts"]) for each in parts}) <= 2


def test_no_shard_is_empty() -> None:
    """Where there are fewer prompts than shards, there are fewer shards."""
    assert split_parameters("prompts", ["a", "b"], 5, {}) == [
        {"prompts": ["a"]},
        {"prompts": ["b"]},
    ]


def test_is_a_command(
    prefect_server: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with what became of all, at no cost where there is an emulator."""
    with FalEmulator(speed=1000, clip=smallest_video()) as emulator:
        command = ["A fox.", "An owl.", "--emulator", emulator.url, "--output", str(tmp_path)]
        assert main([*command, "--json"]) == 0
    summary = BatchSummary.model_validate_json(capsys.readouterr().out.splitlines()[-1])
    assert (summary.done, summary.new, summary.spent_usd) == (2, 2, Decimal(0))


def test_can_be_deployed() -> None:
    """Prefect resolves the flow's parameters, and each is described."""
    schema = parameter_schema(batch.fn).model_dump()
    assert all(each.get("description") for each in schema["properties"].values())


@dataclass(frozen=True)
class Served:
    """A served deployment of the flow, `batch/shards`.

    Args:
        emulator: Where it buys.
        clock: The emulator's, which stands still.
        ledger: Its ledger's file.
        pid: Of the process that serves it.
        settings: Its environment's, of this package.
    """

    emulator: FalEmulator
    clock: ManualClock
    ledger: Path
    pid: int
    settings: dict[str, str]

    def kill_one_when_all_wait(self) -> None:
        """Kill a shard's process when all that it asked for is known to be at fal."""
        until("all wait", lambda: self._tickets() == len(SHOTS))
        os.kill(min(talking_to(self.emulator, self.pid)), signal.SIGKILL)

    def let_all_end(self, stop: Event) -> None:
        """Let everything at fal end, until nobody waits any more."""
        while not stop.wait(0.2):
            self.clock.advance(A_GENERATION)

    def _tickets(self) -> int:
        if not self.ledger.exists():
            return 0
        with closing(sqlite3.connect(self.ledger, timeout=10)) as database:
            tables = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'hailuo_attempt'")
            query = "SELECT count(request_id) FROM hailuo_attempt"
            return int(database.execute(query).fetchone()[0]) if tables.fetchone() else 0


@pytest.fixture(scope="module")
def served(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """It is deployed."""
    folder, clock = tmp_path_factory.mktemp("shards"), ManualClock()
    with (
        FalEmulator(clock=clock, clip=smallest_video(), concurrency=100) as emulator,
        get_client(sync_client=True, httpx_settings={"timeout": 30.0}) as client,
    ):
        settings = {
            "PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}",
            "PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY": str(folder / "videos"),
            "PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL": emulator.url,
        }
        environment = {
            **os.environ,
            "PREFECT_API_URL": PREFECT_API_URL.value() or "",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            **settings,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]]),
        }
        serve = f"from flows.batch import batch; batch.serve('shards', parameters={OWN!r})"
        command = [sys.executable, "-c", serve]
        with running(command, environment, folder / "served.log") as pid:
            until("it is deployed", lambda: is_deployed(client))
            yield Served(emulator, clock, folder / "ledger-emulator.db", pid, settings)


def is_deployed(client: SyncPrefectClient) -> bool:
    """Whether the deployment is there."""
    try:
        return client.read_deployment_by_name("batch/shards") is not None
    except ObjectNotFound:
        return False


@pytest.mark.campaign
async def test_a_killed_shard_is_told_and_goes_on_when_it_is_run_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only it is started again, and goes on; a later batch finds all, and buys nothing, whatever
    the deployment would fill in."""
    monkeypatch.setattr(shards, "POLL_SECONDS", 0.2)
    for name, value in served.settings.items():  # as its workers have them
        monkeypatch.setenv(name, value)
    told: list[str] = []

    @flow
    async def twice() -> list[dict[str, Any]]:
        plain = {"model": "hailuo-2.3-pro", "shards": 1}
        parts = split_parameters("prompts", SHOTS, 2, plain)
        try:
            await run_shards("batch/shards", parts)
        except HailuoError as error:
            told.append(error.message)
        return await run_shards("batch/shards", parts)

    with killing(served):
        summaries = [BatchSummary.model_validate(each) for each in await twice()]
        options: dict[str, Any] = {
            "shards": 2,
            "deployment": "batch/shards",
            "approve_above_usd": 0,
        }
        later = await batch(SHOTS, **options)
    assert told[0].startswith("1 of 2 shards")
    assert "Crashed" in told[0]
    assert [(each.videos, each.done) for each in summaries] == [(4, 4), (4, 4)]
    assert (later.done, later.new) == (8, 0)
    assert later.csv is not None
    assert states_in(later.csv) == ["there before"] * 8
    assert (served.emulator.charged, len(served.emulator.submissions)) == (8, 8)


@pytest.mark.campaign
async def test_shards_in_which_a_video_failed_end_failed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does the batch; it says how many, and has the report of all."""
    monkeypatch.setattr(shards, "POLL_SECONDS", 0.2)
    for name, value in served.settings.items():
        monkeypatch.setenv(name, value)
    served.emulator.faults.add(refuse_content(prompt="Wrong.", count=None))
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(served.let_all_end, stop)
        try:
            options: dict[str, Any] = {"shards": 2, "deployment": "batch/shards"}
            state: State[Any] = await batch(
                ["Right.", "Wrong.", "Fine."], return_state=True, **options
            )
        finally:
            stop.set()
    assert state.is_failed()
    assert state.message and "2 of 3 done, 1 failed" in state.message
    error = await state.result(raise_on_failure=False)  # type: ignore[misc]  # it may be awaited
    assert isinstance(error, BatchError)
    summary = error.summary
    assert (summary.videos, summary.done, summary.failed) == (3, 2, 1)
    assert summary.failures[0].startswith("'Wrong.': ContentPolicyError")


def states_in(file: str) -> list[str]:
    """What a batch's CSV says of each video."""
    with Path(file).open(encoding="utf-8-sig") as rows:
        return [each["state"] for each in csv.DictReader(rows)]


@contextmanager
def killing(served: Served) -> Iterator[None]:
    """One shard is killed in its time, and what is at fal ends."""
    stop = Event()

    def act() -> None:
        try:
            served.kill_one_when_all_wait()
        finally:
            served.let_all_end(stop)

    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(act)
        try:
            yield
        finally:
            stop.set()
        acting.result()
