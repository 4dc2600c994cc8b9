"""The error that asks a person to decide."""

from __future__ import annotations

from prefect_hailuo.errors import Billed, ParkedError
from prefect_hailuo.key import shown_key
from prefect_hailuo.ledger.attempts import Attempt, moment


def parked_error(one: Attempt, because: str) -> ParkedError:
    """The error of a generation that is parked: what is known, and every cure.

    Args:
        one: The attempt whose fate, or whose video, is not known.
        because: Why not.
    """
    key = shown_key(one.key)
    sent = moment(one.sent_at or one.intended_at)
    resolve = f"prefect-hailuo ledger resolve {key}"
    what = (
        f"Attempt {one.number} of {key}, sent to {one.endpoint} at {sent:%Y-%m-%d %H:%M:%S} UTC "
        f"with the account {one.account}, "
    )
    if one.ticket is None:
        what += f"may have been bought: {because}"
        cure = (
            f"Look for it at https://fal.ai/dashboard/requests. If it is there: {resolve} --adopt "
            f"REQUEST_ID. If it is surely not: {resolve} --allow-one-resubmit, or call with "
            "on_ambiguous='resubmit', which may pay twice."
        )
    else:
        what += f"may have cost money, and its video cannot be had: {because}"
        cure = (
            "Look for its video at https://fal.ai/dashboard/requests. To pay for another: "
            f"{resolve} --allow-one-resubmit, or pass another take."
        )
    error = ParkedError(
        what,
        cure=f"{cure} To give it up: {resolve} --abandon. A later run looks again by itself.",
        billed=Billed.UNKNOWN,
        ticket=one.ticket,
    )
    error.key = one.key
    return error
