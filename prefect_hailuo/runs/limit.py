"""Slots of a Prefect global concurrency limit, shared by the purchases of this process.

One thread for each process and limit asks Prefect, however many purchases wait. It leases several
slots at once, hands them from one generation to the next, renews the leases, and gives back what is
not needed. When the process dies, its leases run out, and their slots are free again.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any
from uuid import UUID

import anyio
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_logger
from prefect.settings import get_current_settings

from prefect_hailuo.errors import Billed, ConcurrencyLimitError, GenerationTimeoutError, HailuoError

LEASE_SECONDS = 300.0
"""How long the slots of a process that died stay taken; about as long as fal makes its videos."""

RENEW_SECONDS = 100.0

FIRST_PAUSE_SECONDS = 1.0

LONGEST_PAUSE_SECONDS = 10.0
"""How often a process asks a full limit for a slot, however many purchases wait."""

WHOLE_SECONDS = 60.0
"""How often it asks when it has the whole limit: the limit may have been raised."""

PATIENCE_SECONDS = 30.0
"""How long Prefect may be unreachable before waiting purchases are refused."""

TURN_SECONDS = 600.0
"""How long a process hands its slots on to itself, before other processes get a chance."""

CHANCE_SECONDS = 12.0
"""How long other processes have that chance. They ask at least as often."""

PARTS = 4
"""Into how many leases a whole limit is divided at least. A lease is given back as a whole."""

IDLE_SECONDS = 1.0
"""How long unused slots are kept after a purchase had to wait: more may come."""

TICK_SECONDS = 1.0

EXIT_SECONDS = 5.0
"""How long the interpreter's exit waits until what is free was given back."""

THREAD = "prefect-hailuo-limit"

FULL, TOO_MANY, GONE = 423, 422, 410

_lock = threading.Lock()

_limits: dict[tuple[str, str | None], AccountLimit] = {}


def account_limit(name: str | None) -> AccountLimit | None:
    """The process's share of a global concurrency limit, which orders carry.

    Args:
        name: The limit's; None where nothing is capped, which costs nothing.

    Example:
        >>> account_limit(None)
        >>> account_limit("fal") is account_limit("fal")
        True
    """
    if name is None:
        return None
    key = (name, get_current_settings().api.url)
    with _lock:
        if key not in _limits:
            _limits[key] = AccountLimit(name)
            atexit.register(_limits[key].settle)
        return _limits[key]


def _forget_parents_limits() -> None:
    """In a forked child: the parent's slots are the parent's."""
    global _lock
    _lock = threading.Lock()
    for each in _limits.values():
        atexit.unregister(each.settle)
    _limits.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_limits)


