"""Odd cases, each of which once lost or doubled a purchase, or told a secret."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from databases import address_of, run_sql
from ledger_ground import attempts_of, decided, ledger_at, purchase, submitted
from prefect.client.schemas.objects import FlowRun
from raw_server import BODY, ENDPOINT, KEY, SECRET, TICKET, RawServer, Reply, answer
from roads import FOX, OWL, order_of, path_of, record_of
from sqlalchemy import Connection, text

from prefect_hailuo.emulator import FalEmulator, ManualClock
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.sweep import Sweep, SweepRow
from prefect_hailuo.errors import (
    ConfigurationError,
    FalFaultError,
    HailuoError,
    LedgerError,
    SubmitUnknownError,
)
from prefect_hailuo.fal import post
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.messages import Cancellation
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.fal.transport import open_http
from prefect_hailuo.ledger import database
from prefect_hailuo.ledger.attempt import Attempt, Run
from prefect_hailuo.runs.execution import acquiring, generating, perform
from prefect_hailuo.storage.names import name_apart
from prefect_hailuo.tasks.sweep import _sweeping, cancel_generations, sweep

MANY_CANCELLED = """
INSERT INTO hailuo_waiter (id, key, realm, lease_until, started_at, cancelled_at)
SELECT 'i' || g, 'k' || g, 'fal', 0, 0, 1 FROM generate_series(1, 33000) g
"""

CANCELLED_FOX = """
INSERT INTO hailuo_waiter (id, key, realm, lease_until, started_at, cancelled_at)
VALUES ('fox', 'fox', 'fal', 0, 0, 1)
"""


async def test_any_number_of_calls_may_have_been_cancelled(postgresql_url: str) -> None:
    """Of 33,000 cancelled calls, the one whose request is still at fal is found."""
    async with ledger_at(postgresql_url) as ledger:
        await submitted(ledger, purchase())
        run_sql(postgresql_url, "DELETE FROM hailuo_waiter", CANCELLED_FOX, MANY_CANCELLED)
        assert [one.key for one in await ledger.waiters.unwanted("fal")] == ["fox"]


async def test_the_gate_is_passed_once_with_every_post() -> None:
    """httpcore says when a first byte is about to leave, by the name that is waited for."""
    passed: list[int] = []
    with RawServer(answer(200, {"request_id": "r1"})) as server:

        async def count() -> None:
            passed.append(len(server.requests))

        async with AsyncFalClient(server.access()) as client:
            for _ in range(3):
                await client.submit(ENDPOINT, BODY, before_sending=count)
    assert passed == [0, 1, 2]


@pytest.mark.parametrize("reply", [answer(200, {"request_id": "r1"}), Reply()])
async def test_an_httpcore_that_does_not_stop_at_the_gate_is_not_trusted(
    reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent without a word in the ledger is of unknown fate, answered or not."""
    monkeypatch.setattr(post, "FIRST_BYTE", "what another release calls it")
    with RawServer(reply) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(SubmitUnknownError):
                await client.submit(ENDPOINT, BODY)
    assert server.methods == ["POST"]


ECHO = Reply(f"HTTP/1.1 200 OK\r\nwhat came was Authorization: Key {KEY}\r\n\r\n".encode())

Call = Callable[[AsyncFalClient, PlatformClient], Awaitable[object]]

