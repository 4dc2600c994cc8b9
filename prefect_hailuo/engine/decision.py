"""A person's decision about an attempt that nothing else can decide: adopt, allow, abandon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from prefect_hailuo.engine.loop import Connections
from prefect_hailuo.errors import (
    AbandonedError,
    Billed,
    ConfigurationError,
    HailuoError,
    OtherAccountError,
    RequestNotFoundError,
)
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.platform import PastRequest, PlatformClient
from prefect_hailuo.ledger.attempt import Attempt, Fate, is_parked, moment, was_cancelled
from prefect_hailuo.ledger.beginning import move_imported
from prefect_hailuo.ledger.search import likeness_of, ticket_of
from prefect_hailuo.ledger.tail import HISTORY_DAYS
from prefect_hailuo.models.key import shown_key
from prefect_hailuo.ticket import Ticket

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledger

FAL_SECONDS = 30.0
"""How long fal is asked about a request."""

NOTHING_DONE = "Nothing was changed."


class RefusedError(ConfigurationError):
    """The decision cannot be carried out; nothing was changed."""


@dataclass(frozen=True)
class Resolution:
    """Carries out decisions about the latest attempt of a key.

    Args:
        ledger: The ledger.
        key: The generation's key.
        number: The attempt that the person looked at; None: whichever is the latest.
    """

    ledger: Ledger
    key: str
    number: int | None = None

    async def latest(self) -> Attempt:
        """The attempt that is decided about.

        Raises:
            RefusedError: It is not the one that the person looked at, or needs no decision.
        """
        one = await self.ledger.claims.latest(self.key)
        if one is None:
            raise RefusedError(f"There is no attempt of {shown_key(self.key)}.", cure=NOTHING_DONE)
        if self.number not in (None, one.number):
            raise self._changed(f"attempt {one.number} ({one.fate}) is the latest")
        await self._check_undecided(one)
        return one

    async def allow(self) -> Attempt:
        """Allow one more purchase in place of the latest attempt."""
        one = await self.latest()
        missing = one.request_id is None
        if not await self.ledger.claims.consent(one.key, one.number, unfound=missing):
            raise self._changed("another attempt was made, or its request was found")
        return one

    async def abandon(self) -> Attempt:
        """Give the latest attempt up; it counts as spent."""
        one = await self.latest()
        if one.fate in (Fate.FAILED, Fate.FORGOTTEN):
            raise RefusedError(
                f"Attempt {one.number} of {shown_key(one.key)} has {one.fate} already.",
                cure=NOTHING_DONE,
            )
        error = AbandonedError(f"Attempt {one.number} was given up by a person's decision.")
        if not await self.ledger.records.abandoned(one, error):
            raise self._changed("it went on")
        return one

    async def adopt(
        self, request_id: str, access: Access, connections: Connections, *, force: bool = False
    ) -> Attempt:
        """Give the latest attempt a request that the person found at fal.

        Args:
            request_id: fal's id of it.
            access: The key of the attempt's account.
            connections: What the process shares.
            force: Whether to believe the person if fal's history does not show the request's
                input.

        Raises:
            RefusedError: fal knows no such request of this account, it is of another input, or
                it belongs to another attempt.
        """
        one = await self.latest()
        if moved := await move_imported(self.ledger.database, one, request_id):
            return moved
        await self._check_free(one, request_id)
        if access.account != one.account:
            raise OtherAccountError(
                f"Attempt {one.number} was made with the account {one.account!r}; these "
                f"credentials are of the account {access.account!r}.",
                cure=f"Name that account's with --credentials. {NOTHING_DONE}",
            )
        ticket = ticket_of(one, request_id)
        past = await _past_of(one, request_id, PlatformClient(access, connections.http))
        if past is not None and past.json_input is not None:
            _check_input(one, past)
            ticket = ticket.model_copy(update={"submitted_at": past.sent_at})
        else:
            await _check_known(ticket, connections.client(access))
            if not force:
                raise _unseen(request_id)
        adopted = await self.ledger.records.adopted(one, ticket)
        if adopted is None:
            raise self._changed("the request was given to another attempt")
        return adopted

    async def _check_undecided(self, one: Attempt) -> None:
        what = f"Attempt {one.number} of {shown_key(one.key)}"
        if one.fate is Fate.STORED:
            raise RefusedError(
                f"{what} is stored: there is nothing to decide.",
                cure="For another video, pass another take; where its file is lost, call with "
                "on_lost='resubmit'.",
            )
        if await self.ledger.claims.still_open(one):
            raise RefusedError(
                f"{what} is being submitted in this moment.", cure="Look again in a minute."
            )
        if one.fate in (Fate.INTENDED, Fate.SENDING):
            raise RefusedError(
                f"{what} was left by a process that ended, and nobody looked for it yet.",
                cure="First let that be done: run it again, or prefect-hailuo ledger reconcile.",
            )
        if one.fate is Fate.SUBMITTED and was_cancelled(one):
            return  # it may never end, and fal was told that nobody wants it
        if one.fate in (Fate.SUBMITTED, Fate.SUCCEEDED) and not is_parked(one):
            raise RefusedError(
                f"{what} is at fal as {one.request_id}, and needs no decision.",
                cure="Run it again: that collects the video, and buys nothing. If it never ends, "
                "cancel it first, with HailuoVideoRun(ticket, credentials).cancel() or by "
                "cancelling the flow runs that wait for it; then decide.",
            )

    async def _check_free(self, one: Attempt, request_id: str) -> None:
        owner = await self.ledger.records.of_request(one.realm, request_id)
        mistaken = owner is not None and owner.fate in (Fate.FAILED, Fate.CANCELLED)
        if owner is None or (owner.key == one.key and mistaken):
            return
        whose = "this key" if owner.key == one.key else f"the key {shown_key(owner.key)}"
        raise RefusedError(
            f"The request {request_id} belongs to attempt {owner.number} of {whose} already.",
            cure=f"One request is never given to two attempts. {NOTHING_DONE}",
        )

    def _changed(self, how: str) -> RefusedError:
        return RefusedError(
            f"The key {shown_key(self.key)} is no longer as you saw it: {how}.",
            cure=f"Look again: prefect-hailuo ledger show {shown_key(self.key)}. {NOTHING_DONE}",
        )


async def _past_of(one: Attempt, request_id: str, platform: PlatformClient) -> PastRequest | None:
    """The request as fal's history shows it, if it does."""
    start = moment(one.sent_at or one.intended_at) - timedelta(days=HISTORY_DAYS)
    try:
        history = await platform.history(
            one.endpoint, start, request_id=request_id, timeout_seconds=FAL_SECONDS
        )
    except HailuoError as error:
        if error.billed is not Billed.NO or isinstance(error, ConfigurationError):
            raise
        return None  # its status may still tell that it is there
    found = [past for past in history.requests if past.request_id == request_id]
    return found[0] if found else None


def _check_input(one: Attempt, past: PastRequest) -> None:
    if likeness_of(past).digest == one.body_digest:
        return
    prompt = (past.json_input or {}).get("prompt")
    raise RefusedError(
        f"The request {past.request_id} is of another input; its prompt is {prompt!r}.",
        cure=f"Adopt the one that was sent with this key's input. {NOTHING_DONE}",
    )


async def _check_known(ticket: Ticket, client: AsyncFalClient) -> None:
    try:
        await client.status(ticket, logs=False, timeout_seconds=FAL_SECONDS)
    except RequestNotFoundError as error:
        raise RefusedError(
            f"fal knows no request {ticket.request_id} of this account.",
            cure="Check the id at https://fal.ai/dashboard/requests, and that the key is of the "
            f"account that sent it. {NOTHING_DONE}",
        ) from error


def _unseen(request_id: str) -> RefusedError:
    return RefusedError(
        f"fal knows the request {request_id}, and its history does not show what it was asked "
        "for, so that nobody can check that it is this key's.",
        cure=f"If you are sure, adopt it with --force. {NOTHING_DONE}",
    )
