"""What the log of a failed run shows of an error: the caller's own lines, and the cure last."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.client.schemas.objects import State

from prefect_hailuo import FalCredentials, ahailuo_02_pro_text_to_video, hailuo_02_pro_text_to_video
from prefect_hailuo.errors import HailuoError, UnreachableError

NOBODY = "http://127.0.0.1:9"
CURE = "Check the network, the proxy and the configured hosts, then run again."

pytestmark = pytest.mark.usefixtures("prefect_server")


def of_runs(caplog: pytest.LogCaptureFixture, kind: str) -> list[str]:
    """The log of the flow run or of the task run, as a console shows it."""
    shown = logging.Formatter()
    return [shown.format(each) for each in caplog.records if each.name == f"prefect.{kind}_runs"]


@flow
def failing(folder: Path) -> Any:
    """A video of an emulator that is not there."""
    mine = FalCredentials.for_emulator(NOBODY)
    return hailuo_02_pro_text_to_video("A fox.", credentials=mine, storage=folder)


@flow
async def afailing(folder: Path) -> Any:
    """The same, asynchronously."""
    mine = FalCredentials.for_emulator(NOBODY)
    return await ahailuo_02_pro_text_to_video("A fox.", credentials=mine, storage=folder)


def check_log(caplog: pytest.LogCaptureFixture, state: State[Any]) -> None:
    """The cure ends the state's message and each run's log, and hardly any frames are around."""
    assert state.is_failed() and state.message
    assert CURE in state.message and state.message.endswith("Trying again: can help.)")
    for kind in ("task", "flow"):
        log = of_runs(caplog, kind)
        assert CURE in log[-1].splitlines()[-1], log[-1]
        lines = "\n".join(log).splitlines()
        assert len(lines) < 15, lines
        frames = [line for line in lines if line.startswith("  File ")]
        assert all(Path(__file__).name in each for each in frames), frames
    assert Path(__file__).name in "\n".join(of_runs(caplog, "flow"))  # where the caller called it


def test_a_failed_run_ends_with_its_cure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line in the state's message, the same at the end of the log; what led to it is kept."""
    caplog.set_level(logging.INFO)
    state: Any = failing(tmp_path, return_state=True)
    check_log(caplog, state)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, UnreachableError)
    assert isinstance(error.__cause__, httpx.ConnectError)
    assert error.__cause__.__traceback__ is None


async def test_an_asynchronous_run_does_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its twin logs as little."""
    caplog.set_level(logging.INFO)
    check_log(caplog, await afailing(tmp_path, return_state=True))


def test_whoever_looks_into_the_package_finds_all_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG: with every frame, and with the connection that could not be made."""
    caplog.set_level(logging.DEBUG, "prefect.hailuo")
    failing(tmp_path, return_state=True)
    [led_to_it] = [each for each in caplog.records if each.getMessage() == "What led to it:"]
    shown = logging.Formatter().format(led_to_it)
    assert "ConnectError" in shown and "engine/acquire.py" in shown


def test_other_errors_are_logged_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    """Those of a flow's own code, and those of libraries, with all of their frames."""

    @flow
    def broken() -> None:
        raise KeyError("x")

    broken(return_state=True)
    [record] = [each for each in caplog.records if each.exc_info and "flow_runs" in each.name]
    assert record.exc_info
    names = {each.filename for each in traceback.extract_tb(record.exc_info[2])}
    assert any("prefect" in each for each in names) and __file__ in names


def test_an_error_that_is_raised_again_keeps_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """A flow's own line is shown, also where it raises an error of this package's itself."""

    @flow
    def refusing() -> None:
        raise HailuoError("Not today.", cure="Come tomorrow.")

    refusing(return_state=True)
    shown = "\n".join(of_runs(caplog, "flow"))
    assert 'raise HailuoError("Not today.", cure="Come tomorrow.")' in shown
    assert "Come tomorrow." in of_runs(caplog, "flow")[-1]
