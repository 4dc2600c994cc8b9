"""Keys that a transaction has locked, and what it is going to write about them.

Claims are decided one after another on what is here, so that each sees what those before it came
to; then all is written at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from sqlalchemy import bindparam, delete, exists, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from prefect_hailuo.errors import Billed
from prefect_hailuo.ledger.attempts import Attempt, latest_of
from prefect_hailuo.ledger.fates import Fate
from prefect_hailuo.ledger.rows import as_void, attempt_as_written
from prefect_hailuo.ledger.statements import (
    IS_THIS,
    Locked,
    among,
    attempts_of_keys,
    lock_keys,
    make_keys,
    this,
)
from prefect_hailuo.ledger.tables import attempt, file, generation
from prefect_hailuo.ledger.wishes import Wish


@dataclass
class Draft:
    """One locked key: what is known of it, with what is about to be written.

    Args:
        attempts: Its attempts in their order.
        count: How many there ever were.
        consented: How many there were when a consent was given, or 0.
    """

    attempts: list[Attempt]
    count: int
    consented: int

    @property
    def latest(self) -> Attempt | None:
        """The attempt that counts."""
        return latest_of(self.attempts)

    def change(self, one: Attempt, **values: Any) -> Attempt:
        """Let an attempt be another."""
        changed = replace(one, **values)
        self.attempts[self.attempts.index(one)] = changed
        return changed


@dataclass
class Drafts:
    """The keys of some wishes, locked.

    Args:
        by_key: Each key's.
        made: The keys that no call had asked for before.
    """

    by_key: Mapping[str, Draft]
    made: set[str]
    _intents: list[dict[str, Any]] = field(default_factory=list)
    _ambiguous: list[Attempt] = field(default_factory=list)

    def intend(self, wish: Wish, now: float, until: float) -> Attempt:
        """A new attempt, its caller's to POST until its lease ends."""
        draft = self.by_key[wish.key]
        draft.count += 1
        row = {
            **wish.asked(),
            "number": draft.count,
            "fate": Fate.INTENDED,
            "owner": uuid4().hex,
            "intended_at": now,
            "lease_until": until,
            "estimated_usd": wish.estimated_usd,
            "duplicate": False,
            "adopted": False,
        }
        self._intents.append(row)
        draft.attempts.append(mine := attempt_as_written(row))
        return mine

    async def void_dead(self, connection: AsyncConnection, keys: Iterable[str]) -> None:
        """Void the intents that stand in some keys' way: their owners never began to send.

        At once, for what they reserved may then be spent.
        """
        ahead = [self.by_key[key].latest for key in set(keys)]
        dead = [one for one in ahead if one is not None and one.fate is Fate.INTENDED]
        for one in dead:
            self.by_key[one.key].change(one, fate=Fate.FAILED, billed=Billed.NO)
        if dead:
            voided = update(attempt).where(IS_THIS, attempt.c.fate == Fate.INTENDED)
            await connection.execute(voided.values(as_void()), [this(one) for one in dead])

    def make_ambiguous(self, one: Attempt) -> Attempt:
        """An attempt that may have been sent by an owner who is dead."""
        self._ambiguous.append(one)
        return self.by_key[one.key].change(one, fate=Fate.AMBIGUOUS)

    async def write(self, connection: AsyncConnection) -> None:
        """Write all of it down, in a few statements."""
        if self._ambiguous:
            changed = update(attempt).where(IS_THIS, attempt.c.fate == Fate.SENDING)
            those = [this(one) for one in self._ambiguous]
            await connection.execute(changed.values(fate=Fate.AMBIGUOUS), those)
        if self._intents:
            await connection.execute(insert(attempt), self._intents)
            await connection.execute(_COUNTED, self._counts())
        await self._forget_unused(connection)

    def _counts(self) -> list[dict[str, Any]]:
        keys = {row["key"] for row in self._intents}
        return [{"this_key": key, "count": self.by_key[key].count} for key in sorted(keys)]

    async def _forget_unused(self, connection: AsyncConnection) -> None:
        """Leave nothing of a wish that was refused."""
        unused = [key for key in self.made if not self.by_key[key].attempts]
        if unused:
            await connection.execute(
                delete(generation)
                .where(among(connection, generation.c.key, unused))
                .where(~exists().where(file.c.key == generation.c.key))
            )


_COUNTED = (
    update(generation)
    .where(generation.c.key == bindparam("this_key"))
    .values(attempts=bindparam("count"))
)


async def open_drafts(connection: AsyncConnection, keys: Iterable[str]) -> Drafts:
    """Lock some keys, made if need be, and see what is known of them."""
    wanted = sorted(set(keys))
    made = await make_keys(connection, wanted)
    locked = await lock_keys(connection, wanted)
    while missing := [key for key in wanted if key not in locked]:
        # Whoever had made it meanwhile has dropped it again.
        made |= await make_keys(connection, missing)
        locked |= await lock_keys(connection, missing)
    return Drafts(await _drafts(connection, locked, made), made)


async def _drafts(
    connection: AsyncConnection, locked: Mapping[str, Locked], made: set[str]
) -> dict[str, Draft]:
    known = set(locked) - made
    attempts = await attempts_of_keys(connection, known) if known else {}
    return {key: Draft(attempts.get(key, []), *counts) for key, counts in locked.items()}
