"""A ledger that is an older copy of itself buys nothing that fal's history shows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from databases import LEDGER_URL, run_sql
from file_server import smallest_video
from roads import generate, hurried, order_of, path_of
from test_lookback import adopt, take_in

from conftest import close_ledgers
from prefect_hailuo import Hailuo23ProTextToVideo, Video
from prefect_hailuo.emulator import (
    FalEmulator,
    delay,
    drop_before_accepting,
    edit,
    expire_file,
    refuse,
    wrong_bytes,
)
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.errors import FalError, ParkedError
from prefect_hailuo.runs.execution import acquiring, perform
from prefect_hailuo.storage import download

FOX, OWL, ELK = (Hailuo23ProTextToVideo(prompt=f"{each} runs.") for each in ("Fox", "Owl", "Elk"))

HOUR = 3600.0

WATCHED = delay("history", 0.0, count=None)
"""Does no harm, and is counted."""

OLD = f"UPDATE hailuo_origin SET began_at = began_at - {40 * 24 * HOUR}"  # noqa: S608


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in the history at once is not waited for."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS", "0")


@pytest.fixture
def buy(fal: FalEmulator, tmp_path: Path) -> Callable[..., str]:
    """Have something bought, or found; the request's id."""
    return lambda input, **options: (
        perform(acquiring(order_of(fal, tmp_path, input, **options))).request_id
    )


def restart() -> None:
    """What is next is another process."""
    process_loop().run(close_ledgers)


def put_back(url: str, *lost: str) -> None:
    """Put the ledger back from a copy that has not these requests."""
    restart()
    for each in lost:
        of_it = f"(SELECT key FROM hailuo_attempt WHERE request_id = '{each}')"  # noqa: S608
        run_sql(
            url,
            f"DELETE FROM hailuo_waiter WHERE key IN {of_it}",  # noqa: S608
            f"CREATE TEMP TABLE gone AS SELECT key FROM hailuo_attempt WHERE request_id = '{each}'",  # noqa: S608
            f"DELETE FROM hailuo_attempt WHERE request_id = '{each}'",  # noqa: S608
            "DELETE FROM hailuo_generation WHERE key IN (SELECT key FROM gone)",
            "DROP TABLE gone",
        )


def make_old(url: str) -> None:
    """It began so long ago that fal has forgotten what was before."""
    run_sql(url, OLD)


def test_what_an_older_copy_has_not_is_collected(
    fal: FalEmulator, each_ledger: str, buy: Callable[..., str]
) -> None:
    """Bought after the copy was made; in every process, whoever bought something else meanwhile."""
    buy(ELK)
    make_old(each_ledger)
    fox, owl = buy(FOX), buy(OWL)
    put_back(each_ledger, fox, owl)
    assert buy(FOX) == fox
    other = buy(Hailuo23ProTextToVideo(prompt="Another."))
    restart()  # by now, the newest row is of that
    assert buy(OWL) == owl
    assert len(fal.submissions) == 4 and other not in (fox, owl)


def test_another_take_of_it_is_closed(
    fal: FalEmulator, ledger_url: str, buy: Callable[..., str]
) -> None:
    """Which take it was, nobody knows: nothing is bought, and a person may adopt it."""
    buy(ELK)
    fox = buy(FOX, take=7)
    put_back(ledger_url, fox)
    with pytest.raises(ParkedError, match=fox):
        buy(FOX, take=7)
    assert len(fal.submissions) == 2


def test_a_failed_key_of_it_is_not_bought_again(
    fal: FalEmulator, ledger_url: str, buy: Callable[..., str]
) -> None:
    """Its first attempt failed at no cost; the second is in the lost tail."""
    fal.faults.add(refuse("submit", 403))
    with pytest.raises(FalError):
        buy(FOX)
    fox = buy(FOX)
    restart()
    run_sql(ledger_url, f"DELETE FROM hailuo_attempt WHERE request_id = '{fox}'")  # noqa: S608
    assert buy(FOX) == fox
    assert len(fal.submissions) == 1


def as_before(url: str, request_id: str, video: Video) -> None:
    """Put the ledger back from a copy in which this request had not replaced the video yet."""
    restart()
    record = video.model_dump_json().replace("'", "''").replace(":", r"\:")
    run_sql(
        url,
        f"UPDATE hailuo_file SET number = 1, video = '{record}'",  # noqa: S608
        f"DELETE FROM hailuo_attempt WHERE request_id = '{request_id}'",  # noqa: S608
        "UPDATE hailuo_generation SET attempts = 1, consented = 0",
    )


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "lost"])
def test_what_replaced_a_lost_video_is_not_paid_for_once_more(
    fal: FalEmulator,
    each_ledger: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: bool,
) -> None:
    """The copy knows the lost video alone; what took its place is in fal's history."""
    monkeypatch.setattr(download, "KEPT_SECONDS", 0.0)
    fal.faults.add(wrong_bytes(smallest_video(b"another")))
    first = generate(fal, tmp_path)
    path_of(first).unlink()
    fal.faults.add(expire_file(count=download.MOST_ATTEMPTS))
    second = hurried(fal, tmp_path, on_lost="resubmit")
    as_before(each_ledger, second.request_id, first)
    if not kept:
        path_of(second).unlink()
    fal.faults.add(expire_file(count=download.MOST_ATTEMPTS))
    again = hurried(fal, tmp_path, on_lost="resubmit")
    assert (again.request_id, again.is_there()) == (second.request_id, True)
    assert fal.charged == 2


