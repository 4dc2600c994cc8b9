"""The database under the ledger: durable, and closed to all purchases when it cannot be used."""

from __future__ import annotations

import asyncio
import os
import stat
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from databases import LEDGER_URL, holding, run_sql
from file_server import smallest_video
from ledger_ground import attempts_of, decided, end_leases, intended, latest, ledger_at, purchase
from roads import Hundredfold, generate, order_of, timed
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.loop import process_loop
from prefect_hailuo.errors import Billed, LedgerError
from prefect_hailuo.ledger import database
from prefect_hailuo.ledger.address import Allowance, ledger_address
from prefect_hailuo.ledger.attempt import Fate, Limits
from prefect_hailuo.ledger.database import Database

BREAK_DOWN = """
CREATE FUNCTION break_down() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN RAISE EXCEPTION ''the disk is full''; END'
"""

BREAKING = """
CREATE TRIGGER breaking BEFORE UPDATE ON hailuo_attempt
FOR EACH ROW WHEN (NEW.fate = '{fate}') EXECUTE FUNCTION break_down()
"""
"""A disk that is full at one moment of the road."""


@pytest.fixture
def fal() -> Iterator[FalEmulator]:
    """An emulator that plays fal, with videos that are made at once."""
    with FalEmulator(speed=1000, clip=smallest_video(), durations=10, realm="fal") as started:
        yield started


async def test_an_intent_survives_a_power_cut(ledger_url: str) -> None:
    """SQLite is told to wait for the disk at every commit, and to write ahead."""
    async with ledger_at(ledger_url) as ledger:
        for run in (ledger.database.write, ledger.database.read):
            said = [
                await run(scalar, f"PRAGMA {name}")
                for name in ("synchronous", "journal_mode", "foreign_keys")
            ]
            assert said == [2, "wal", 1]


def scalar(connection: Connection, statement: str) -> object:
    """The one value that a statement gives."""
    return connection.execute(text(statement)).scalar()


async def test_postgresql_waits_for_its_disk(postgresql_url: str) -> None:
    """A commit is one that outlives a crash, whatever the database's own setting is."""
    name = make_url(postgresql_url).database
    run_sql(postgresql_url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert run_sql(postgresql_url, "SHOW synchronous_commit") == [{"synchronous_commit": "off"}]
    async with ledger_at(postgresql_url) as ledger:
        assert await ledger.database.write(scalar, "SHOW synchronous_commit") == "on"


async def test_readers_wait_for_no_writer(each_ledger: str) -> None:
    """Somebody keeps the ledger locked: what is written can still be seen."""
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase())
        with holding(each_ledger, "UPDATE hailuo_generation SET attempts = 7"):
            one = await asyncio.wait_for(latest(ledger), 5)
        assert one.fate is Fate.INTENDED


async def test_half_a_transaction_is_none(each_ledger: str) -> None:
    """What fails in the middle leaves no trace."""
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase())
        with pytest.raises(RuntimeError):
            await ledger.database.write(delete_and_fail)
        assert await decided(ledger, purchase()) == "Wait"


def delete_and_fail(connection: Connection) -> None:
    """Change something, and fail."""
    connection.execute(text("DELETE FROM hailuo_attempt"))
    raise RuntimeError


async def test_cancelled_callers_leave_the_ledger_in_order(each_ledger: str) -> None:
    """Given up at thirty different moments: each claim is there or not, and the next one works."""
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase("first"))
        for number in range(30):
            with anyio.move_on_after(number / 5_000):  # as a job of the package's loop is
                await ledger.claims.claim(purchase(f"key {number}"))
        assert await decided(ledger, purchase("last")) == "Buy"
    alone = "SELECT key FROM hailuo_generation g WHERE attempts <> (SELECT count(*) {})"
    torn = run_sql(each_ledger, alone.format("FROM hailuo_attempt a WHERE a.key = g.key"))
    assert torn == []


async def test_a_cancelled_task_leaves_no_lock(each_ledger: str) -> None:
    """Also where it is asyncio that cancels, at any moment of a transaction."""
    async with ledger_at(each_ledger) as ledger:
        await intended(ledger, purchase("first"))
        for number in range(30):
            writing = asyncio.create_task(ledger.budgets.put("fal", f"scope {number}", Limits()))
            await asyncio.sleep(number / 5_000)
            writing.cancel()
            await asyncio.wait([writing])
        assert await asyncio.wait_for(decided(ledger, purchase("last")), 30) == "Buy"


