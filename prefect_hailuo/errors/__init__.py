"""Everything that can go wrong, as a tree.

    HailuoError
    ├── ConfigurationError           something on this side needs setting right
    │   ├── MissingKeyError          no API key was given
    │   ├── InsecureHostError        a host that must not be given the key
    │   ├── UnknownEndpointError     no endpoint is called that
    │   ├── OtherAccountError        another account is making this video
    │   ├── ImageError               a picture cannot be had, or not be used
    │   └── MissingExtraError        an optional dependency is not installed
    ├── LedgerError                  the ledger cannot be used; nothing is bought without it
    ├── ConcurrencyLimitError        nobody can say whether the account's limit leaves room
    ├── BudgetError                  the scope's budget does not allow it
    ├── SchemaDriftError             fal's documents or prices are not what this release knows
    ├── NotApprovedError             no person approved the cost
    ├── FalError                     what fal said, or failed to say
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
    │   ├── MalformedReplyError      an answer that is not of fal's protocol
    │   └── RealmMismatchError       the emulator answered for fal, or fal for the emulator
    ├── SubmitUnknownError           the POST went out, and its answer was lost
    ├── RunCancelledError            its flow run was cancelled, so nothing is bought for it
    ├── ParkedError                  it may have been bought: somebody has to decide
    ├── AbandonedError               somebody decided to give the attempt up
    ├── GenerationTimeoutError       the deadline passed; the ticket is still good
    ├── DownloadError                the video did not arrive whole; it is still at fal
    │   └── VideoExpiredError        fal no longer serves the file
    ├── StorageError                 the video could not be written where it was to go
    └── BatchError                   some videos of a batch failed; it carries all outcomes

Every error says what happened, what cures it, whether money was spent
(`billed`) and whether trying again can help (`retryable`). Those that follow a
submission carry its `ticket`, so that nothing paid for is ever out of reach.
"""

from __future__ import annotations

from prefect_hailuo.errors.base import (
    Billed,
    E,
    HailuoError,
    Problem,
    about,
)
from prefect_hailuo.errors.fal import (
    BadKeyError,
    ContentPolicyError,
    FalError,
    FalFaultError,
    InputRefusedError,
    MalformedReplyError,
    NoCreditError,
    NotReadyError,
    RateLimitedError,
    RealmMismatchError,
    RequestCancelledError,
    RequestNotFoundError,
    RequestRefusedError,
    StreamDroppedError,
    UnreachableError,
)
from prefect_hailuo.errors.local import (
    BudgetError,
    ConcurrencyLimitError,
    ConfigurationError,
    ImageError,
    InsecureHostError,
    LedgerError,
    MissingExtraError,
    MissingKeyError,
    NotApprovedError,
    OtherAccountError,
    RunCancelledError,
    SchemaDriftError,
    UnknownEndpointError,
)
from prefect_hailuo.errors.outcomes import (
    AbandonedError,
    BatchError,
    DownloadError,
    GenerationTimeoutError,
    ParkedError,
    StorageError,
    SubmitUnknownError,
    VideoExpiredError,
)

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
    "E",
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
    "about",
]

# They are of this module, wherever they are written: so tracebacks and pickles call them.
for _name in __all__:
    globals()[_name].__module__ = __name__
