"""The ground that tests of the ledger stand on is the real thing."""

from __future__ import annotations

import os

import pytest
from databases import LEDGER_URL, holding, run_sql
from sqlalchemy.exc import DBAPIError


def test_each_ledger_is_a_database_of_its_own(each_ledger: str) -> None:
    """It is named by the setting, empty, and can be written to."""
    assert os.environ[LEDGER_URL] == each_ledger
    run_sql(each_ledger, "CREATE TABLE fox (colour TEXT)", "INSERT INTO fox VALUES ('red')")
    assert run_sql(each_ledger, "SELECT colour FROM fox") == [{"colour": "red"}]


def test_a_held_row_cannot_be_changed(each_ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is let go of; and what was held is as it was."""
    monkeypatch.setattr("databases.BUSY_MILLISECONDS", 200)
    patience = [] if each_ledger.startswith("sqlite") else ["SET LOCAL lock_timeout = 200"]
    run_sql(each_ledger, "CREATE TABLE fox (colour TEXT)", "INSERT INTO fox VALUES ('red')")
    with holding(each_ledger, "UPDATE fox SET colour = 'white'"), pytest.raises(DBAPIError):
        run_sql(each_ledger, *patience, "UPDATE fox SET colour = 'grey'")
    assert run_sql(each_ledger, "SELECT colour FROM fox") == [{"colour": "red"}]
