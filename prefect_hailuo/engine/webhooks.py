"""fal's webhook calls: each is checked and recorded in the ledger, where waiting processes find it.

Nothing here buys. fal is asked only for the keys that its calls are signed with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_hailuo.clock import Clock, Deadline, SystemClock
from prefect_hailuo.engine.loop import Connections
from prefect_hailuo.fal.webhooks import (
    Call,
    RefusedCallError,
    Signed,
    WebhookKeys,
    call_in,
    check_realm_of,
)
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.attempt import Attempt, Fate
from prefect_hailuo.ticket import Realm

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledger

EARLY_SECONDS = 2.0
"""How long a request is looked for whose ticket may be on its way into the ledger; after that, fal
is told to call again."""

EARLY_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class ReceivedCall:
    """A call that was accepted.

    Args:
        attempt: Whose request it is about.
        news: Whether it was new to the ledger.
        runs: The flow runs that have waited for the video.
    """

    attempt: Attempt
    news: bool
    runs: tuple[str, ...]

    @property
    def request_id(self) -> str:
        """fal's id of the request."""
        return self.attempt.request_id or ""


class CallReceiver:
    """Checks and records calls.

    Args:
        realm: Whose requests they may be about.
        rest_url: Where that realm's public keys are.
        ledger: Where the requests are written down.
        clock: What waiting is measured with.
    """

    def __init__(
        self, realm: Realm, rest_url: str, ledger: LedgerAddress, clock: Clock | None = None
    ) -> None:
        self._realm = realm
        self._ledger = ledger
        self._clock: Clock = clock or SystemClock()
        self._keys = WebhookKeys(rest_url, realm, self._clock)
        self._users: dict[str, str] = {}

    async def take(
        self, headers: Mapping[str, str], body: bytes, connections: Connections
    ) -> ReceivedCall:
        """Check a call, and record what it says. A repeated call changes nothing.

        Args:
            headers: Their names in lower case.
            body: As it came.
            connections: What the process shares.

        Raises:
            RefusedCallError: It is not fal's, or the ledger does not know its request.
            HailuoError: The keys or the ledger cannot be reached now.
        """
        signed = Signed.of(headers)
        signed.check_time()
        await self._keys.check(signed, body, connections.http)
        call = call_in(body)
        ids = call.request_ids(signed)
        check_realm_of(ids, self._realm)
        ledger = connections.ledgers.at(self._ledger)
        one = await self._find(ledger, ids)
        self._check_user(signed, one)
        # A video is news also where an error was told before it: it is paid for.
        untold = one.completed is None or call.output is not None
        news = one.fate in (Fate.SUBMITTED, Fate.CANCELLED) and untold
        if news:
            await self._write(ledger, one, call)
        return ReceivedCall(one, news, tuple(await ledger.completions.runs_wanting(one.key)))

    def _check_user(self, signed: Signed, one: Attempt) -> None:
        """Refuse a call of another account: fal signs the calls of all its customers.

        The first call about one of our requests tells who the account is.
        """
        if self._users.setdefault(one.account, signed.user_id) != signed.user_id:
            raise RefusedCallError("The call is not of the account that made the request.", 403)

    async def _find(self, ledger: Ledger, ids: Sequence[str]) -> Attempt:
        deadline = Deadline(EARLY_SECONDS, self._clock)
        while True:
            for request_id in ids:
                if one := await ledger.records.of_request(self._realm, request_id):
                    return one
            if deadline.passed:
                raise RefusedCallError("The ledger knows no such request, or not yet.", 404)
            await deadline.sleep(EARLY_PAUSE_SECONDS)

    async def _write(self, ledger: Ledger, one: Attempt, call: Call) -> None:
        """Record a result; or, for a failure, that the request is over, so that fal is asked.

        Only the headers of a result tell what a failure cost: a call has none.
        """
        if call.output is not None:
            await ledger.records.succeeded(one, call.output, call.completed)
        else:
            await ledger.completions.note(one, call.completed)
