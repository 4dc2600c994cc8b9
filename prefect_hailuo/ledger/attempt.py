"""The states of an attempt, and the table of what a rerun does for each: go on, buy, or park.

The table `RERUN` below is the heart of the ledger: for every fate and billing of the attempt that
counts, it says what a call does that finds it. Everything else here is a value without a database:
attempts, purchases (what a caller asks for), decisions (what the ledger answers), recorded errors,
and the rules that a claim checks besides the table: consents, the number of attempts, accounts.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol, TypeVar

from prefect_hailuo import errors
from prefect_hailuo.errors import (
    Billed,
    HailuoError,
    InputRefusedError,
    NotApprovedError,
    OtherAccountError,
    Problem,
    UnreachableError,
)
from prefect_hailuo.fal.messages import Completed, Output
from prefect_hailuo.models.image import identity_of
from prefect_hailuo.models.key import shown_key
from prefect_hailuo.ticket import Realm, Ticket

MOST_ATTEMPTS = 3
"""Requests that fal accepted for one key; more, only by consent."""


class FindingKind(Enum):
    """What a search of the history found. A consent covers only `NONE`."""

    ADOPTED = "the attempt has its request"
    NONE = "the history was read to its end, and shows no such request"
    SEVERAL = "it shows requests that may be the attempt's, and nobody can tell which is"
    UNREADABLE = "it could not be read, or does not show what was asked for"
    BUSY = "the same input is being submitted in this moment, or the ledger changed meanwhile"


NEVER_SENT = UnreachableError(
    "Its process ended before anything was sent.", cure="Run it again.", billed=Billed.NO
)


class Fate(str, Enum):
    """How far an attempt has come.

    The way to a video is `intended → sending → submitted → succeeded → stored`. While it is
    `intended`, no byte has left. At `sending` the connection stands, and from then on fal may have
    accepted the POST. Only an emulator's request can be `forgotten`: the emulator was restarted.
    """

    INTENDED = "intended"
    SENDING = "sending"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    STORED = "stored"
    FAILED = "failed"
    CANCELLED = "cancelled"
    AMBIGUOUS = "ambiguous"
    FORGOTTEN = "forgotten"

    __str__ = str.__str__


class Rerun(Enum):
    """What a call does when it finds an attempt for its key."""

    WAIT_OR_BUY = "its owner is alive until the lease ends; then it is void: nothing was sent"
    WAIT_OR_RECONCILE = "its owner is alive until the lease ends; then its fate is unknown"
    ATTACH = "wait for the request, and collect its video"
    REUSE = "take the stored file"
    BUY = "buy, as a new attempt, unless there were too many"
    RAISE = "raise the error that was recorded"
    RECONCILE = "look in fal's request history; adopt it, or park"


NO, YES, UNKNOWN = Billed.NO, Billed.YES, Billed.UNKNOWN

RERUN: dict[tuple[Fate, Billed | None], Rerun] = {
    (Fate.INTENDED, None): Rerun.WAIT_OR_BUY,
    (Fate.SENDING, None): Rerun.WAIT_OR_RECONCILE,
    (Fate.SUBMITTED, None): Rerun.ATTACH,
    (Fate.SUCCEEDED, YES): Rerun.ATTACH,
    (Fate.STORED, YES): Rerun.REUSE,
    (Fate.FAILED, NO): Rerun.BUY,
    (Fate.FAILED, YES): Rerun.RAISE,
    (Fate.FAILED, UNKNOWN): Rerun.RAISE,
    (Fate.CANCELLED, NO): Rerun.BUY,
    (Fate.CANCELLED, YES): Rerun.ATTACH,
    (Fate.CANCELLED, UNKNOWN): Rerun.ATTACH,
    # An intent whose owner died, or whose POST's answer was lost.
    (Fate.AMBIGUOUS, None): Rerun.RECONCILE,
    # Only an emulator forgets: it was restarted, and makes it anew at no cost.
    (Fate.FORGOTTEN, NO): Rerun.BUY,
}
"""For every fate and billing, what a rerun does."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row: an intent to POST, and everything that became of it.

    Args:
        key: The generation's key.
        number: Which attempt of the key, from 1.
        realm: fal or emulator.
        endpoint: fal's endpoint id.
        account: The label of the account that pays.
        credentials: The saved credentials block's name, if it was one.
        place: The label of the place that the video was meant for.
        scope: Whose budget it is on.
        take: Which of several videos of the same input.
        body: The exact body sent; None once it was redacted.
        body_digest: The same for equal bodies; it stays after that.
        labels: The caller's own words.
        fate: How far it came.
        billed: Whether it cost money; None while that is open.
        owner: The caller that may POST.
        lease_until: Until when the owner counts as alive; like all times here, in seconds since
            1970 on the database's clock.
        intended_at: When the intent was written.
        sent_at: When the first byte was about to leave.
        submitted_at: When fal's ticket was recorded.
        ended_at: When the fate became final.
        request_id: fal's id.
        ticket: The ticket.
        completed: How it completed.
        output: Its result.
        error: The recorded error, as `describe` writes it.
        parked_at: When it was left to a person's decision.
        parked_because: Why.
        cancel_answer: What fal said to a cancellation.
        estimated_usd: What it was expected to cost; None where no price is known.
        cost_usd: What it is taken to have cost; None while that is open.
        cost_basis: `estimate`, or `unbilled`; `unknown` counts as spent.
        duplicate: Whether the key has another request.
        adopted: Whether it was found in fal's history, and is not the answer to a POST of ours.
    """

    key: str
    number: int
    realm: Realm
    endpoint: str
    account: str
    credentials: str | None
    place: str | None
    scope: str
    take: str
    body: dict[str, Any] | None
    body_digest: str
    labels: dict[str, str]
    fate: Fate
    billed: Billed | None
    owner: str | None
    lease_until: float
    intended_at: float
    sent_at: float | None
    submitted_at: float | None
    ended_at: float | None
    request_id: str | None
    ticket: Ticket | None
    completed: Completed | None
    output: Output | None
    error: dict[str, Any] | None
    parked_at: float | None
    parked_because: str | None
    cancel_answer: str | None
    estimated_usd: Decimal | None
    cost_usd: Decimal | None
    cost_basis: str | None
    duplicate: bool
    adopted: bool

    @property
    def rerun(self) -> Rerun:
        """What a call does that finds it, by the table."""
        return RERUN[self.fate, self.billed]

    @property
    def counted_usd(self) -> Decimal:
        """What it takes from a budget: its cost, or its estimate until the cost is known."""
        known = self.estimated_usd if self.cost_usd is None else self.cost_usd
        return known or Decimal(0)

    def open_ticket(self) -> Ticket:
        """The ticket of an attempt that has one."""
        if self.ticket is None:
            raise ValueError(f"Attempt {self.number} of {self.key} has no ticket.")
        return self.ticket


class Counted(Protocol):
    """The facts of an attempt that decide which one counts."""

    @property
    def billed(self) -> Billed | None:
        """Whether it cost money."""

    @property
    def duplicate(self) -> bool:
        """Whether it is a second request."""


One = TypeVar("One", bound=Counted)


def latest_of(attempts: Sequence[One]) -> One | None:
    """The attempt that counts: the latest one that may have cost money, else the latest.

    An attempt may turn out to have been bought when a later one has already failed at no cost:
    then a call goes on with the earlier one. A duplicate counts only if there is no other.

    Args:
        attempts: Of one key, in their order.
    """
    telling = [each for each in attempts if each.billed != Billed.NO]
    single = [each for each in telling if not each.duplicate]
    return next(iter([*single[-1:], *telling[-1:], *attempts[-1:]]), None)


def attempt_of(row: Mapping[Any, Any]) -> Attempt:
    """The attempt that a row of the table holds."""
    return Attempt(
        **{
            **row,
            "fate": Fate(row["fate"]),
            "billed": row["billed"] and Billed(row["billed"]),
            "ticket": row["ticket"] and Ticket.model_validate(row["ticket"]),
            "completed": row["completed"] and Completed.model_validate(row["completed"]),
            "output": row["output"] and Output.model_validate(row["output"]),
        }
    )


def moment(seconds: float) -> datetime:
    """A time of the ledger as a date and time in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def storable(text: str) -> str:
    """A text as every database takes it: without NUL, and without halves of characters.

    Example:
        >>> storable("a" + chr(0) + "b" + chr(0xD800))
        'a?b?'
    """
    return text.replace(chr(0), "?").encode(errors="replace").decode()


