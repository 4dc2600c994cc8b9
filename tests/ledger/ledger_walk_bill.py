"""What must hold after every step of the random walk: the ledger's rows against fal's bill."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection
from contextlib import closing
from typing import Any

from ledger_ground import PRICE
from ledger_walk_fal import Fal

from prefect_hailuo.errors import Billed
from prefect_hailuo.ledger.attempt import RERUN, Fate
from prefect_hailuo.ledger.tables import MICRODOLLARS

OPEN = (Fate.SENDING, Fate.AMBIGUOUS)


class BrokenPromiseError(AssertionError):
    """The walk found what must never be."""


def check_bill(
    file: str, fal: Fal, consents: Collection[tuple[str, int]], limit: int | None
) -> None:
    """Hold the ledger against fal's bill.

    Raises:
        BrokenPromiseError: They do not agree.
    """
    rows = _rows(file)
    _check_bought_once(fal, consents)
    _check_reachable(rows, fal)
    _check_owned_once(rows)
    _check_table(rows)
    if limit is not None:
        _check_budget(rows, fal, limit)


def _rows(file: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM hailuo_attempt")]


def _check_bought_once(fal: Fal, consents: Collection[tuple[str, int]]) -> None:
    allowed = Counter(key for key, _ in consents)
    for key in {each.key for each in fal.requests.values()}:
        if fal.bill(key) > 1 + allowed[key]:
            raise BrokenPromiseError(f"{key} was bought {fal.bill(key)} times")


def _check_reachable(rows: list[dict[str, Any]], fal: Fal) -> None:
    """Each request is some row's, or may be found for a row that shows that it misses one.

    Requests of one account and body are interchangeable, so that they are counted.
    """
    owned = {row["request_id"] for row in rows}
    loose = Counter(
        (each.account, json.dumps(each.body, sort_keys=True))
        for each in fal.requests.values()
        if each.counts and each.request_id not in owned
    )
    missing = Counter(
        (row["account"], json.dumps(json.loads(row["body"]), sort_keys=True))
        for row in rows
        if row["request_id"] is None and (row["fate"] in OPEN or row["billed"] == Billed.UNKNOWN)
    )
    if lost := loose - missing:
        raise BrokenPromiseError(f"out of reach: {lost}")


def _check_owned_once(rows: list[dict[str, Any]]) -> None:
    owned = Counter(row["request_id"] for row in rows if row["request_id"])
    if owned and max(owned.values()) > 1:
        raise BrokenPromiseError(f"owned twice: {owned}")


def _check_table(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        billed = row["billed"] and Billed(row["billed"])
        if (Fate(row["fate"]), billed) not in RERUN:
            raise BrokenPromiseError(f"no rule for {row['fate']}, billed {billed}")


def _check_budget(rows: list[dict[str, Any]], fal: Fal, limit: int) -> None:
    """Neither what is reserved, nor what fal charges, is more than the limit."""
    counted = (
        row["estimated_usd"] if row["cost_usd"] is None else row["cost_usd"]
        for row in rows
        if not row["duplicate"]
    )
    if sum(counted) > limit * PRICE * MICRODOLLARS:
        raise BrokenPromiseError("more is reserved than the budget allows")
    if fal.bill() > limit:
        raise BrokenPromiseError(f"{fal.bill()} videos were bought with a budget for {limit}")
