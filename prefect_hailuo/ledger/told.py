"""What fal's calls told of requests, and who waits to hear it: nobody has to ask fal."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import anyio
from sqlalchemy import select, update

from prefect_hailuo.fal.messages import Completed, Output, Ticket
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.statements import among, is_attempt
from prefect_hailuo.ledger.tables import attempt, waiter
from prefect_hailuo.ledger.tickets import Request

LOOK_SECONDS = 1.0
"""How often the ledger is looked at for all that a process waits for."""

LOOKED_FOR_A_SECOND = 2_000
"""How many requests are looked for in a second: of more, all are looked for less often."""


class Told:
    """Hears of ends that somebody else has written down.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waited: defaultdict[Request, set[asyncio.Future[Completed]]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None

    async def note(self, one: Attempt, completed: Completed) -> None:
        """Write down that a request is over, where its result is yet to be asked for."""
        news = attempt.c.completed.is_(None) & (attempt.c.fate == Fate.SUBMITTED)
        async with self._database.writing() as connection:
            await connection.execute(
                update(attempt)
                .where(is_attempt(one), news)
                .values(completed=completed.model_dump(mode="json", exclude={"logs"}))
            )

    async def output_of(self, ticket: Ticket) -> Output | None:
        """A request's result, if it is written down."""
        mine = (attempt.c.realm == ticket.realm) & (attempt.c.request_id == ticket.request_id)
        async with self._database.reading() as connection:
            found = (await connection.execute(select(attempt.c.output).where(mine))).scalar()
        return None if found is None else Output.model_validate(found)

    async def runs_wanting(self, key: str) -> list[str]:
        """The flow runs that have waited for a key, and were not cancelled; the latest first."""
        ran = waiter.c.flow_run_id
        theirs = (waiter.c.key == key) & ran.is_not(None) & waiter.c.cancelled_at.is_(None)
        asked = select(ran).where(theirs).order_by(waiter.c.started_at.desc())
        async with self._database.reading() as connection:
            return list(dict.fromkeys((await connection.execute(asked)).scalars()))

    async def over(self, requests: Collection[Request]) -> dict[Request, Completed]:
        """Those of some requests that are over, and how they ended."""
        wanted = set(requests)
        if not wanted:
            return {}
        asked = select(
            attempt.c.realm, attempt.c.request_id, attempt.c.completed, attempt.c.error
        ).where(
            attempt.c.realm.in_(sorted({realm for realm, _ in wanted})),
            (attempt.c.fate != Fate.SUBMITTED) | attempt.c.completed.is_not(None),
        )
        async with self._database.reading() as connection:
            ids = among(connection, attempt.c.request_id, {each for _, each in wanted})
            found = (await connection.execute(asked.where(ids))).all()
        ended = {(row.realm, row.request_id): _completed(row.completed, row.error) for row in found}
        return {each: ended[each] for each in wanted if each in ended}

    async def hear(self, request: Request) -> Completed:
        """Wait until the ledger says that a request is over: one question for all who wait."""
        mine: asyncio.Future[Completed] = asyncio.get_running_loop().create_future()
        self._waited[request].add(mine)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            return await mine
        finally:
            self._waited[request].discard(mine)
            if not self._waited[request]:
                del self._waited[request]
            if not self._waited and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self) -> None:
        while True:
            # What goes wrong here may pass, and fal is asked now and then all the same.
            with suppress(Exception):
                for request, completed in (await self.over(tuple(self._waited))).items():
                    for each in self._waited.get(request, ()):
                        if not each.done():
                            each.set_result(completed)
            await anyio.sleep(max(LOOK_SECONDS, len(self._waited) / LOOKED_FOR_A_SECOND))


def _completed(completed: dict[str, Any] | None, error: dict[str, Any] | None) -> Completed:
    if completed is not None:
        return Completed.model_validate(completed)
    said = error or {}
    return Completed(error=said.get("message"), error_type=said.get("error_type"))
