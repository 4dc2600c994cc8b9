"""What can become of an attempt, and what a later call for the same video then does."""

from __future__ import annotations

from enum import Enum

from prefect_hailuo.errors import Billed

MOST_ATTEMPTS = 3
"""Requests that fal accepted for one key; more, only by consent."""


class Fate(str, Enum):
    """How far an attempt has come.

    `intended → sending → submitted → succeeded → stored` is the good way. From `intended` no byte
    has left; at `sending` the connection stands, and from then on the POST may have been accepted.
    Only what an emulator was asked for can be `forgotten`: it was restarted.
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
    """What a call does that finds an attempt for its key."""

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