@pytest.mark.parametrize("readable", [True, False])
def test_what_replaced_a_lost_answer_is_not_paid_for_once_more(
    fal: FalEmulator, each_ledger: str, tmp_path: Path, buy: Callable[..., str], readable: bool
) -> None:
    """The copy knows the lost answer alone, of a POST that never arrived."""
    fal.faults.add(drop_before_accepting("submit"))
    with pytest.raises(ParkedError):
        buy(FOX)
    run_sql(each_ledger, "UPDATE hailuo_attempt SET sent_at = sent_at - 600")
    second = buy(FOX, on_ambiguous="resubmit")
    put_back(each_ledger, "none")
    run_sql(
        each_ledger,
        f"DELETE FROM hailuo_attempt WHERE request_id = '{second}'",  # noqa: S608
        "UPDATE hailuo_generation SET attempts = 1, consented = 0",
    )
    if not readable:
        fal.faults.add(refuse("history", 403, nth=2))
        with pytest.raises(ParkedError, match="could not be read"):
            buy(FOX, on_ambiguous="resubmit")
    assert buy(FOX, on_ambiguous="resubmit") == second
    assert len(fal.submissions) == 1


def test_a_ledger_that_becomes_an_older_copy_while_the_history_is_read(
    fal: FalEmulator, postgresql_url: str, buy: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that lags by hours takes over: what it has not is looked for in all of them."""
    monkeypatch.setenv(LEDGER_URL, postgresql_url)
    buy(ELK)
    make_old(postgresql_url)
    run_sql(postgresql_url, "UPDATE hailuo_attempt SET intended_at = intended_at - 7200")
    owl = buy(OWL)
    restart()
    lost = fal.plant(FOX.endpoint.id, FOX.body(), seconds_ago=HOUR)

    def fail_over(page: Any) -> Any:
        run_sql(
            postgresql_url,
            f"DELETE FROM hailuo_attempt WHERE request_id = '{owl}'",  # noqa: S608
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        return page

    fal.faults.add(edit("history", fail_over))
    buy(Hailuo23ProTextToVideo(prompt="Another."))
    assert buy(FOX) == lost
    assert len(fal.submissions) == 3


def test_thousands_ask_once(fal: FalEmulator, ledger_url: str, tmp_path: Path) -> None:
    """Whoever comes while the history is read waits for that reading; later nobody reads it."""
    perform(acquiring(order_of(fal, tmp_path, ELK)))
    make_old(ledger_url)
    restart()
    fal.faults.add(WATCHED)
    inputs = [Hailuo23ProTextToVideo(prompt=f"Fox {n}.") for n in range(20)]
    with ThreadPoolExecutor(20) as threads:
        bought = threads.map(lambda each: perform(acquiring(order_of(fal, tmp_path, each))), inputs)
        assert len({each.request_id for each in bought}) == 20
    assert fal.faults.struck(WATCHED) == 1


def test_somebody_elses_request_is_not_in_the_way(
    fal: FalEmulator, ledger_url: str, buy: Callable[..., str]
) -> None:
    """It asked for something else; it is no row, and takes nothing from a budget."""
    buy(ELK)
    make_old(ledger_url)
    restart()
    fal.plant(OWL.endpoint.id, OWL.body())
    buy(FOX)
    assert len(run_sql(ledger_url, "SELECT key FROM hailuo_attempt")) == 2
    assert len(fal.submissions) == 2


def test_a_history_that_cannot_be_read_stops_the_purchase(
    fal: FalEmulator, ledger_url: str, buy: Callable[..., str]
) -> None:
    """Nothing is bought blindly, and the next call looks again."""
    buy(ELK)
    make_old(ledger_url)
    restart()
    fal.faults.add(refuse("history", 403))
    with pytest.raises(FalError):
        buy(FOX)
    assert len(fal.submissions) == 1
    buy(FOX)
    assert len(fal.submissions) == 2


def with_more(page: Any) -> Any:
    """fal shows one more field of each input."""
    items = [{**each, "json_input": {**each["json_input"], "seed": 7}} for each in page["items"]]
    return {**page, "items": items}


@pytest.mark.parametrize("imported", [False, True], ids=["looked for", "imported"])
def test_one_more_field_makes_nobody_a_stranger(
    fal: FalEmulator, tmp_path: Path, buy: Callable[..., str], imported: bool
) -> None:
    """Equal in what was sent: it may be ours, so it is not bought, and a person may adopt it."""
    planted = fal.plant(FOX.endpoint.id, FOX.body(), seconds_ago=60)
    fal.faults.add(edit("history", with_more, count=None))
    order = order_of(fal, tmp_path, FOX)
    if imported:
        assert take_in(order) == ["attempt"]
    with pytest.raises(ParkedError, match=planted if not imported else "more fields"):
        buy(FOX)
    assert fal.submissions == []
    adopt(order, planted)
    assert buy(FOX) == planted
