"""Where the video of a key is kept: one row a place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from sqlalchemy import Boolean, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.ledger.attempts import Attempt, latest_of
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.grouping import Group
from prefect_hailuo.ledger.prepared import Texts, prepared, texts_for
from prefect_hailuo.ledger.statements import among, lock_key
from prefect_hailuo.ledger.tables import attempt, database_now, file
from prefect_hailuo.video import Video

NOW = database_now()


class Files:
    """Knows the places that hold a video.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading: Group[str, list[Video]] = Group(self._of_all)

    async def of(self, key: str) -> list[Video]:
        """The videos that a key is stored as, one a place, the latest first."""
        return await self._reading(key)

    async def _of_all(self, keys: Sequence[str]) -> list[list[Video]]:
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(file.c.key, file.c.video)
                .where(among(connection, file.c.key, keys))
                .order_by(file.c.stored_at.desc())
            )
            videos: defaultdict[str, list[Video]] = defaultdict(list)
            for key, video in found:
                videos[key].append(Video.model_validate(video))
        return [list(videos[key]) for key in keys]

    async def add(self, one: Attempt, video: Video) -> None:
        """Write down another place that holds a copy."""
        async with self._database.writing() as connection:
            # As whoever stores it does: a new row of a file locks its key's row anyway, but late.
            await lock_key(connection, one.key)
            await put_files(connection, [Kept(one, video)])


@dataclass(frozen=True)
class Kept:
    """An attempt's video, in some place."""

    one: Attempt
    video: Video


async def put_files(connection: AsyncConnection, those: Sequence[Kept]) -> None:
    """Write down where videos are; what is known of the attempt that counts is not replaced."""
    counted = await _counted(connection, {each.one.key for each in those})
    rows = [
        {
            "key": each.one.key,
            "place": each.video.storage,
            "number": each.one.number,
            "video": each.video.model_dump(mode="json"),
            "counts": counted.get(each.one.key, each.one.number) == each.one.number,
        }
        for each in those
    ]
    await connection.execute(_putting(texts_for(connection)), rows)


@cache
def _putting(texts: Texts) -> Any:
    put = texts.insert(file).values(
        {name: bindparam(name) for name in ("key", "place", "number", "video")}
    )
    news = {"number": put.excluded.number, "video": put.excluded.video, "stored_at": NOW}
    replaced = (file.c.number == put.excluded.number) | bindparam("counts", type_=Boolean)
    return put.values(stored_at=NOW).on_conflict_do_update(
        index_elements=[file.c.key, file.c.place], set_=news, where=replaced
    )


async def _counted(connection: AsyncConnection, keys: Collection[str]) -> dict[str, int]:
    """The number of each key's attempt that counts."""
    found = await _numbers(connection, keys)
    of_keys = groupby(found, key=lambda row: row.key)
    latest = {key: latest_of(list(rows)) for key, rows in of_keys}
    return {key: one.number for key, one in latest.items() if one is not None}


@prepared
def _numbers(keys: Texts) -> Any:
    return (
        select(attempt.c.key, attempt.c.number, attempt.c.billed, attempt.c.duplicate)
        .where(keys.have(attempt.c.key))
        .order_by(attempt.c.key, attempt.c.number)
    )
