"""Where the video of a key is kept: one row a place."""

from __future__ import annotations

from sqlalchemy import select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.database import Database
from prefect_hailuo.ledger.statements import insert_once, latest_attempt
from prefect_hailuo.ledger.tables import database_now, file
from prefect_hailuo.video import Video


class Files:
    """Knows the places that hold a video.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, key: str) -> list[Video]:
        """The videos that a key is stored as, one a place, the latest first."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(file.c.video).where(file.c.key == key).order_by(file.c.stored_at.desc())
            )
            return [Video.model_validate(each) for each in found.scalars()]

    async def add(self, one: Attempt, video: Video) -> None:
        """Write down another place that holds a copy."""
        async with self._database.writing() as connection:
            await put_file(connection, one, video)


async def put_file(connection: AsyncConnection, one: Attempt, video: Video) -> None:
    """Write down where a video is; what is known of the attempt that counts is not replaced."""
    counted = await latest_attempt(connection, one.key)
    replaced = file.c.number == one.number
    if counted is None or counted.number == one.number:
        replaced = true()
    row = {
        "number": one.number,
        "video": video.model_dump(mode="json"),
        "stored_at": database_now(),
    }
    which = {"key": one.key, "place": video.storage}
    await connection.execute(insert_once(connection, file).values(**which, **row))
    await connection.execute(
        update(file)
        .where(file.c.key == one.key, file.c.place == video.storage, replaced)
        .values(**row)
    )
