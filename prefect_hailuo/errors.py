"""All exceptions of the package, as a tree.

    HailuoError
    ├── ConfigurationError           something must be set right here; nothing was sent
    │   ├── MissingKeyError          no API key was given
    │   ├── InsecureHostError        a host that must not be given the key
    │   ├── UnknownEndpointError     there is no endpoint of this name
    │   ├── OtherAccountError        another account is making this video
    │   ├── ImageError               a picture cannot be read, or the models do not take it
    │   └── MissingExtraError        an optional dependency is not installed
    ├── LedgerError                  the ledger cannot be used; nothing is bought without it
    ├── ConcurrencyLimitError        whether the account's limit leaves room is not known
    ├── BudgetError                  the scope's budget does not allow it
    ├── SchemaDriftError             fal's documents or prices differ from this release's
    ├── NotApprovedError             no person approved the cost
    ├── FalError                     fal refused, failed, or gave no usable answer
    │   ├── BadKeyError              401, or 403 for another reason than credit
    │   ├── NoCreditError            403, the account is locked or out of credit
    │   ├── RateLimitedError         429
    │   ├── InputRefusedError        the model refused the input
    │   │   └── ContentPolicyError   ... for what it shows or says
    │   ├── RequestRefusedError      any other 4xx
    │   ├── RequestNotFoundError     404, this account knows no such request
    │   ├── NotReadyError            the result was asked for too early
    │   ├── RequestCancelledError    the request was cancelled
    │   ├── FalFaultError            5xx, fal or its runner failed
    │   ├── UnreachableError         no connection to fal stood
    │   ├── StreamDroppedError       a stream of statuses broke off
    │   ├── MalformedReplyError      the answer does not follow fal's protocol
    │   └── RealmMismatchError       the emulator answered for fal, or fal for the emulator
    ├── SubmitUnknownError           the POST went out, and its answer was lost
    ├── RunCancelledError            its flow run was cancelled; nothing is bought for it
    ├── ParkedError                  it may have been bought; a person has to decide
    ├── AbandonedError               a person gave the attempt up
    ├── GenerationTimeoutError       the deadline passed; the ticket is still good
    ├── DownloadError                the video did not arrive whole; it is still at fal
    │   └── VideoExpiredError        fal no longer serves the file
    ├── StorageError                 the video could not be written to its place, or read from it
    └── BatchError                   some videos of a batch failed; it carries every outcome

Every error says what happened, what cures it, whether money was spent (`billed`) and whether
trying again can help (`retryable`). An error after a submission carries its `ticket`, so nothing
that was paid for is out of reach.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect_hailuo.ticket import Ticket


class Billed(str, Enum):
    """Whether fal charged for the failure."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"

    __str__ = str.__str__  # the value in every Python, not the member's name

    @classmethod
    def of_all(cls, failures: Iterable[Billed]) -> Billed:
        """Whether fal charged for any of several failures.

        Example:
            >>> Billed.of_all([Billed.NO, Billed.UNKNOWN])
            <Billed.UNKNOWN: 'unknown'>
        """
        those = set(failures)
        if cls.YES in those:
            return cls.YES
        return cls.UNKNOWN if cls.UNKNOWN in those else cls.NO


class Problem(NamedTuple):
    """One complaint about an input, in fal's own words.

    Example:
        >>> Problem(("body", "prompt"), "Field required", "missing").place
        'body.prompt'
    """

    loc: tuple[str | int, ...]
    msg: str
    type: str

    @property
    def place(self) -> str:
        """`loc` as a dotted path."""
        return ".".join(str(part) for part in self.loc)


class HailuoError(Exception):
    """The base of all errors that this package raises.

    Args:
        message: What happened.
        cure: What the caller can do; by default, the class's own advice.
        billed: Whether money was spent; by default, the class's own rule.
        retryable: Whether trying again can help; by default, the class's own rule.
        retry_after: Seconds to wait before trying again, if fal named them.
        ticket: The request that failed, if one was accepted.

    Example:
        >>> error = HailuoError("The disk is full.", cure="Free some space.")
        >>> print(error)
        The disk is full. Free some space. (Money spent: no. Trying again: will not help by itself.)
    """

    concerns_all: bool = False
    """Whether every purchase of a batch would meet it: then no other is begun."""

    default_cure: ClassVar[str] = ""
    default_billed: ClassVar[Billed] = Billed.NO
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        cure: str | None = None,
        billed: Billed | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        ticket: Ticket | None = None,
    ) -> None:
        # Only the message goes into `args`: unpickling calls the class with `args` and then
        # restores the rest from `__dict__`.
        super().__init__(message)
        self.message = message
        self.cure = self.default_cure if cure is None else cure
        self.billed = self.default_billed if billed is None else billed
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after = retry_after
        self.ticket = ticket

    def __str__(self) -> str:
        again = "can help" if self.retryable else "will not help by itself"
        known = f"(Money spent: {self.billed.value}. Trying again: {again}.)"
        request = f"Request id: {self.ticket.request_id}." if self.ticket else ""
        return " ".join(part for part in (self.message, self.cure, request, known) if part)


