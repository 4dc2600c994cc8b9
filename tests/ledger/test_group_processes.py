"""Groups of claims in several processes, and in one that is killed in the middle of a group."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from children import run_python
from databases import run_sql
from ledger_ground import PRICE, ledger_at, purchase
from test_groups import all_decided

from prefect_hailuo.ledger.attempt import Limits

HERE = Path(__file__).parent

PROCESSES = 4

RACING = """
    import asyncio, os, sys
    from collections import Counter
    from decimal import Decimal
    sys.path.insert(0, sys.argv[2])
    from ledger_ground import decided, ledger_at, purchase
    from prefect_hailuo.ledger.attempt import Limits

    async def race(number):
        shared = [purchase(f"shared {each}", waiter=f"{number} {each}") for each in range(150)]
        names = [f"{number} {each}" for each in range(50)]
        own = [purchase(f"own {each}", waiter=f"{each} own") for each in names]
        async with ledger_at(sys.argv[1]) as ledger:
            told = Counter(await asyncio.gather(*(decided(ledger, each) for each in shared + own)))
        os.write(1, (repr(dict(told)) + "\\n").encode())

    children = []
    for number in range(int(sys.argv[3])):
        child = os.fork()
        if not child:
            try:
                asyncio.run(race(number))
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
"""


async def test_groups_of_several_processes_share_no_key_and_no_money(each_ledger: str) -> None:
    """Four processes, 150 keys that all want and 50 each for itself, and money for 120."""
    async with ledger_at(each_ledger) as ledger:
        await ledger.budgets.put("fal", "default", Limits(total_usd=120 * PRICE))
    done = await asyncio.to_thread(run_python, RACING, each_ledger, HERE, PROCESSES)
    told: Counter[str] = Counter()
    for line in done.stdout.splitlines():
        told.update(eval(line))  # noqa: S307 - our own child's
    assert (done.stderr, told.total()) == ("", PROCESSES * 200)
    assert set(told) <= {"Buy", "Wait", "BudgetError"}
    assert told["Buy"] == 120
    rows = run_sql(
        each_ledger, "SELECT count(*) AS n, count(DISTINCT key) AS k FROM hailuo_attempt"
    )
    assert rows == [{"n": 120, "k": 120}]


DYING = """
    import asyncio, os, signal, sys
    sys.path.insert(0, sys.argv[2])
    from ledger_ground import intended, ledger_at, purchase
    from sqlalchemy import event

    async def die():
        async with ledger_at(sys.argv[1]) as ledger:
            await ledger.claims.latest("any")
            engine = ledger.database._opened.engine.sync_engine
            def kill(*told):
                if sys.argv[3] == "commit" or told[2].startswith(sys.argv[3]):
                    os.kill(os.getpid(), signal.SIGKILL)
            name = "commit" if sys.argv[3] == "commit" else "after_cursor_execute"
            event.listen(engine, name, kill)
            if sys.argv[3] == "answer":
                event.remove(engine, name, kill)
            calls = [asyncio.ensure_future(intended(ledger, purchase(f"{n}"))) for n in range(100)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(die())
"""


@pytest.mark.parametrize(
    ("when", "written"),
    [("INSERT INTO hailuo_attempt", 0), ("UPDATE hailuo_gen", 0), ("commit", 0), ("answer", 100)],
)
def test_a_killed_group_is_there_or_not(each_ledger: str, when: str, written: int) -> None:
    """SIGKILL in the middle of it: all is written, or nothing, and the next worker goes on."""
    done = run_python(DYING, each_ledger, HERE, when)
    assert done.code == -9, done.stderr
    for table in ("generation", "attempt", "waiter"):
        rows = run_sql(each_ledger, f"SELECT * FROM hailuo_{table}")  # noqa: S608
        assert len(rows) == written


async def test_who_begins_after_a_killed_group_is_served(each_ledger: str) -> None:
    """What the dead process had locked is free again."""
    run_python(DYING, each_ledger, HERE, "INSERT INTO hailuo_attempt")
    async with ledger_at(each_ledger) as ledger:
        assert await all_decided(ledger, [purchase(f"{n}") for n in range(100)]) == {"Buy": 100}
