"""Statements that are made once for each kind of database, and run many times.

To make one, and to find out that it is the same as before, takes SQLAlchemy three times as long as
SQLite takes to run it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    CursorResult,
    String,
    Table,
    Text,
    any_,
    bindparam,
    collate,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import TableValuedAlias


@dataclass(frozen=True)
class Texts:
    """Some texts as one parameter of a statement: there may be many, and any number of them.

    Args:
        postgresql: Which of the two databases it is for.
        name: The parameter's name.
    """

    postgresql: bool
    name: str = "texts"

    def have(self, column: Column[Any]) -> ColumnElement[bool]:
        """The condition that a column holds one of them."""
        if self.postgresql:
            return column == any_(bindparam(self.name, type_=ARRAY(String)))
        return column.in_(select(self.table().c.value))

    def table(self) -> TableValuedAlias:
        """They as a table, with a column `value`."""
        if self.postgresql:
            array = bindparam(self.name, type_=ARRAY(String))
            return func.unnest(array).table_valued("value").render_derived()
        return func.json_each(bindparam(self.name, type_=Text)).table_valued("value")

    def named(self, name: str) -> Texts:
        """Other texts, as a parameter of their own."""
        return Texts(self.postgresql, name)

    def sorting(self, column: Column[str]) -> ColumnElement[str]:
        """What to sort by for Python's own order, whatever a database's language is."""
        return collate(column, "C") if self.postgresql else column

    def insert(self, table: Table) -> Any:
        """An INSERT that may say what to do about a row which is there already."""
        dialect: Any = postgresql if self.postgresql else sqlite
        return dialect.insert(table)

    def given(self, values: Iterable[str]) -> Any:
        """The parameter's value."""
        return list(values) if self.postgresql else json.dumps(list(values))


def texts_for(connection: AsyncConnection) -> Texts:
    """Some texts as a parameter for a connection's database."""
    return Texts(connection.dialect.name == "postgresql")


Execute = Callable[..., Awaitable[CursorResult[Any]]]


def prepared(make: Callable[[Texts], Any]) -> Execute:
    """A statement to be executed with a connection, some texts, and further parameters by name.

    Args:
        make: Makes the statement.
    """
    made = cache(make)

    async def execute(
        connection: AsyncConnection, texts: Iterable[str], **more: Iterable[str] | float
    ) -> CursorResult[Any]:
        which = texts_for(connection)
        values = {
            name: each if isinstance(each, float) else which.given(each)
            for name, each in {which.name: texts, **more}.items()
        }
        return await connection.execute(made(which), values)

    return execute