@pytest.mark.parametrize("gone", ["moved", "moved while a connection is lost"])
async def test_a_ledger_that_was_taken_away_is_not_begun_anew(tmp_path: Path, gone: str) -> None:
    """An empty one would not know what was bought: all fails until it is back, and then goes on."""
    file = tmp_path / "a ledger % of ours" / "ledger.db"
    async with ledger_at(f"sqlite:///{file}") as ledger:
        await intended(ledger, purchase())
        with moved_away(file):
            if "lost" in gone:
                await lose_connections(ledger.database)
            for number in range(20):
                with pytest.raises(LedgerError):
                    await ledger.claims.claim(purchase(f"key {number}"))
            assert not file.exists()
        assert await decided(ledger, purchase()) == "Wait"


@contextmanager
def moved_away(file: Path) -> Iterator[None]:
    """A ledger's files, somewhere else for a while."""
    aside = file.parent / "aside"
    aside.mkdir()
    for each in file.parent.glob("ledger.db*"):
        each.rename(aside / each.name)
    yield
    for each in aside.iterdir():
        each.replace(file.parent / each.name)


async def lose_connections(database: Database) -> None:
    """What the pool does after an error that a connection does not survive."""
    opened = await database._open()
    with opened.engine.sync_engine.connect() as connection:
        connection.invalidate()


def a_file_that_is_no_database(folder: Path) -> str:
    """Somebody's letter, where the ledger should be."""
    (folder / "letter").write_text("Dear ledger,\n" * 1000)
    return f"sqlite:///{folder / 'letter'}"


def below_a_file(folder: Path) -> str:
    """A place that cannot be made."""
    (folder / "file").touch()
    return f"sqlite:///{folder / 'file' / 'ledger.db'}"


def where_nobody_may_write(folder: Path) -> str:
    """A file system that takes no files, not even root's."""
    return "sqlite:////proc/hailuo/ledger.db"


def a_server_that_is_stopped(folder: Path) -> str:
    """A PostgreSQL's socket without a PostgreSQL."""
    return f"postgresql://fox:sesame@/hailuo?host={folder}"


def a_server_that_refuses(folder: Path) -> str:
    """A port that nobody listens on."""
    return "postgresql://fox:sesame@127.0.0.1:1/hailuo"


USELESS = [
    a_file_that_is_no_database,
    below_a_file,
    where_nobody_may_write,
    a_server_that_is_stopped,
    a_server_that_refuses,
]


@pytest.mark.parametrize("make", USELESS, ids=lambda make: make.__name__)
def test_without_a_ledger_nothing_is_bought(
    fal: FalEmulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], str],
) -> None:
    """Through the whole road: the error names the ledger and a cure, and no password."""
    folder = tmp_path / "useless"
    folder.mkdir()
    monkeypatch.setenv(LEDGER_URL, make(folder))
    with pytest.raises(LedgerError, match="cannot be used") as caught:
        generate(fal, tmp_path)
    assert (caught.value.billed, LEDGER_URL in caught.value.cure) == (Billed.NO, True)
    assert "sesame" not in "".join(traceback.format_exception(caught.value))
    assert (fal.charged, fal.requests["submit"]) == (0, 0)


