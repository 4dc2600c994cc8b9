"""What the doctor finds on this machine, and the cures that it names."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Ran, run
from databases import run_sql
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from roads import FOX, OWL, generate, order_of

from prefect_hailuo import FalCredentials
from prefect_hailuo.cli import checks
from prefect_hailuo.cli.checks import (
    Finding,
    Surroundings,
    check_server,
    check_settings,
    make_checks,
    ok,
)
from prefect_hailuo.cli.doctor import examine
from prefect_hailuo.emulator import FalEmulator, drop_after_accepting, refuse
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.errors import ConfigurationError, ParkedError
from prefect_hailuo.runs.execution import acquiring

SECRET = "5ec3e7-1d5a:7h15-15-7h3-53cr37-p4r7"


@pytest.fixture
def no_server() -> Iterator[None]:
    """No Prefect server is set."""
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield


@pytest.fixture
def as_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed on a developer's machine, is what is needed."""
    monkeypatch.setattr(checks, "requires", lambda package: [])


def found(check: str, *arguments: Any, **options: Any) -> list[Finding]:
    """What an examination says of one thing."""
    return [each for each in examine(*arguments, **options) if each.check == check]


def of(check: str, findings: list[Finding]) -> Finding:
    """The one finding about something."""
    [one] = [each for each in findings if each.check == check]
    return one


