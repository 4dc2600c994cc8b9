"""What a claim must look at beside the table of fates: consents, numbers, accounts."""

from __future__ import annotations

from collections.abc import Sequence

from prefect_hailuo.errors import Billed, HailuoError, NotApprovedError, OtherAccountError
from prefect_hailuo.key import shown_key
from prefect_hailuo.ledger.attempts import Attempt
from prefect_hailuo.ledger.fates import MOST_ATTEMPTS, Fate
from prefect_hailuo.ledger.recorded import describe, recorded_error
from prefect_hailuo.ledger.wishes import Wish


def may_replace(attempts: Sequence[Attempt], consented: int) -> bool:
    """Whether somebody allowed one more purchase, and it was not made yet.

    Attempts that cost nothing do not spend the consent, unless fal took too many of them.
    """
    since = [each for each in attempts if each.number > consented]
    free = all(each.billed is Billed.NO for each in since)
    return consented > 0 and free and _accepted(since) < MOST_ATTEMPTS


def _accepted(attempts: Sequence[Attempt]) -> int:
    """How many of some attempts fal took, but duplicates, and what was cancelled or forgotten."""
    single = [each for each in attempts if each.request_id and not each.duplicate]
    return len([each for each in single if each.fate not in (Fate.FORGOTTEN, Fate.CANCELLED)])


def check_number(latest: Attempt, attempts: Sequence[Attempt]) -> None:
    """Refuse another attempt after those that cost nothing, if fal took too many already."""
    count = _accepted(attempts)
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


def check_approved(wish: Wish) -> None:
    """Refuse to buy what is not among what a person was shown."""
    if not wish.is_approved:
        raise NotApprovedError(
            "It is not among what was approved, and was not bought: since it was asked about, its "
            "picture or its price has changed, or a video that was there or under way was lost.",
            cure="Run it again: it is planned, and asked about, as it is now.",
        )


def check_account(wish: Wish, latest: Attempt) -> None:
    """Refuse to follow a request of another account: only its own key can."""
    if latest.account != wish.account:
        raise OtherAccountError(
            f"The account {latest.account!r} is making this video (attempt {latest.number} is "
            f"{latest.fate}); these credentials are of the account {wish.account!r}."
        )
