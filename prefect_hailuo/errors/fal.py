"""What fal said, or failed to say."""

from __future__ import annotations

from prefect_hailuo.errors.base import Billed, HailuoError, Problem


class FalError(HailuoError):
    """What fal said, or failed to say; `error_type` is fal's own name of it, where it gave one."""

    error_type: str | None = None


class BadKeyError(FalError):
    """fal refused the API key."""

    default_cure = "Check the key at https://fal.ai/dashboard/keys and set FAL_KEY, or the block."


class NoCreditError(FalError):
    """The account is locked or has no credit."""

    default_cure = "Top up the account at https://fal.ai/dashboard/billing, then run again."


class RateLimitedError(FalError):
    """fal accepts no more requests at the moment."""

    default_cure = "Wait as long as fal asks, or run fewer at once."
    default_retryable = True


class InputRefusedError(FalError):
    """The model refused the input; `problems` says why, in fal's own words.

    fal's documentation says that a 422 may be charged, so `billed` is unknown
    unless fal named its charge.
    """

    default_cure = "Change the input as fal says, then run again."
    default_billed = Billed.UNKNOWN
    problems: tuple[Problem, ...] = ()


class ContentPolicyError(InputRefusedError):
    """The model refused what the prompt asks to see."""

    default_cure = "Rephrase the prompt: the same prompt will be refused again."


class RequestRefusedError(FalError):
    """fal refused the request."""

    default_cure = "See fal's message; if it names nothing to change, ask fal's support."
    default_billed = Billed.UNKNOWN


class RequestNotFoundError(FalError):
    """This account knows no such request, or fal has dropped its result."""

    default_cure = (
        "Check the request id and that the key is of the account that submitted it; fal keeps a "
        "result for an hour, after which its dashboard may still show it."
    )
    default_billed = Billed.UNKNOWN
    answered_by: str | None = None
    """Which emulator said so, if it was one."""


class NotReadyError(FalError):
    """The result was asked for before there was one."""

    default_cure = "Wait for completion first."
    default_billed = Billed.UNKNOWN
    default_retryable = True


class RequestCancelledError(FalError):
    """The request was cancelled."""

    default_cure = "Run it again if the video is wanted after all."
    default_billed = Billed.UNKNOWN


class FalFaultError(FalError):
    """fal or its runner failed. By fal's documentation a 5xx is never charged."""

    default_cure = "Run it again later; https://status.fal.ai may know more."
    default_retryable = True


class UnreachableError(FalError):
    """No connection to fal stood, so nothing was sent."""

    default_cure = "Check the network, the proxy and the configured hosts, then run again."
    default_retryable = True


class StreamDroppedError(FalError):
    """A stream of statuses broke off; the request goes on at fal."""

    default_cure = "Ask for the status, or listen again."
    default_billed = Billed.UNKNOWN
    default_retryable = True


class MalformedReplyError(FalError):
    """An answer that is not of fal's protocol."""

    default_cure = "Check that the configured hosts are fal's; if they are, report this."
    default_billed = Billed.UNKNOWN


class RealmMismatchError(FalError):
    """The emulator answered credentials for fal, or the other way about."""

    default_cure = "Use emulator.credentials() for the emulator, and a real key for fal only."