def test_on_a_machine_that_is_well_there_is_no_problem(
    prefect_server: None,
    as_declared: None,
    tiny: FalEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each thing is looked at, and the command ends with 0, however busy the machine is."""
    monkeypatch.setattr("prefect_hailuo.cli.checks.PREFECT_ANSWER_SECONDS", 60.0)
    monkeypatch.setattr("prefect_hailuo.cli.checks.ANSWER_SECONDS", 60.0)
    ran = run("doctor", "--emulator", tiny.url, "--timeout", "90")
    assert (ran.code, ran.err) == (0, ""), ran
    assert "no problems" in ran.words
    assert max(map(len, ran.out.splitlines())) <= 80
    ran = run("doctor", "--emulator", tiny.url, "--json", "--timeout", "90")
    checks = {each["check"] for each in ran.json}
    looked_at = {"python", "packages", "media", "settings", "key", "clock", "ledger", "storage"}
    assert looked_at | {"server", "limits"} <= checks
    assert tiny.charged == 0


def test_without_a_key_it_says_how_to_get_one(no_server: None) -> None:
    """That is a problem, and so the exit code is 1."""
    ran = run("doctor", "--json", "--timeout", "60")
    assert ran.code == 1
    [key] = [each for each in ran.json if each["check"] == "key"]
    assert key["verdict"] == "problem"
    assert "FAL_KEY" in key["cure"]


def test_a_key_that_fal_refuses_is_told_without_showing_it(
    no_server: None, tiny: FalEmulator, tmp_path: Path
) -> None:
    """Nor is it in anything else that is printed."""
    bad = FalCredentials.for_emulator(tiny.url, SECRET)
    [key] = found("key", bad, tmp_path)
    assert (key.verdict, "dashboard/keys" in key.cure) == ("problem", True)
    halved = FalCredentials.for_emulator(tiny.url, "no-colon-in-it")
    assert "no colon" in found("key", halved, tmp_path)[0].says
    everything = str(examine(bad, tmp_path))
    assert not [part for part in SECRET.split(":") if part in everything]


def test_an_account_without_credit_is_told(
    no_server: None, tiny: FalEmulator, tmp_path: Path
) -> None:
    """With where to top it up."""
    tiny.faults.add(refuse("status", 402, count=None))
    [key] = found("key", tiny.credentials(), tmp_path)
    assert (key.verdict, "billing" in key.cure) == ("problem", True)


def test_a_fal_that_cannot_be_reached_is_told(
    no_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is not blamed for it."""
    monkeypatch.setattr("prefect_hailuo.cli.checks.ANSWER_SECONDS", 1.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        findings = examine(FalCredentials.for_emulator(url), tmp_path)
    assert "does not answer" in of("key", findings).says
    assert of("fal", findings).verdict == "problem"


def test_a_clock_that_is_wrong_is_told(no_server: None, tiny: FalEmulator, tmp_path: Path) -> None:
    """By how much, in which direction, and for what it matters."""
    verdicts = []
    for skew in (0.0, 100.0, -600.0):
        tiny.history.skew_seconds = skew
        verdicts.append(found("clock", tiny.credentials(), tmp_path)[0])
    assert [each.verdict for each in verdicts] == ["ok", "warning", "problem"]
    assert ("behind" in verdicts[1].says, "ahead" in verdicts[2].says) == (True, True)


def test_a_misspelt_setting_is_told_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody knows would be passed over in silence."""
    prefix = "PREFECT_INTEGRATIONS_HAILUO_"
    monkeypatch.setenv(f"{prefix}BUDGET_SCOP", "campaign")
    [misspelt] = [each for each in check_settings(Surroundings()) if each.verdict == "warning"]
    assert misspelt.cure == f"Did you mean {prefix}BUDGET_SCOPE?"


def test_a_setting_that_cannot_be_is_a_problem(
    no_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and not shown: it may be a password in the wrong place."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_TIMEOUT_SECONDS", SECRET)
    findings = examine()
    told = of("settings", findings)
    assert told.verdict == "problem"
    assert "TIMEOUT_SECONDS" in told.cure
    assert SECRET not in str(findings)


def test_settings_in_force_are_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's URL has a password."""
    url = "postgresql://fox:hunter2@db.example/hailuo"
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL", url)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_BUDGET_SCOPE", "campaign")
    told = of("settings", check_settings(Surroundings()))
    assert told.facts["budget_scope"] == "campaign"
    assert "hunter2" not in str(told)


def test_a_ledger_that_cannot_be_used_is_a_problem(
    no_server: None, tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is bought without it."""
    (tmp_path / "file").write_text("no directory")
    url = f"sqlite:///{tmp_path}/file/ledger.db"
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL", url)
    [told] = found("ledger", tiny.credentials(), tmp_path)
    assert (told.verdict, "LEDGER_URL" in told.cure) == ("problem", True)


def test_what_waits_in_the_ledger_is_told(
    no_server: None,
    tiny: FalEmulator,
    tmp_path: Path,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is parked, and what nobody looks after, each with the command for it."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")
    process_loop().run(acquiring(order_of(tiny, tmp_path, FOX)).job)
    tiny.history.lag_seconds = 1e9
    tiny.faults.add(drop_after_accepting("submit"))
    with pytest.raises(ParkedError):
        generate(tiny, tmp_path, OWL)
    run_sql(ledger_url, "UPDATE hailuo_waiter SET lease_until = 0", realm="emulator")
    healthy, parked, forsaken = found("ledger", tiny.credentials(), tmp_path)
    assert healthy.facts["revision"] >= "0001"
    assert (parked.facts["parked"], "--parked" in parked.cure) == (1, True)
    assert (forsaken.facts["forsaken"], "reconcile" in forsaken.cure) == (1, True)


def test_a_place_that_takes_no_files_is_a_problem(
    no_server: None, tiny: FalEmulator, tmp_path: Path
) -> None:
    """Before anything is bought for it."""
    (tmp_path / "file").write_text("no directory")
    [told] = found("storage", tiny.credentials(), str(tmp_path / "file"))
    assert told.verdict == "problem"
    assert told.cure


def test_a_disk_without_room_is_told(
    no_server: None, tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In time, and with how many videos there is room for."""
    room = "prefect_hailuo.cli.checks"
    monkeypatch.setattr(f"{room}.LOW_BYTES", 1e18)
    assert found("storage", tiny.credentials(), tmp_path)[0].verdict == "warning"
    monkeypatch.setattr(f"{room}.OUT_BYTES", 1e18)
    assert found("storage", tiny.credentials(), tmp_path)[0].verdict == "problem"


def test_a_server_that_is_not_there_is_a_problem(tiny: FalEmulator, tmp_path: Path) -> None:
    """None at all is a warning: runs then start one for themselves."""
    with temporary_settings({PREFECT_API_URL: "http://user:hunter2@127.0.0.1:9/api"}):
        [told] = found("server", tiny.credentials(), tmp_path)
    assert told.verdict == "problem"
    assert "hunter2" not in str(told)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        [told] = found("server", tiny.credentials(), tmp_path)
    assert (told.verdict, "prefect server start" in told.cure) == ("warning", True)


def test_the_limit_that_the_settings_name_is_looked_at(
    prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is none of that name, nothing would be bought."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_CONCURRENCY_LIMIT", "doctors-account")
    missing = of("concurrency", check_server(Surroundings()))
    assert (missing.verdict, "prefect gcl create" in missing.cure) == ("problem", True)
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name("doctors-account", 7)
    there = of("concurrency", check_server(Surroundings()))
    assert (there.verdict, there.facts["slots"]) == ("ok", 7)


def test_a_package_of_the_wrong_release_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is needed is read from what the package itself declares."""
    monkeypatch.setattr(checks, "requires", lambda package: ["fastapi>=0.139,<0.155"])
    monkeypatch.setattr(checks, "_installed", lambda name: "0.155")
    told = of("packages", checks.check_versions(Surroundings()))
    assert told.verdict == "problem"
    assert "fastapi 0.155 is installed, and fastapi<0.155,>=0.139 is needed" in told.says
    assert told.cure.startswith("pip install -U prefect-hailuo ")


def test_a_missing_extra_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not everybody wants posters."""
    there = checks._installed
    monkeypatch.setattr(checks, "_installed", lambda name: None if name == "av" else there(name))
    monkeypatch.setattr(checks, "requires", lambda package: ['av>=14; extra == "media"'])
    told = of("media", checks.check_versions(Surroundings()))
    assert (told.verdict, "prefect-hailuo[media]" in told.cure) == ("warning", True)


def test_credentials_that_are_not_there_hide_nothing_else(
    prefect_server: None, tmp_path: Path
) -> None:
    """The rest is looked at all the same."""
    findings = examine("nobody", tmp_path)
    assert of("key", findings).verdict == "problem"
    assert {each.check for each in findings} >= {"ledger", "storage", "server"}


def test_a_check_that_hangs_or_breaks_hides_no_other() -> None:
    """Each has its own thread, and all of them a time."""
    release = threading.Event()

    def hang(_: Surroundings) -> list[Finding]:
        release.wait()
        return []

    def break_down(_: Surroundings) -> list[Finding]:
        raise ValueError(SECRET)

    def refuse_it(_: Surroundings) -> list[Finding]:
        raise ConfigurationError("It is wrong.", cure="Set it right.")

    def well(_: Surroundings) -> list[Finding]:
        return [ok("well", "all is well")]

    checks = {"hung": hang, "broken": break_down, "refused": refuse_it, "well": well}
    findings = make_checks(checks, Surroundings(), seconds=4)
    release.set()
    assert [each.verdict for each in findings] == ["problem", "problem", "problem", "ok"]
    assert "within 4 seconds" in findings[0].says
    assert "ValueError" in findings[1].says
    assert findings[2].cure == "Set it right."
    assert SECRET not in json.dumps([each.model_dump() for each in findings])


def test_the_command_shows_each_cure(
    no_server: None, as_declared: None, tiny: FalEmulator, tmp_path: Path
) -> None:
    """Below what is wrong; the count comes last."""
    tiny.faults.add(refuse("status", 402, count=None))
    ran: Ran = run("doctor", "--emulator", tiny.url, "--storage", tmp_path)
    assert ran.code == 1
    assert "PROBLEM key" in ran.words
    assert "-> Top up the account" in ran.words
    assert ran.words.endswith("warning.") or ran.words.endswith("warnings.")
    assert "1 problem," in ran.words