E = TypeVar("E", bound=HailuoError)


def about(ticket: Ticket | None, error: E) -> E:
    """Add the request to an error, unless the error carries one already."""
    error.ticket = error.ticket or ticket
    return error


class FalError(HailuoError):
    """fal refused, failed, or gave no usable answer; `error_type` is fal's own name for it, if any.

    `in_fals_shape` is whether the answer certainly came from fal. The same status in another shape,
    such as a page of HTML, may come from a proxy.
    """

    error_type: str | None = None
    in_fals_shape: bool = True


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
    """The account has no such request, or fal has dropped its result."""

    default_cure = (
        "Check the request id and that the key is of the account that submitted it; fal keeps a "
        "result for an hour, after which its dashboard may still show it."
    )
    default_billed = Billed.UNKNOWN
    answered_by: str | None = None
    """The emulator that said so, if one did."""


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
    """An answer that does not follow fal's protocol."""

    default_cure = "Check that the configured hosts are fal's; if they are, report this."
    default_billed = Billed.UNKNOWN


class RealmMismatchError(FalError):
    """The emulator answered credentials for fal, or fal answered those for the emulator."""

    default_cure = "Use emulator.credentials() for the emulator, and a real key for fal only."


class ConfigurationError(HailuoError):
    """Something must be set right on this side; nothing was sent."""


class ConcurrencyLimitError(HailuoError):
    """Whether the account's concurrency limit leaves room is not known; nothing was bought."""

    default_cure = (
        "Check PREFECT_API_URL and that the server is running, and run again; or remove the "
        "setting PREFECT_INTEGRATIONS_HAILUO_CONCURRENCY_LIMIT."
    )
    default_retryable = True


class MissingKeyError(ConfigurationError):
    """No API key was given."""

    default_cure = (
        "Set the FAL_KEY environment variable (or FAL_KEY_ID with FAL_KEY_SECRET) to a key from "
        "https://fal.ai/dashboard/keys, or pass a FalCredentials block; to try everything at no "
        "cost, use the emulator (--emulator, or FalEmulator)."
    )


class InsecureHostError(ConfigurationError):
    """A host that must not be given the API key."""

    default_cure = (
        "Use an https:// address; plain http:// is allowed to this machine's loopback only."
    )


class UnknownEndpointError(ConfigurationError, ValueError):
    """There is no endpoint of this name."""

    default_cure = "List the models with: prefect-hailuo models"


class OtherAccountError(ConfigurationError):
    """Another account is making this video; only its own key can follow the request."""

    default_cure = (
        "Use that account's credentials, wait until the video is stored (it then serves every "
        "account), or pass another take. If it is the same account with a new key, give the "
        "credentials its label: FalCredentials(account=...). Nothing was bought now."
    )


class MissingExtraError(ConfigurationError):
    """An optional dependency is not installed."""

    default_cure = "Install it with: pip install 'prefect-hailuo[media]'"


class ImageError(ConfigurationError):
    """A picture, video or sound cannot be read, or is not what models take; nothing was bought."""

    default_cure = (
        "Pass a JPEG, PNG or WebP under 20 MB, with its shorter side over 300 pixels and its sides "
        "between 2:5 and 5:2."
    )


class LedgerError(HailuoError):
    """The ledger cannot be used; without it nothing is bought."""

    default_cure = (
        "Make it reachable and writable, or name another with the setting "
        "PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL. Nothing was bought now; run again after that."
    )


class BudgetError(HailuoError):
    """The scope's budget does not allow the purchase; nothing was bought."""

    default_cure = (
        "Raise the limit (Budget(scope=..., ...).apply()), or wait for the next period; "
        "prefect-hailuo spend shows what it went on."
    )


class NotApprovedError(HailuoError):
    """No person approved the cost; nothing was bought."""

    default_cure = (
        "Run it again, and choose to buy in Prefect's UI; or approve beforehand: pass a "
        "higher approve_above_usd, or --yes to a flow's command."
    )


class RunCancelledError(HailuoError):
    """The flow run that asked for the video was cancelled, so nothing is bought for it."""

    default_cure = "Run it again if the video is wanted after all."


class SchemaDriftError(HailuoError):
    """fal's documents or prices differ from what this release knows; nothing was bought."""

    default_cure = (
        "See the artifact for what has drifted, and upgrade: pip install -U prefect-hailuo."
    )