def describe(error: HailuoError) -> dict[str, Any]:
    """All of an error but its ticket, as JSON.

    Example:
        >>> describe(errors.FalFaultError("Out of order."))["kind"]
        'FalFaultError'
    """
    error_type = getattr(error, "error_type", None)
    return {
        "kind": type(error).__name__,
        "message": storable(error.message),
        "cure": storable(error.cure),
        "billed": error.billed.value,
        "error_type": error_type and storable(error_type),
        "problems": [_storable_problem(each) for each in getattr(error, "problems", ())],
    }


def _storable_problem(problem: Problem) -> list[Any]:
    loc = [storable(part) if isinstance(part, str) else part for part in problem.loc]
    return [loc, storable(problem.msg), storable(problem.type)]


def recorded_error(
    record: dict[str, Any], ticket: Ticket | None, cure: str | None = None
) -> HailuoError:
    """The error of an earlier run, to be raised again; nothing was sent this time.

    Args:
        record: What `describe` wrote.
        ticket: The request that it is about.
        cure: What to advise instead of what was advised then.

    Example:
        >>> record = describe(errors.ContentPolicyError("Violence."))
        >>> recorded_error(record, None).message
        'By the ledger, an earlier attempt ended so: Violence.'
    """
    again = described_error(record, ticket)
    again.message = f"By the ledger, an earlier attempt ended so: {record['message']}"
    again.args = (again.message,)
    again.cure = again.cure if cure is None else cure
    again.retryable = False
    return again