CALLS: dict[str, Call] = {
    "submit": lambda client, _: client.submit(ENDPOINT, BODY),
    "run": lambda client, _: client.run(ENDPOINT, BODY),
    "status": lambda client, _: client.status(TICKET, timeout_seconds=0.1),
    "stream": lambda client, _: anext(client.stream(TICKET)),
    "result": lambda client, _: client.result(TICKET, timeout_seconds=0.1),
    "cancel": lambda client, _: client.cancel(TICKET, timeout_seconds=0.1),
    "check_key": lambda client, _: client.check_key(timeout_seconds=0.1),
    "history": lambda _, platform: platform.history(
        ENDPOINT, datetime.now(timezone.utc), timeout_seconds=0.1
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
async def test_a_head_that_repeats_the_key_is_shown_without_it(call: Call) -> None:
    """A broken answer may hold our own request's head: no error shows it, nor what led to it."""
    with RawServer(ECHO) as server:
        async with open_http() as http:
            access = server.access()
            with pytest.raises(HailuoError) as caught:
                await call(AsyncFalClient(access, http), PlatformClient(access, http))
    assert "illegal header line" in str(caught.value)
    assert not [each for each in all_that_led_to(caught.value) if SECRET in each]


def all_that_led_to(error: BaseException | None) -> list[str]:
    """What an error may be shown as, and each that it came of, also where Python would not."""
    if error is None:
        return []
    shown = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    return [*shown, *all_that_led_to(error.__cause__), *all_that_led_to(error.__context__)]


async def test_a_worker_frozen_in_its_transaction_stops_nobody(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends what its client has forgotten, and those who wait for its locks go on."""
    monkeypatch.setattr(database, "IDLE_SECONDS", 1.0)

    async def decided_elsewhere() -> str:
        async with ledger_at(postgresql_url) as other:
            return await decided(other, purchase())

    def freeze(connection: Connection) -> None:
        connection.execute(text("LOCK TABLE hailuo_generation IN EXCLUSIVE MODE"))
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(anyio.run, decided_elsewhere).result() == "Buy"

    async with ledger_at(postgresql_url) as frozen:
        with pytest.raises(LedgerError, match="cannot be used"):
            await frozen.database.write(freeze)
        assert await decided(frozen, purchase("next")) == "Buy"


async def test_a_ledger_out_of_reach_is_tried_once_for_all_who_wait() -> None:
    """Twenty calls that want a ledger which does not answer fail together, by one attempt."""
    tried: list[int] = []
    with RawServer(Reply(ending="slam")) as server:
        url = server.url.replace("http://", "postgresql://postgres@") + "/postgres"
        for callers in (1, 20):
            async with ledger_at(url) as ledger, anyio.create_task_group() as tasks:
                for _ in range(callers):
                    tasks.start_soon(decided, ledger, purchase())
            tried.append(server.connections - sum(tried))
    assert tried[0] == tried[1] > 0


async def test_a_deleted_ledger_is_not_written_to_nor_made_anew(ledger_url: str) -> None:
    """A worker whose ledger's file has gone buys nothing, until the file is back."""
    file = anyio.Path(address_of(ledger_url).file or "")
    async with ledger_at(ledger_url) as ledger:
        await submitted(ledger, purchase("before"))
        await file.rename(file.with_suffix(".away"))
        for _ in range(2):
            with pytest.raises(LedgerError, match="Put it back"):
                await ledger.claims.claim(purchase("gone"))
        assert not await file.exists()
        await file.with_suffix(".away").rename(file)
        assert await decided(ledger, purchase("before")) == "Attach"


async def test_a_replaced_ledger_is_opened_anew(ledger_url: str) -> None:
    """Another worker began a new ledger in its place: from then on, both write into that."""
    file = Path(address_of(ledger_url).file or "")
    async with ledger_at(ledger_url) as ledger, ledger_at(ledger_url) as other:
        await ledger.claims.latest("any")
        for each in file.parent.glob(f"{file.name}*"):
            each.unlink()
        assert await decided(other, purchase()) == "Buy"
        assert await decided(ledger, purchase()) == "LedgerError"
        assert await decided(ledger, purchase()) == "Wait"


ODD = os.fsdecode(b"sh\xf6t.txt")
"""A file's name that is no UTF-8, as Python reads it."""


@pytest.mark.parametrize(
    "options",
    [{"labels": {"file": ODD}}, {"labels": {"a\0": ""}}, {"take": ODD}, {"budget": "a\0b"}],
)
def test_words_that_cannot_be_written_down_are_refused_first(
    emulator: FalEmulator, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Half a character, or a NUL, is refused before anything is bought for it."""
    with pytest.raises(ConfigurationError, match="nothing was bought"):
        order_of(emulator, tmp_path, **options)
    with pytest.raises(ConfigurationError, match="storage holds"):
        order_of(emulator, tmp_path / ODD)


async def test_a_search_that_ends_in_odd_words_is_parked(postgresql_url: str) -> None:
    """Whatever fal or a proxy says, the reason can be written down."""
    async with ledger_at(postgresql_url) as ledger:
        one = await submitted(ledger, purchase())
        assert await ledger.records.parked(one, f"It said {ODD} and \0.")
        await ledger.records.failed(one, FalFaultError(f"{ODD} and \0"))
    [row] = attempts_of(postgresql_url)
    assert "sh?t.txt and ?" in row["error"]["message"]


def test_one_bad_row_does_not_stop_the_sweep(
    emulator: FalEmulator, ledger_url: str, tmp_path: Path
) -> None:
    """What is wrong with one attempt is told in its row, and the others are looked after."""
    for wanted in (FOX, OWL):
        perform(acquiring(order_of(emulator, tmp_path / "videos", wanted)))
    bad = f"UPDATE hailuo_attempt SET place = place || char(0) WHERE endpoint = '{FOX.endpoint.id}'"  # noqa: S608
    run_sql(ledger_url, bad, "UPDATE hailuo_waiter SET lease_until = 0", realm="emulator")
    time.sleep(1)
    rows = sweep(credentials=[emulator.credentials()]).rows
    assert [row.outcome for row in rows] == ["failed", "collected"]
    assert "null byte" in rows[0].detail


def test_a_second_paid_video_replaces_nothing(emulator: FalEmulator, tmp_path: Path) -> None:
    """A duplicate is collected beside the video that counts, under a name of its own."""
    order = order_of(emulator, tmp_path)
    first = perform(generating(order))

    async def send_another(connections: Connections, emit: Emit) -> Attempt:
        ledger = connections.ledgers.at(order.ledger)
        counted = await ledger.claims.latest(order.key)
        assert counted is not None
        client = AsyncFalClient(order.access, purchases=connections.purchases)
        ticket = await client.submit(order.request.endpoint, dict(order.request.body))
        return await ledger.records.accepted(counted, order.named(ticket))

    second = process_loop().run(send_another).open_ticket()
    time.sleep(1)
    before = path_of(first).stat(), record_of(first).read_text()
    [row] = sweep(credentials=[emulator.credentials()]).rows
    beside = path_of(first).with_name(name_apart(path_of(first).name, second.request_id))
    assert (row.outcome, row.detail) == ("collected", str(beside))
    assert before == (path_of(first).stat(), record_of(first).read_text())
    assert beside.exists() and second.request_id in beside.with_suffix(".json").read_text()
    assert perform(generating(order)) == first


@pytest.fixture
def wanted(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FalEmulator, FlowRun]]:
    """A request in the queue of an emulator whose time stands still, and the flow run's it is."""
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="buyer")
    with FalEmulator(clock=ManualClock(), clip="plain") as fal:
        monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", fal.url)
        order = replace(order_of(fal, tmp_path), run=Run(str(run.id), None))
        perform(acquiring(order))
        yield fal, run


@pytest.mark.usefixtures("prefect_server")
def test_the_hook_cancels_in_one_realm_though_the_others_ledger_is_broken(
    wanted: tuple[FalEmulator, FlowRun], ledger_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook logs what it could not do, and does the rest."""
    fal, run = wanted
    Path(address_of(ledger_url).file or "").write_bytes(b"No database." * 100)
    cancel_generations(None, run, None)
    assert fal.requests["cancel"] == 1
    assert "file is not a database" in caplog.text


async def test_fal_may_not_know_yet_what_it_has_just_accepted(each_ledger: str) -> None:
    """A request that cannot be found to be cancelled is looked for again, while it is new."""
    async with ledger_at(each_ledger) as ledger:
        one = await submitted(ledger, purchase(run=Run("one", None)))
        await ledger.waiters.withdraw(["one"])
        for known in (False, True):
            await ledger.waiters.record_cancellation(one, Cancellation.UNKNOWN_REQUEST)
            assert (await ledger.waiters.unwanted("fal") == []) is known
            run_sql(each_ledger, "UPDATE hailuo_attempt SET submitted_at = submitted_at - 61")


def test_what_is_wanted_again_is_not_cancelled(wanted: tuple[FalEmulator, FlowRun]) -> None:
    """Between a sweep's look at the ledger and its turn at fal, somebody may have come."""
    access = wanted[0].credentials().access()

    async def cancel_late(sweeping: Sweep) -> SweepRow:
        [one] = await sweeping._ledger.unfinished.attempts("emulator")
        return await sweeping._cancel(one, access)

    job = _sweeping("emulator", {access.account: access}, cancel_late)
    assert process_loop().run(job).outcome == "waited for"
    assert wanted[0].requests["cancel"] == 0