class AccountLimit:
    """A gate whose slots are those of a global concurrency limit.

    Args:
        name: The limit's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._settings = get_settings_context()  # Prefect's; its API's address is among them
        # Of all threads, under this lock:
        self._news = threading.Condition()
        self._is_news = False
        self._waiting: deque[Future[None]] = deque()
        self._used = self._room = 0
        self._busy_at = -inf
        self._thread: threading.Thread | None = None
        # Of the thread that asks:
        self._leases = Leases(name)
        self._closing: Lease | None = None
        self._ask_at = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._failing_since: float | None = None

    async def enter(self, seconds: float) -> None:
        """Take a slot, once one is free.

        Raises:
            GenerationTimeoutError: None was free for so long; nothing was bought.
            ConcurrencyLimitError: Prefect cannot be asked, or knows no such limit.
        """
        turn = self._queue_up()
        try:
            with anyio.fail_after(seconds):
                await asyncio.wrap_future(turn)
        except BaseException as error:
            self._give_up(turn)
            if isinstance(error, TimeoutError):
                raise no_slot(self._name, seconds) from None
            raise

    def leave(self) -> None:
        """Give a slot back: to the next waiting purchase, or to Prefect."""
        with self._news:
            self._used -= 1
            self._hand_out()
            self._tell()

    def settle(self, seconds: float = EXIT_SECONDS) -> None:
        """Wait until unused slots were given back."""
        with self._news:
            self._busy_at = -inf
            self._tell()
            thread = None if self._used else self._thread
        if thread is not None:
            thread.join(seconds)

    def _queue_up(self) -> Future[None]:
        turn: Future[None] = Future()
        with self._news:
            self._waiting.append(turn)
            self._hand_out()
            if self._waiting:
                self._busy_at = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name=THREAD, daemon=True)
                self._thread.start()
            self._tell()
        return turn

    def _give_up(self, turn: Future[None]) -> None:
        with self._news:
            granted = not turn.cancel() and turn.exception() is None
            with suppress(ValueError):
                self._waiting.remove(turn)
        if granted:
            self.leave()

    def _hand_out(self) -> None:
        while self._waiting and self._used < self._room:
            turn = self._waiting.popleft()
            if turn.set_running_or_notify_cancel():
                self._used += 1
                turn.set_result(None)

    def _tell(self) -> None:
        self._is_news = True
        self._news.notify()

    def _serve(self) -> None:
        # No more of the caller's context than this: a flow run's ends before this thread does.
        with SettingsContext(profile=self._settings.profile, settings=self._settings.settings):
            while self._thread is threading.current_thread():
                began = time.monotonic()
                try:
                    with get_client(sync_client=True) as client:
                        while self._is_needed():
                            began = time.monotonic()
                            self._look_after(client)
                            self._rest()
                except Exception as error:  # of what kind, Prefect does not say
                    self._note_failure(error, began)
                    time.sleep(TICK_SECONDS)

    def _is_needed(self) -> bool:
        with self._news:
            if self._waiting or self._used or self._leases.held:
                return True
            self._thread = None
            return False

    def _rest(self) -> None:
        with self._news:
            if not self._is_news:
                self._news.wait(TICK_SECONDS)
            self._is_news = False

    def _look_after(self, client: SyncPrefectClient) -> None:
        self._leases.renew(client)
        self._count()
        self._borrow(client)
        self._failing_since = None
        while lease := self._spare():
            client.release_concurrency_slots_with_lease(lease.id)

    def _borrow(self, client: SyncPrefectClient) -> None:
        while number := self._wanted():
            lease = self._leases.borrow(client, number)
            if lease is None:
                has_all = self._leases.slots >= self._leases.limit
                self._ask_at = time.monotonic() + (WHOLE_SECONDS if has_all else self._pause)
                self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            else:
                self._pause = FIRST_PAUSE_SECONDS
                self._count(lease)

    def _wanted(self) -> int:
        """How many slots to lease next; none while the limit is known to be full."""
        with self._news:
            waiting = len(self._waiting)
        if not waiting or time.monotonic() < self._ask_at:
            return 0
        if self._pause > FIRST_PAUSE_SECONDS:  # it was full
            return 1
        has, limit = self._leases.slots, self._leases.limit
        more = max(waiting, has)  # where some had to wait, more will come
        return max(1, min(more, limit // PARTS, limit - has))

    def _count(self, lent: Lease | None = None) -> None:
        """Hand out all leased slots except those that are to be given back."""
        with self._news:
            self._leases.held += [lent] if lent else []
            if self._closing not in self._leases.held:
                self._closing = None
            self._room = self._leases.slots - (self._closing.slots if self._closing else 0)
            self._hand_out()

    def _spare(self) -> Lease | None:
        """A lease to give back: an unused one, or one that was held for long enough."""
        with self._news:
            if self._waiting and self._closing is None:
                self._closing = self._leases.older_than(TURN_SECONDS)
            free = self._leases.slots - self._used
            is_busy = self._waiting or time.monotonic() - self._busy_at < IDLE_SECONDS
            chosen = [self._closing] if is_busy else self._leases.held
            spare = next((each for each in chosen if each and each.slots <= free), None)
            if spare is not None:
                self._leases.held.remove(spare)
                chance = CHANCE_SECONDS if spare is self._closing else 0.0
                self._ask_at = time.monotonic() + chance
                self._pause = FIRST_PAUSE_SECONDS
            self._count()
        return spare

    def _note_failure(self, error: Exception, began: float) -> None:
        """Wait out a short outage. After a long one, refuse all waiting purchases."""
        self._leases.drop_overdue()
        self._count()
        self._failing_since = self._failing_since or began
        if isinstance(error, UnknownLimitError):
            self._refuse(partial(unknown_limit, self._name))
        elif time.monotonic() - self._failing_since >= PATIENCE_SECONDS:
            self._refuse(partial(no_answer, self._name, error))

    def _refuse(self, say: Callable[[], HailuoError]) -> None:
        with self._news:
            while self._waiting:
                turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_exception(say())


class UnknownLimitError(Exception):
    """Prefect knows no limit of that name."""


@dataclass(eq=False)
class Lease:
    """Slots that Prefect has lent.

    Args:
        id: Prefect's.
        slots: How many.
        since: When they were lent, on the machine's monotonic clock.
        renewed: When the lease was last renewed, by the same clock.
    """

    id: UUID
    slots: int
    since: float
    renewed: float


class Leases:
    """What one thread has leased of a limit.

    Args:
        name: The limit's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.held: list[Lease] = []
        self.limit = 1
        """How many slots the limit has, as Prefect said last."""

    @property
    def slots(self) -> int:
        """How many are leased."""
        return sum(each.slots for each in self.held)

    def borrow(self, client: SyncPrefectClient, number: int) -> Lease | None:
        """Lease so many slots, or fewer; none where the limit is full.

        Raises:
            UnknownLimitError: There is no such limit.
        """
        while number:
            try:
                answer = client.increment_concurrency_slots_with_lease(
                    [self._name], number, "concurrency", LEASE_SECONDS
                )
                return self._lent(answer.json(), number)
            except PrefectHTTPStatusError as error:
                if error.response.status_code not in (FULL, TOO_MANY):
                    raise
            number //= 2
        return None

    def renew(self, client: SyncPrefectClient) -> None:
        """Renew the leases that are due."""
        for lease in [each for each in self.held if _age(each.renewed) >= RENEW_SECONDS]:
            began = time.monotonic()
            try:
                client.renew_concurrency_lease(lease.id, LEASE_SECONDS)
                lease.renewed = began
            except PrefectHTTPStatusError as error:
                if error.response.status_code != GONE:
                    raise
                self._lose(lease)

    def drop_overdue(self) -> None:
        """Drop the leases that have run out because they could not be renewed."""
        for lease in [each for each in self.held if _age(each.renewed) > LEASE_SECONDS]:
            self._lose(lease)

    def older_than(self, seconds: float) -> Lease | None:
        """A lease that is at least that old."""
        return next((each for each in self.held if _age(each.since) >= seconds), None)

    def _lent(self, answer: dict[str, Any], number: int) -> Lease:
        if not answer["limits"]:  # of a limit that it does not know, Prefect lends as many as asked
            raise UnknownLimitError
        self.limit = answer["limits"][0]["limit"]
        now = time.monotonic()
        return Lease(UUID(answer["lease_id"]), number, now, now)

    def _lose(self, lease: Lease) -> None:
        self.held.remove(lease)
        get_logger("hailuo").warning(
            "Prefect took back %s slots of the concurrency limit %r.", lease.slots, self._name
        )


def _age(moment: float) -> float:
    return time.monotonic() - moment


def unknown_limit(name: str) -> ConcurrencyLimitError:
    """The error for a limit that Prefect does not know."""
    return ConcurrencyLimitError(
        f"Prefect knows no global concurrency limit {name!r}, so nothing was bought.",
        cure=f"Make it: prefect gcl create {name} --limit 40; or take the setting away.",
        billed=Billed.NO,
        retryable=False,
    )


def no_answer(name: str, error: Exception) -> ConcurrencyLimitError:
    """The error for a Prefect that cannot be asked."""
    return ConcurrencyLimitError(
        f"Prefect could not be asked for a slot of the concurrency limit {name!r}, so nothing was "
        f"bought: {error}",
        billed=Billed.NO,
    )


def no_slot(name: str, seconds: float) -> GenerationTimeoutError:
    """The error for a limit that was full for too long."""
    return GenerationTimeoutError(
        f"No slot of the concurrency limit {name!r} was free for {seconds:g} seconds.",
        cure="Raise the limit, or timeout_seconds; nothing was bought.",
        billed=Billed.NO,
    )