def described_error(record: dict[str, Any], ticket: Ticket | None) -> HailuoError:
    """The error that `describe` described.

    Example:
        >>> described_error(describe(errors.FalFaultError("Out of order.")), None).message
        'Out of order.'
    """
    kind = getattr(errors, record["kind"], HailuoError)
    error: HailuoError = kind(
        record["message"], cure=record["cure"], billed=Billed(record["billed"]), ticket=ticket
    )
    if isinstance(error, errors.FalError):
        error.error_type = record["error_type"]
    if isinstance(error, InputRefusedError):
        error.problems = tuple(
            Problem(tuple(loc), msg, kind) for loc, msg, kind in record["problems"]
        )
    return error


DECIDABLE = (Fate.SUBMITTED, Fate.SUCCEEDED, Fate.CANCELLED, Fate.AMBIGUOUS)
"""Fates in which an attempt can be parked. Once it has ended, it is not parked any more."""

PARKED_ERROR = "ParkedError"


@dataclass(frozen=True)
class KeyState:
    """The state of a key, as a call that wants it now would find it.

    Args:
        latest: The attempt that counts; None if the key was never asked for.
        consented: Whether a person allowed one more purchase in its place.
        alive: Whether its owner counts as alive.
    """

    latest: Attempt | None
    consented: bool
    alive: bool


def is_parked(one: Attempt) -> bool:
    """Whether an attempt waits for a person's decision."""
    if one.error is not None and one.error["kind"] == PARKED_ERROR:
        return one.fate is Fate.FAILED
    return one.parked_at is not None and one.fate in DECIDABLE and one.billed is not Billed.NO


