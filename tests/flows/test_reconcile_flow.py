"""The sweep as a flow: what it finds, and what it shows."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import run_sql
from happenings import events_of
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_URL
from roads import FOX, OWL, generate, order_of

from flows.reconcile import main, reconcile
from prefect_hailuo import FalCredentials
from prefect_hailuo.emulator import FalEmulator, drop_after_accepting
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.errors import MissingKeyError, ParkedError
from prefect_hailuo.runs.execution import acquiring
from prefect_hailuo.runs.orders import make_order
from prefect_hailuo.tasks.sweep import asweep, sweep


def tables() -> list[Any]:
    """The reconcile tables that Prefect shows, the latest first."""
    chosen = {"artifacts": {"key": {"any_": ["hailuo-reconcile-emulator"]}}, "sort": "CREATED_DESC"}
    answer = httpx.post(f"{PREFECT_API_URL.value()}/artifacts/filter", json=chosen)
    return [each["data"] for each in answer.raise_for_status().json()]


def abandon(emulator: FalEmulator, place: Path, ledger_url: str) -> None:
    """A request that is done, and whose process has gone."""
    earlier = emulator.stats()["completed"]
    process_loop().run(acquiring(order_of(emulator, place)).job)
    run_sql(ledger_url, "UPDATE hailuo_waiter SET lease_until = 0", realm="emulator")
    while emulator.stats()["completed"] == earlier:
        time.sleep(0.01)


def test_what_nobody_fetched_is_collected_and_shown(
    prefect_server: None,
    tiny: FalEmulator,
    tmp_path: Path,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its video is in the place that it was meant for, and its row in Prefect's table."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", tiny.url)
    abandon(tiny, tmp_path / "videos", ledger_url)
    report = reconcile()
    assert [(row.outcome, row.request_id) for row in report.rows] == [
        ("collected", tiny.submissions[0].request_id)
    ]
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 1
    assert tiny.submissions[0].request_id in str(tables()[0])
    assert reconcile().rows == ()


def test_as_a_command_it_prints_its_table(
    prefect_server: None,
    tiny: FalEmulator,
    tmp_path: Path,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the settings' emulator, or saved credentials."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", tiny.url)
    abandon(tiny, tmp_path, ledger_url)
    assert main([]) == 0
    assert "| collected | $0.48 | hailuo-02-pro |" in capsys.readouterr().out
    assert main(["--emulator", tiny.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == []
    assert main(["--credentials", "nobody"]) == 1
    assert "could not be loaded" in capsys.readouterr().err


def test_what_it_collects_and_parks_is_told_once(
    prefect_server: None,
    tiny: FalEmulator,
    tmp_path: Path,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In events, for automations; a sweep that finds the same parked says nothing again."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", tiny.url)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")
    abandon(tiny, tmp_path / "videos", ledger_url)
    tiny.history.lag_seconds = 1e9
    tiny.faults.add(drop_after_accepting("submit"))
    with pytest.raises(ParkedError):
        generate(tiny, tmp_path, OWL)
    run_sql(ledger_url, "UPDATE hailuo_attempt SET parked_at = NULL", realm="emulator")
    run_sql(ledger_url, "UPDATE hailuo_waiter SET lease_until = 0", realm="emulator")
    told = []
    for _ in range(2):
        state = reconcile(return_state=True)
        assert state.is_completed()
        told.append(str(state.state_details.flow_run_id))
    names = ["prefect-hailuo.video.completed", "prefect-hailuo.video.parked"]
    assert sorted(each["event"] for each in events_of(told[0], *names)) == names
    assert events_of(told[1]) == []


def test_it_can_be_scheduled() -> None:
    """It is a deployment like any other."""
    deployment = reconcile.to_deployment(name="every-half-hour", cron="*/30 * * * *")
    assert isinstance(deployment, RunnerDeployment)
    assert (deployment.name, len(deployment.schedules or [])) == ("every-half-hour", 1)


async def test_its_twin_does_the_same(
    tiny: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """It is awaited, off the caller's loop."""
    assert (await asweep(credentials=[credentials])).rows == ()


def test_saved_credentials_are_enough(
    prefect_server: None, tiny: FalEmulator, tmp_path: Path, ledger_url: str
) -> None:
    """The ledger names the block that paid; the environment needs no key."""
    tiny.credentials().save("that-paid", overwrite=True)
    order = make_order(FOX, credentials="that-paid", storage=tmp_path)
    process_loop().run(acquiring(order).job)
    run_sql(ledger_url, "UPDATE hailuo_waiter SET lease_until = 0", realm="emulator")
    while tiny.stats()["completed"] == 0:
        time.sleep(0.01)
    assert [row.outcome for row in sweep("emulator").rows] == ["collected"]


def test_without_any_key_it_says_so() -> None:
    """Neither the environment nor the ledger names one."""
    with pytest.raises(MissingKeyError):
        sweep("fal")
