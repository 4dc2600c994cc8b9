"""What became of a purchase, or of its video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_hailuo.errors.base import Billed, HailuoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect_hailuo.outcomes import VideoOutcome


class SubmitUnknownError(HailuoError):
    """The submission went out and its answer was lost: it may have bought a video.

    Only the bare client raises it; the tasks and jobs look for the request and go on with it.
    """

    default_cure = (
        "Look for it at https://fal.ai/dashboard/requests before running again; if it is there, "
        "collect it with HailuoVideoRun.from_request_id(endpoint, request_id, credentials)."
    )
    default_billed = Billed.UNKNOWN


class ParkedError(HailuoError):
    """It may have been bought, and nobody can say: it is not bought again unasked.

    `key` is the generation's, for `prefect-hailuo ledger show` and `resolve`.
    """

    default_cure = "See what is known with prefect-hailuo ledger show, and decide with resolve."
    default_billed = Billed.UNKNOWN
    key: str | None = None


class AbandonedError(HailuoError):
    """Somebody decided to give the attempt up, whatever became of it at fal."""

    default_cure = (
        "Pass another take, or allow one more purchase with: prefect-hailuo ledger resolve KEY "
        "--allow-one-resubmit"
    )
    default_billed = Billed.UNKNOWN


class GenerationTimeoutError(HailuoError):
    """The deadline passed before the video was there; the request goes on at fal."""

    default_cure = (
        "Nothing is lost: run the task or job again, and it goes on with the same request, without "
        "buying another; HailuoVideoRun(error.ticket, credentials) goes on with one of the bare "
        "client's. Or allow a longer timeout_seconds."
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
    """fal no longer serves the file."""

    default_cure = (
        "It was paid for and its copy is gone, so it is not bought again unasked: look for it at "
        "https://fal.ai/dashboard/requests, make another with a new take, or allow it with "
        "on_lost='resubmit'."
    )
    default_retryable = False


class StorageError(HailuoError):
    """The video could not be written where it was to go, or read from there."""

    default_cure = (
        "Make the place writable, then run it again: the video is paid for and still at fal, and "
        "is not bought again."
    )
    default_billed = Billed.YES


class BatchError(HailuoError):
    """Some videos of a batch failed; `outcomes` are those of all, and each failure's own error."""

    default_cure = (
        "See the error of each: [each.error for each in error.outcomes if each.error]. What is "
        "there stays there; run it again, and only what failed is tried."
    )
    default_billed = Billed.UNKNOWN
    outcomes: Sequence[VideoOutcome] = ()
