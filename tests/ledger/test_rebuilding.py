"""Import from fal's history, after a ledger was lost: nothing is bought anew, all is counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import refusal, succeed
from databases import run_sql
from ledger_ground import ledger_at
from roads import FOX, OWL, generate, order_of

from prefect_hailuo.emulator import (
    FalEmulator,
    Fault,
    drop_after_accepting,
    expire_file,
    fail_inside,
    refuse_content,
    time_out,
)
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.order import Order
from prefect_hailuo.errors import HailuoError, ParkedError
from prefect_hailuo.fal.platform import PlatformClient
from prefect_hailuo.ledger.upkeep.rebuild import Rebuilt
from prefect_hailuo.runs.execution import acquiring, perform

LoseLedger = Callable[[], None]


@pytest.fixture(autouse=True)
def emulated(tiny: FalEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are about this emulator."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", tiny.url)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")


def rebuilt(order: Order, days: float = 30) -> list[Rebuilt]:
    """What is entered of the history of an order's account."""

    async def job(connections: Connections, emit: Emit) -> list[Rebuilt]:
        ledger = connections.ledgers.at(order.ledger)
        platform = PlatformClient(order.access, connections.http)
        found = await ledger.rebuilding.rebuild(platform, days=days, scope="found")
        await ledger.beginnings.settle(order.access.realm, order.access.account)
        return found

    return process_loop().run(job)


def outcomes() -> list[tuple[str, str | None]]:
    """What an import does with each request, the oldest first."""
    rows = succeed("ledger", "import", "--json").json
    return [(row["outcome"], row["fate"]) for row in rows]


def test_a_lost_ledger_is_written_anew(
    tiny: FalEmulator, tmp_path: Path, lose_ledger: LoseLedger
) -> None:
    """A rerun then collects the videos that were bought, wherever they are wanted."""
    bought = [generate(tiny, tmp_path / "videos", each) for each in (FOX, OWL)]
    lose_ledger()
    said = succeed("ledger", "import").words
    assert "2 entered: a rerun collects it." in said
    again = [generate(tiny, tmp_path / "elsewhere", each) for each in (FOX, OWL)]
    assert [each.request_id for each in again] == [each.request_id for each in bought]
    assert [each.sha256 for each in again] == [each.sha256 for each in bought]
    assert tiny.charged == 2


def test_a_file_that_is_still_there_is_not_downloaded_again(
    tiny: FalEmulator, tmp_path: Path, lose_ledger: LoseLedger
) -> None:
    """The place's own record tells that it is this request's video; fal may have it no longer."""
    video = generate(tiny, tmp_path / "videos")
    lose_ledger()
    succeed("ledger", "import")
    tiny.faults.add(expire_file(count=None))
    assert generate(tiny, tmp_path / "videos") == video
    assert len(tiny.media_requests) == 1


def test_all_the_money_is_counted(
    tiny: FalEmulator, tmp_path: Path, lose_ledger: LoseLedger
) -> None:
    """Each video at the catalogue's price, on the settings' scope, at the time it was sent."""
    for take in range(3):
        generate(tiny, tmp_path / "videos", take=take)
    planted = tiny.plant(OWL.endpoint.id, OWL.body(), seconds_ago=5 * 86_400)
    lose_ledger()
    succeed("ledger", "import")
    days = succeed("spend", "--by", "day", "--json").json
    assert [day["settled_usd"] for day in days["groups"]] == ["0.49", "1.44"]
    (old,) = (r for r in succeed("ledger", "list", "--json").json if r["request_id"] == planted)
    assert old["adopted"] and old["intended_at"][:10] == days["groups"][0]["group"]


def test_it_may_be_repeated(tiny: FalEmulator, tmp_path: Path, lose_ledger: LoseLedger) -> None:
    """What is known stays as it is, also what has gone on since."""
    generate(tiny, tmp_path / "videos")
    lose_ledger()
    assert outcomes() == [("attempt", "succeeded")]
    generate(tiny, tmp_path / "videos")
    before = succeed("ledger", "list", "--json").json
    assert outcomes() == [("known", None)]
    assert succeed("ledger", "list", "--json").json == before
    assert tiny.charged == 1


def test_of_equal_requests_the_first_that_succeeded_is_the_attempt(
    tiny: FalEmulator, tmp_path: Path, lose_ledger: LoseLedger
) -> None:
    """The others, failed or not, are shown as its duplicates; a rerun gets the first's video."""
    tiny.faults.add(fail_inside())
    with pytest.raises(HailuoError):
        generate(tiny, tmp_path / "videos")
    first = generate(tiny, tmp_path / "videos")
    generate(tiny, tmp_path / "videos", take=1)
    lose_ledger()
    rows = succeed("ledger", "import", "--json").json
    assert [row["outcome"] for row in rows] == ["duplicate", "attempt", "duplicate"]
    assert [row["fate"] for row in rows] == ["failed", "succeeded", "succeeded"]
    assert [row["cost_usd"] for row in rows] == ["0", "0.48", "0.48"]
    assert generate(tiny, tmp_path / "anew").request_id == first.request_id
    assert tiny.charged == 2