class SubmitUnknownError(HailuoError):
    """The submission went out and its answer was lost: it may have bought a video.

    Only the bare client raises it. The tasks and jobs look for the request and go on with it.
    """

    default_cure = (
        "Look for it at https://fal.ai/dashboard/requests before running again; if it is there, "
        "collect it with HailuoVideoRun.from_request_id(endpoint, request_id, credentials)."
    )
    default_billed = Billed.UNKNOWN


class ParkedError(HailuoError):
    """It may have been bought, and that cannot be found out: it is not bought again unasked.

    `key` is the generation's, for `prefect-hailuo ledger show` and `resolve`.
    """

    default_cure = "See what is known with prefect-hailuo ledger show, and decide with resolve."
    default_billed = Billed.UNKNOWN
    key: str | None = None


class AbandonedError(HailuoError):
    """A person gave the attempt up, without knowing what became of it at fal."""

    default_cure = (
        "Pass another take, or allow one more purchase with: prefect-hailuo ledger resolve KEY "
        "--allow-one-resubmit"
    )
    default_billed = Billed.UNKNOWN


class GenerationTimeoutError(HailuoError):
    """The deadline passed before the video was there; the request goes on at fal."""

    default_retryable = True

    default_cure = (
        "Nothing is lost: run the task or job again, and it goes on with the same request, without "
        "buying another; HailuoVideoRun(error.ticket, credentials) goes on with one of the bare "
        "client's. Or allow a longer timeout_seconds. If it never ends: cancel it with "
        "HailuoVideoRun(error.ticket, credentials).cancel(), and then give it up with "
        "prefect-hailuo ledger resolve KEY --abandon, or pay for another with "
        "--allow-one-resubmit; the first counts as spent."
    )
    default_billed = Billed.UNKNOWN


class DownloadError(HailuoError):
    """The video did not arrive whole; the download can be repeated at no cost."""

    default_cure = (
        "The video is paid for and still at fal: run it again, and the download is repeated, "
        "without buying another."
    )
    default_billed = Billed.YES
    default_retryable = True


class VideoExpiredError(DownloadError):
    """fal no longer serves the file, and has kept it for as long as it promises."""

    default_cure = (
        "It was paid for, so it is not bought again unasked: look for it at "
        "https://fal.ai/dashboard/requests; to pay for another, pass a new take, or allow one with "
        "prefect-hailuo ledger resolve KEY --allow-one-resubmit."
    )
    default_retryable = False


class StorageError(HailuoError):
    """The video could not be written to its place, or read from it."""

    default_cure = (
        "Make the place writable, then run it again: the video is paid for and still at fal, and "
        "is not bought again."
    )
    default_billed = Billed.YES
    untold: bool = False
    """Whether it only says that a file cannot be read, so that it may be there or not."""


class Outcome(Protocol):
    """The outcome of one input of a batch, as in `VideoOutcome`: a video or an error."""

    @property
    def index(self) -> int:
        """Its place among the inputs."""

    @property
    def input(self) -> Any:
        """The typed input."""

    @property
    def video(self) -> Any:
        """The stored `Video`; None if there is an error instead."""

    @property
    def error(self) -> HailuoError | None:
        """What went wrong; None if nothing did."""


class BatchError(HailuoError):
    """Some videos of a batch failed; `outcomes` has each input's video or error.

    Raised by a flow, it has what the flow would have returned as its `summary`.
    """

    default_cure = (
        "See the error of each: [each.error for each in error.outcomes if each.error]. The "
        "stored videos stay; run it again, and only the failed ones are tried."
    )
    default_billed = Billed.UNKNOWN
    outcomes: Sequence[Outcome] = ()
    summary: Any = None


__all__ = [
    "AbandonedError",
    "BadKeyError",
    "BatchError",
    "Billed",
    "BudgetError",
    "ConcurrencyLimitError",
    "ConfigurationError",
    "ContentPolicyError",
    "DownloadError",
    "FalError",
    "FalFaultError",
    "GenerationTimeoutError",
    "HailuoError",
    "ImageError",
    "InputRefusedError",
    "InsecureHostError",
    "LedgerError",
    "MalformedReplyError",
    "MissingExtraError",
    "MissingKeyError",
    "NoCreditError",
    "NotApprovedError",
    "NotReadyError",
    "OtherAccountError",
    "Outcome",
    "ParkedError",
    "Problem",
    "RateLimitedError",
    "RealmMismatchError",
    "RequestCancelledError",
    "RequestNotFoundError",
    "RequestRefusedError",
    "RunCancelledError",
    "SchemaDriftError",
    "StorageError",
    "StreamDroppedError",
    "SubmitUnknownError",
    "UnknownEndpointError",
    "UnreachableError",
    "VideoExpiredError",
]