def was_cancelled(one: Attempt) -> bool:
    """Whether fal was asked to cancel an attempt, or it was cancelled all the same."""
    return one.fate is Fate.CANCELLED or one.cancel_answer is not None


RECONCILE_SECONDS = 60.0
"""How long a lost request is looked for, counted from its POST, because fal's history may lag."""


@dataclass(frozen=True)
class Limits:
    """What a scope may spend, in US dollars; None for no limit.

    Args:
        per_day_usd: In a day, UTC.
        per_month_usd: In a calendar month, UTC.
        total_usd: In all.
    """

    per_day_usd: Decimal | None = None
    per_month_usd: Decimal | None = None
    total_usd: Decimal | None = None


@dataclass(frozen=True)
class Run:
    """The caller: a flow run, the flow run that it is part of, or neither.

    Args:
        flow_run_id: The flow run.
        root_flow_run_id: The flow run that this process was started for.
    """

    flow_run_id: str | None = None
    root_flow_run_id: str | None = None

    @property
    def ids(self) -> list[str]:
        """The ids that are set."""
        return sorted({each for each in (self.flow_run_id, self.root_flow_run_id) if each})

    def among(self, flow_runs: Collection[str]) -> bool:
        """Whether the flow run, or the one that it is part of, is among some flow runs.

        Example:
            >>> Run("subflow", "parent").among({"parent"})
            True
        """
        return self.flow_run_id in flow_runs or self.root_flow_run_id in flow_runs

    def only(self, flow_runs: Collection[str]) -> Run:
        """The run, without the ids that are not among some flow runs.

        Example:
            >>> Run("subflow", "parent").only({"subflow"})
            Run(flow_run_id='subflow', root_flow_run_id=None)
        """
        flow_run_id, root = self.flow_run_id, self.root_flow_run_id
        return Run(
            flow_run_id if flow_run_id in flow_runs else None, root if root in flow_runs else None
        )


NOBODY = Run()
"""A caller outside of flow runs."""


@dataclass(frozen=True)
class Purchase:
    """A video that a caller wants, and on what terms.

    Args:
        key: The generation's key.
        realm: fal or emulator.
        endpoint: fal's endpoint id.
        body: The exact body to send.
        take: Which of several videos of the same input.
        account: The label of the account that pays.
        credentials: The saved credentials block's name, if it is one.
        place: The label of the place that the video is meant for.
        scope: Whose budget it is on.
        limits: The scope's limits as the caller knows them; None: as the ledger knows them.
        is_scope_named: Whether the scope was named explicitly: then it must have a limit.
        estimated_usd: What it will cost, in US dollars; None where no price is known.
        labels: The caller's own words for it.
        run: The flow run that asks.
        waiter: This call's name in the ledger.
        is_ready: Whether the body can be sent as it is; if not, a picture must be uploaded first.
        is_approved: Whether it may be bought; if not, only an existing purchase may be used.
    """

    key: str
    realm: Realm
    endpoint: str
    body: Mapping[str, Any]
    take: str
    account: str
    waiter: str
    credentials: str | None = None
    place: str | None = None
    scope: str = "default"
    limits: Limits | None = None
    is_scope_named: bool = False
    estimated_usd: Decimal | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    run: Run = NOBODY
    is_ready: bool = True
    is_approved: bool = True

    @property
    def body_digest(self) -> str:
        """Equal for equal bodies."""
        return digest_of(self.body)

    def asked(self) -> dict[str, Any]:
        """The columns of an attempt's row that say what was asked for."""
        return {
            "key": self.key,
            "realm": self.realm,
            "endpoint": self.endpoint,
            "account": self.account,
            "credentials": self.credentials,
            "place": self.place,
            "scope": self.scope,
            "take": self.take,
            "body": dict(self.body),
            "body_digest": self.body_digest,
            "labels": dict(self.labels),
        }