@pytest.mark.parametrize(
    ("fault", "billed", "rerun"),
    [(refuse_content(), "unknown", "raise"), (time_out(), "no", "buy")],
    ids=["refused", "faulty"],
)
def test_a_failure_is_entered_by_fals_rules(
    fault: Fault,
    billed: str,
    rerun: str,
    tiny: FalEmulator,
    tmp_path: Path,
    lose_ledger: LoseLedger,
) -> None:
    """A 5xx cost nothing and is bought anew; a 4xx may have, and raises its error."""
    tiny.faults.add(fault)
    with pytest.raises(HailuoError):
        generate(tiny, tmp_path / "videos")
    lose_ledger()
    assert outcomes() == [("attempt", "failed")]
    (row,) = succeed("ledger", "list", "--json").json
    assert (row["billed"], row["rerun"], row["estimated_usd"]) == (billed, rerun, "0.48")


def test_what_is_under_way_is_attached_to(tmp_path: Path, lose_ledger: LoseLedger) -> None:
    """A request that has not ended is waited for by the next run."""
    with FalEmulator(speed=1, clip=b"", durations=3600) as slow:
        order = order_of(slow, tmp_path / "videos")
        ticket = perform(acquiring(order))
        lose_ledger()
        (found,) = rebuilt(order_of(slow, tmp_path / "videos"))
        assert (found.outcome, found.fate, found.request_id) == (
            ("attempt", "submitted", ticket.request_id)
        )
        again = perform(acquiring(order_of(slow, tmp_path / "videos")))
        assert (again.request_id, slow.stats()["submitted"]) == (ticket.request_id, 1)


def test_a_result_that_the_queue_has_dropped_is_still_collected(
    tiny: FalEmulator, tmp_path: Path, lose_ledger: LoseLedger
) -> None:
    """The history's own output is in the ledger: the queue is not asked for it."""
    generate(tiny, tmp_path / "videos")
    lose_ledger()
    succeed("ledger", "import")
    asked = tiny.requests["result"]
    generate(tiny, tmp_path / "anew")
    assert tiny.requests["result"] == asked


def test_a_lost_attempts_request_is_left_to_reconciling(tiny: FalEmulator, tmp_path: Path) -> None:
    """Entered as another's, it would be hidden from the attempt that misses it."""
    tiny.history.lag_seconds = 1e9
    tiny.faults.add(drop_after_accepting("submit"))
    with pytest.raises(ParkedError):
        generate(tiny, tmp_path / "videos", take=7)
    tiny.history.lag_seconds = 0
    assert outcomes() == [("searched", None)]
    assert generate(tiny, tmp_path / "videos", take=7).take == "7"
    assert tiny.charged == 1


def test_what_cannot_be_read_is_said(tiny: FalEmulator, tmp_path: Path) -> None:
    """Without its input nobody knows what it was; an input that no task can send is nobody's."""
    tiny.plant(FOX.endpoint.id, {"prompt": ""})
    assert outcomes() == [("foreign", None)]
    tiny.history.omits_payloads = True
    said = succeed("ledger", "import").words
    assert "1 fal does not show its input." in said and "ledger import --skip" in said


def settled(url: str) -> list[str]:
    """The accounts whose history is accounted for."""
    rows = run_sql(url, "SELECT account FROM hailuo_history", realm="emulator")
    return [row["account"] for row in rows]


def test_an_account_is_settled_by_an_import_or_by_word(tiny: FalEmulator, ledger_url: str) -> None:
    """After a whole import, or with `--skip`, which asks fal nothing; not where inputs miss."""
    tiny.plant(FOX.endpoint.id, FOX.body())
    tiny.history.omits_payloads = True
    succeed("ledger", "import")
    assert settled(ledger_url) == []
    assert "nothing was read" in succeed("ledger", "import", "--skip").words
    assert settled(ledger_url) == ["emulator"]
    assert succeed("ledger", "list", "--json").json == []
    assert "Give one of them" in refusal("ledger", "import", "export.jsonl", "--skip")


def test_an_import_of_a_few_days_settles_nothing(tiny: FalEmulator, ledger_url: str) -> None:
    """What is older may have been bought all the same."""
    assert "still looked for" in succeed("ledger", "import", "--days", "5").words
    assert settled(ledger_url) == []
    succeed("ledger", "import")
    assert settled(ledger_url) == ["emulator"]


def test_every_page_of_the_window_is_read(tiny: FalEmulator) -> None:
    """However many there are, and no further back than was asked for."""
    for n in range(7):
        tiny.plant(FOX.endpoint.id, {"prompt": f"Fox {n}."}, seconds_ago=n * 86_400 + 60)
    tiny.history.page_size = 2
    assert len(succeed("ledger", "import", "--days", "5", "--json").json) == 5
    assert len(succeed("ledger", "list", "--json").json) == 5


async def test_a_real_account_is_imported_into_either_database(
    fal: FalEmulator, each_ledger: str, tmp_path: Path
) -> None:
    """On SQLite and on PostgreSQL, by an account of the realm `fal`."""
    fal.plant(FOX.endpoint.id, FOX.body(), seconds_ago=60)
    order = order_of(fal, tmp_path / "videos")
    (found,) = rebuilt(order)
    assert (found.key, found.outcome) == (order.key, "attempt")
    async with ledger_at(each_ledger) as ledger:
        (spent,) = await ledger.spending.spent("fal")
    assert (spent.group, str(spent.settled_usd), spent.videos) == ("found", "0.48", 1)
    assert generate(fal, tmp_path / "videos").request_id == found.request_id
    assert fal.submissions == []
