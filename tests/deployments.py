"""A served deployment of flows that buy, in processes of their own, on the tests' Prefect server.

The emulator's clock stands still, so that a generation takes until the test lets it end.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling, Scheduled

from prefect_hailuo.emulator import FalEmulator, ManualClock
from prefect_hailuo.emulator.queue import State

HERE = Path(__file__).parent

PATIENCE_SECONDS = 90.0
"""How long anything may take on a machine that does other things too."""

SHORTEST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5

A_GENERATION = 1000.0
"""More emulator seconds than one takes."""


def until(what: str, holds: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait until something holds; returns it.

    What lasts is looked at ever less often: a look may cost the server that is waited for a while.
    """
    deadline = time.monotonic() + seconds
    pause = SHORTEST_PAUSE_SECONDS
    while not (seen := holds()):
        assert time.monotonic() < deadline, f"Not within {seconds:g} s: {what}"
        time.sleep(pause)
        pause = min(pause * 1.2, LONGEST_PAUSE_SECONDS)
    return seen


@dataclass(frozen=True)
class Served:
    """What a test has in hand.

    Args:
        client: Of Prefect's API.
        emulator: Where the flows buy.
        clock: Its time.
        folder: Where everything is kept.
        environment: What the flows' processes have in theirs.
    """

    client: SyncPrefectClient
    emulator: FalEmulator
    clock: ManualClock
    folder: Path
    environment: dict[str, str] = field(repr=False)

    def start(
        self, flow: str, prompts: Sequence[str], *, name: str = "", deployment: str = "served"
    ) -> UUID:
        """Have a flow run by its deployment; its process is known by `name` or the first prompt."""
        parameters = {"prompts": prompts, "folder": str(self.folder), "name": name or prompts[0]}
        found = self.client.read_deployment_by_name(f"{flow}/{deployment}")
        return self.client.create_flow_run_from_deployment(found.id, parameters=parameters).id

    def restart(self, run: UUID) -> None:
        """Have a flow run started once more, under the same id."""
        self.client.set_flow_run_state(run, Scheduled(), force=True)

    def cancel(self, run: UUID) -> None:
        """Cancel a flow run, as the interface does."""
        self.client.set_flow_run_state(run, Cancelling())

    def is_(self, state: StateType, *runs: UUID) -> bool:
        """Whether flow runs are all in a state."""
        return all(self.client.read_flow_run(run).state_type is state for run in runs)

    def pid(self, name: str) -> int:
        """The process of a flow run, once it is there."""
        file = self.folder / f"{name}.pid"
        return int(until(f"{name} runs", lambda: file.exists() and file.read_text()))

    def is_gone(self, name: str) -> bool:
        """Whether the process of a flow run has ended."""
        try:
            status = Path(f"/proc/{self.pid(name)}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        return status.rpartition(")")[2].split()[0] == "Z"

    def kill(self, name: str, how: signal.Signals) -> None:
        """Send a signal to the process of a flow run, and forget it."""
        pid = self.pid(name)
        (self.folder / f"{name}.pid").unlink()
        os.kill(pid, how)

    def accepted(self, prompts: Sequence[str]) -> int:
        """How many requests fal accepted for some prompts."""
        return sum(each.body["prompt"] in prompts for each in self.emulator.submissions)

    def at_fal(self, prompt: str) -> State:
        """Where the latest request for a prompt is."""
        found = [each for each in self.emulator.submissions if each.body["prompt"] == prompt]
        return found[-1].state

    def watched(self, prompts: Sequence[str]) -> bool:
        """Whether the ledger has the tickets of all prompts."""
        rows = self.attempts(prompts)
        return len(rows) == len(prompts) and all(each["request_id"] for each in rows)

    def attempts(self, prompts: Sequence[str]) -> list[sqlite3.Row]:
        """The ledger's attempts for some prompts."""
        query = (
            "SELECT *, json_extract(body, '$.prompt') AS prompt FROM hailuo_attempt ORDER BY number"
        )
        return [each for each in self._read(query) if each["prompt"] in prompts]

    def answers(self, prompts: Sequence[str]) -> list[str | None]:
        """What fal said to the cancellations of some prompts' attempts."""
        return [each["cancel_answer"] for each in self.attempts(prompts)]

    def waiters(self, prompt: str) -> int:
        """How many calls have waited for a prompt's video."""
        key = self.attempts([prompt])[0]["key"]
        return sum(each["key"] == key for each in self._read("SELECT key FROM hailuo_waiter"))

    def expire_waiters(self) -> None:
        """Let a while pass for the ledger: whoever has died does not count as alive any more."""
        with closing(sqlite3.connect(self.folder / "ledger-emulator.db", timeout=10)) as database:
            database.execute("UPDATE hailuo_waiter SET lease_until = 0")
            database.commit()

    def finish(self) -> None:
        """Let everything at fal end."""
        for _ in range(len(self.emulator.submissions) + 1):
            self.clock.advance(A_GENERATION)

    def _read(self, query: str) -> list[sqlite3.Row]:
        file = self.folder / "ledger-emulator.db"
        if not file.exists():
            return []
        with closing(sqlite3.connect(file, timeout=10)) as database:
            database.row_factory = sqlite3.Row
            # The file is there a moment before its tables are.
            made = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'hailuo_attempt'")
            return database.execute(query).fetchall() if made.fetchone() else []


@contextmanager
def running(
    command: Sequence[str], environment: dict[str, str], log: Path, cwd: Path = HERE
) -> Iterator[int]:
    """A program in a process group of its own, ended with all its children."""
    with log.open("w") as out:
        process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