def digest_of(body: Mapping[str, Any]) -> str:
    """A digest that is equal for equal bodies, in any order of fields and any Unicode form.

    A picture counts by its content, where the body shows it, because the same picture may have
    been uploaded twice. Bodies of one key must have one digest, or they are not found in fal's
    history.

    Example:
        >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
        True
        >>> digest_of({"prompt": "Caf\u00e9"}) == digest_of({"prompt": "Cafe\u0301"})
        True
    """
    text = json.dumps(_composed(body), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _composed(value: Any) -> Any:
    """The value with text in Unicode's NFC form and pictures by content, as in keys."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", identity_of(value))
    if isinstance(value, Mapping):
        return {name: _composed(each) for name, each in value.items()}
    return [_composed(each) for each in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Buy:
    """The attempt is the caller's to POST, before its lease ends."""

    attempt: Attempt


@dataclass(frozen=True)
class Wait:
    """Somebody alive is submitting it."""

    attempt: Attempt


@dataclass(frozen=True)
class Reconcile:
    """It may have been bought: look in fal's history."""

    attempt: Attempt


@dataclass(frozen=True)
class Attach:
    """It is fal's request, or its result, to be collected."""

    attempt: Attempt


@dataclass(frozen=True)
class Reuse:
    """It is stored."""

    attempt: Attempt


@dataclass(frozen=True)
class Prepare:
    """It is to be bought, and its body is not ready: get that done, and claim again."""


Decision = Buy | Wait | Reconcile | Attach | Reuse | Prepare


def may_replace(attempts: Sequence[Attempt], consented: int) -> bool:
    """Whether a person allowed one more purchase, and it was not made yet.

    Attempts that cost nothing do not spend the consent, unless fal took too many of them.
    """
    since = [each for each in attempts if each.number > consented]
    free = all(each.billed is Billed.NO for each in since)
    return consented > 0 and free and accepted_among(since) < MOST_ATTEMPTS


def accepted_among(attempts: Sequence[Attempt]) -> int:
    """How many attempts fal accepted, without duplicates, cancelled and forgotten ones."""
    single = [each for each in attempts if each.request_id and not each.duplicate]
    return len([each for each in single if each.fate not in (Fate.FORGOTTEN, Fate.CANCELLED)])


def check_number(latest: Attempt, attempts: Sequence[Attempt]) -> None:
    """Refuse another attempt after failures at no cost, if fal accepted too many already."""
    count = accepted_among(attempts)
    if count >= MOST_ATTEMPTS and latest.fate is Fate.FAILED:
        raise raised(
            latest,
            cure=f"It failed {count} times, so it is not tried again unasked: pass another take, "
            f"or allow one more with: prefect-hailuo ledger resolve {shown_key(latest.key)} "
            "--allow-one-resubmit",
        )


def raised(latest: Attempt, cure: str | None = None) -> HailuoError:
    """The error that an attempt ended with, to be raised again."""
    record = latest.error or describe(HailuoError("It failed."))
    if cure is None and latest.billed is not Billed.NO:
        cure = (
            f"{record['cure']} It may have cost money, so it is not bought again unasked: change "
            f"the input, pass another take, or allow one more purchase with: prefect-hailuo ledger "
            f"resolve {shown_key(latest.key)} --allow-one-resubmit"
        )
    return recorded_error(record, latest.ticket, cure)


def check_approved(purchase: Purchase) -> None:
    """Refuse to buy what was not shown to the person who approved."""
    if not purchase.is_approved:
        raise NotApprovedError(
            "It is not among what was approved, and was not bought: since it was asked about, its "
            "picture or its price has changed, or a video that was there or under way was lost.",
            cure="Run it again: it is planned and put to approval as it is now.",
        )


def check_account(purchase: Purchase, latest: Attempt) -> None:
    """Refuse to follow another account's request: only that account's key can."""
    if latest.account != purchase.account:
        raise OtherAccountError(
            f"The account {latest.account!r} is making this video (attempt {latest.number} is "
            f"{latest.fate}); these credentials are of the account {purchase.account!r}."
        )
