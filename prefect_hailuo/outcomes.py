"""What became of the videos of a batch, as values: each a video, or the error in its place."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from prefect_hailuo.endpoints import VideoInput, find_input_class
from prefect_hailuo.errors import BatchError, Billed, HailuoError, ParkedError
from prefect_hailuo.fal.messages import Ticket
from prefect_hailuo.ledger.recorded import describe, described_error
from prefect_hailuo.video import Video


def _typed(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    fields = {name: value for name, value in given.items() if name != "endpoint"}
    return find_input_class(str(given.get("endpoint"))).model_validate(fields)


def _named(given: VideoInput) -> dict[str, Any]:
    return {"endpoint": given.endpoint.name, **given.body()}


AnyInput = Annotated[
    VideoInput,
    BeforeValidator(_typed),
    PlainSerializer(_named),
    Field(description="The model's input; in JSON, with the model's name as its `endpoint`."),
]
"""Any model's input; in JSON it has the model's name as its `endpoint`."""


class Failure(BaseModel):
    """An error as a value, which any process can read and raise again.

    Args:
        kind: The name of its class in `prefect_hailuo.errors`.
        message: What happened.
        cure: What the caller can do.
        billed: Whether money was spent: `yes`, `no` or `unknown`.
        retryable: Whether trying again can help.
        retry_after: Seconds that fal asked to wait before that.
        error_type: fal's own name of it.
        problems: What fal says of the input: where, what, and what kind.
        ticket: The request that it is about.
        key: The generation's key, where a person has to decide about it.

    Example:
        >>> from prefect_hailuo.errors import NoCreditError
        >>> failure = Failure.of(NoCreditError("The account is locked."))
        >>> Failure.model_validate_json(failure.model_dump_json()).error()
        NoCreditError('The account is locked.')
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    message: str
    cure: str
    billed: Billed
    retryable: bool
    retry_after: float | None = None
    error_type: str | None = None
    problems: list[tuple[list[str | int], str, str]] = Field(default_factory=list)
    ticket: Ticket | None = None
    key: str | None = None

    @classmethod
    def of(cls, error: HailuoError) -> Failure:
        """An error as a value."""
        return cls(
            **describe(error),
            retryable=error.retryable,
            retry_after=error.retry_after,
            ticket=error.ticket,
            key=getattr(error, "key", None),
        )

    def error(self) -> HailuoError:
        """It as an error again."""
        error = described_error(self.model_dump(mode="json"), self.ticket)
        error.retryable = self.retryable
        error.retry_after = self.retry_after
        if isinstance(error, ParkedError):
            error.key = self.key
        return error


class VideoOutcome(BaseModel):
    """What became of one input of a batch: a video, or an error.

    Args:
        index: Its place among the inputs.
        input: What was to be generated.
        take: Which of several videos of the same input.
        key: The generation's key.
        video: The stored video.
        failure: What went wrong instead, as a value.

    Example:
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> from prefect_hailuo.errors import NoCreditError
        >>> outcome = VideoOutcome(
        ...     index=0, input=Hailuo23ProTextToVideo(prompt="A fox."), take="0", key="f0",
        ...     failure=Failure.of(NoCreditError("The account is locked.")),
        ... )
        >>> outcome.video, type(outcome.error).__name__
        (None, 'NoCreditError')
        >>> VideoOutcome.model_validate_json(outcome.model_dump_json()) == outcome
        True
    """

    model_config = ConfigDict(frozen=True)

    index: int
    input: AnyInput
    take: str
    key: str
    video: Video | None = None
    failure: Failure | None = None

    @property
    def error(self) -> HailuoError | None:
        """What went wrong, as an error that can be raised; None where there is a video."""
        return self.failure.error() if self.failure else None

    def result(self) -> Video:
        """The video.

        Raises:
            HailuoError: There is none; by kind, as `prefect_hailuo.errors` draws them.
        """
        if self.video is None:
            raise self.error or HailuoError("There is neither a video nor an error.")
        return self.video


class VideoOutcomes(list[VideoOutcome]):
    """The outcomes of a batch, in the inputs' order: a list that knows what people ask of it.

    Example:
        >>> from prefect_hailuo import Hailuo02ProTextToVideo, generate_videos
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> kite = Hailuo02ProTextToVideo(prompt="A kite.")
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     outcomes = generate_videos([kite], credentials=emulator.credentials())
        >>> [each.prompt for each in outcomes.videos], outcomes.failed
        (['A kite.'], [])
    """

    @property
    def videos(self) -> list[Video]:
        """The videos that there are."""
        return [each.video for each in self if each.video]

    @property
    def failed(self) -> VideoOutcomes:
        """The outcomes that are errors."""
        return VideoOutcomes(each for each in self if each.failure)

    def raise_for_failed(self) -> VideoOutcomes:
        """Raise an error if there is one, as httpx's `raise_for_status` does.

        Returns:
            The outcomes, all of them videos.

        Raises:
            BatchError: Some failed. Its `outcomes` are these.
        """
        if not self.failed:
            return self
        raise _batch_error(self)


def _batch_error(outcomes: VideoOutcomes) -> BatchError:
    failures = [each.failure for each in outcomes if each.failure]
    first = outcomes.failed[0]
    error = BatchError(
        f"{len(failures)} of {len(outcomes)} videos failed; the first, input {first.index}, by "
        f"{failures[0].kind}: {failures[0].message}",
        billed=_billed({each.billed for each in failures}),
        retryable=any(each.retryable for each in failures),
    )
    error.outcomes = outcomes
    return error


def _billed(all_of_them: set[Billed]) -> Billed:
    """Whether what failed cost anything."""
    if Billed.YES in all_of_them:
        return Billed.YES
    return Billed.UNKNOWN if Billed.UNKNOWN in all_of_them else Billed.NO