def test_a_locked_ledger_buys_nothing(
    fal: FalEmulator, tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody keeps it locked for longer than is waited for; after that it works."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.3)
    with holding(ledger_url), pytest.raises(LedgerError, match="locked"):
        generate(fal, tmp_path)
    assert (fal.charged, fal.requests["submit"]) == (0, 0)
    assert generate(fal, tmp_path).is_there()


def test_a_read_only_ledger_buys_nothing(
    fal: FalEmulator, tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby server, say: it answers questions, and takes no intent."""
    monkeypatch.setenv(LEDGER_URL, postgresql_url)
    name = postgresql_url.rpartition("?")[0].rpartition("/")[2]
    run_sql(postgresql_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(LedgerError, match="read-only"):
        generate(fal, tmp_path)
    assert (fal.charged, fal.requests["submit"]) == (0, 0)


async def test_a_ledger_that_goes_away_is_an_error_and_may_come_back(postgresql_url: str) -> None:
    """Every connection is cut, and then the database is closed for a while."""
    name = postgresql_url.rpartition("?")[0].rpartition("/")[2]
    other = postgresql_url.replace(name, "postgres")
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
    async with ledger_at(postgresql_url) as ledger:
        await intended(ledger, purchase("before"))
        run_sql(other, cut)
        assert await decided(ledger, purchase("cut")) == "Buy"
        run_sql(other, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", cut)
        with pytest.raises(LedgerError, match="cannot be used"):
            await ledger.claims.claim(purchase("closed"))
        run_sql(other, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert await decided(ledger, purchase("open")) == "Buy"


def test_an_intent_that_cannot_become_a_post_is_none(
    fal: FalEmulator, tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger fails between the intent and the first byte: no byte leaves."""
    monkeypatch.setenv(LEDGER_URL, postgresql_url)
    _break(postgresql_url, Fate.SENDING)
    with pytest.raises(LedgerError, match="the disk is full"):
        generate(fal, tmp_path)
    assert (fal.charged, fal.submissions) == (0, [])


def test_a_ticket_that_cannot_be_written_is_in_the_error_and_found_again(
    fal: FalEmulator, tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger fails right after the POST: the next run adopts the request from the history."""
    monkeypatch.setenv(LEDGER_URL, postgresql_url)
    _break(postgresql_url, Fate.SUBMITTED)
    order = order_of(fal, tmp_path)
    with pytest.raises(LedgerError) as caught:
        process_loop().run(timed(order, Hundredfold()))
    assert caught.value.ticket is not None and caught.value.billed is Billed.UNKNOWN
    run_sql(postgresql_url, "DROP TRIGGER breaking ON hailuo_attempt")
    end_leases(postgresql_url)
    video = generate(fal, tmp_path)
    assert (video.request_id, fal.charged) == (caught.value.ticket.request_id, 1)
    assert [row["adopted"] for row in attempts_of(postgresql_url, order.key)] == [True]


def _break(url: str, fate: Fate) -> None:
    """Let a ledger fail at one moment of the road, once it is there."""

    async def make() -> None:
        async with ledger_at(url) as ledger:
            await ledger.claims.latest("any")

    asyncio.run(make())
    run_sql(url, BREAK_DOWN, BREAKING.format(fate=fate))


ALLOWED: tuple[Allowance, ...] = ("network-filesystem", "ephemeral-disk")


def modes(path: Path) -> set[int]:
    """The modes of a ledger's files."""
    return {mode(each) for each in path.parent.glob(f"{path.name}*")}


def mode(path: Path) -> int:
    """The mode of a file or a folder."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_ledger_is_for_its_user_alone(tmp_path: Path) -> None:
    """It has prompts, requests and links in it: whatever the umask, others cannot read it."""
    address = ledger_address(None, "fal", tmp_path / "hailuo", ALLOWED)
    assert address.file
    (address.file.parent / "videos").mkdir(parents=True)
    before = os.umask(0)
    try:
        database = Database(address)
        await database.read(lambda connection: None)
        assert modes(address.file) == {0o600}
        assert mode(address.file.parent) == 0o700
        await database.close()
        elsewhere = ledger_address(f"sqlite:///{tmp_path}/new/there.db", "emulator", tmp_path)
        database = Database(elsewhere)
        await database.read(lambda connection: None)
        await database.close()
        assert elsewhere.file
        assert mode(elsewhere.file.parent) == 0o700
    finally:
        os.umask(before)


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o640, 0o600), (0o664, 0o664)])
async def test_an_older_ledger_is_closed_unless_it_is_shared(
    tmp_path: Path, before: int, after: int
) -> None:
    """What a umask left readable is closed; where others may write, somebody wants it so."""
    address = ledger_address(f"sqlite:///{tmp_path}/ledger.db", "emulator", tmp_path)
    assert address.file
    address.file.touch()
    address.file.chmod(before)
    folder = mode(tmp_path)
    database = Database(address)
    await database.read(lambda connection: None)
    assert modes(address.file) == {after}
    assert mode(tmp_path) == folder
    await database.close()


NO_URLS = [
    "postgresql://fox:hunter22@db:99999/hailuo",
    "postgresql://fox:hunter22@127.0.0.1:0/hailuo?port=abc",
    "postgresql://fox:hunter22@db/hailuo?color=red",
    "postgresql://fox:hunter22@127.0.0.1:1/hailuo?ssl=perhaps",
    "postgresql://fox:hunter22@127.0.0.1:1/hailuo?timeout=soon",
    "postgresql://fox:hunter22@127.0.0.1:1/hailuo?host=",
    "postgresql://fox:hunter22@db:port/hailuo",
    "postgresql://fox:hunter22@[::1/hailuo",
    "postgresql://fox:hunter22@/hailuo?host=a,b&port=1,2,3",
    f"postgresql://fox:hunter22@{'a' * 70}.example/hailuo",
    "postgresql://fox:hunter22@a..b/hailuo",
    "postgresql://fox:hunter22@127.0.0.1:1/hai%00luo",
]


@pytest.mark.parametrize("url", NO_URLS)
async def test_what_is_no_url_of_postgresqls_is_a_ledger_error(url: str, tmp_path: Path) -> None:
    """With the cure, and without the password."""
    with pytest.raises(LedgerError) as caught:
        await Database(ledger_address(url, "fal", tmp_path)).read(lambda connection: None)
    assert "hunter22" not in "".join(traceback.format_exception(caught.value))
