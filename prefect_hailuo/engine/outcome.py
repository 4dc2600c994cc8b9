"""What became of a batch: each input's video or error, as a value; and its progress as a whole.

`VideoOutcomes` is what a batch returns. `Generation` follows one of its generations by the events
that it emits, and `count` adds all of them up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from prefect_hailuo.engine.events import Adopted, Attached, Progress, Reused, Submitted
from prefect_hailuo.engine.order import Order
from prefect_hailuo.errors import BatchError, Billed, HailuoError, ParkedError
from prefect_hailuo.fal.messages import InQueue
from prefect_hailuo.fal.outage import Outage
from prefect_hailuo.ledger.attempt import describe, described_error
from prefect_hailuo.models.catalogue import VideoInput, find_input_class
from prefect_hailuo.models.video import Video
from prefect_hailuo.ticket import Realm, Ticket


def typed_input(given: Any) -> Any:
    """The input that a mapping is of, by the `endpoint` in it; anything else as it is."""
    if not isinstance(given, dict):
        return given
    fields = {name: value for name, value in given.items() if name != "endpoint"}
    return find_input_class(str(given.get("endpoint"))).model_validate(fields)


def named_input(given: VideoInput) -> dict[str, Any]:
    """An input as a mapping, with its `endpoint`."""
    return {"endpoint": given.endpoint.name, **given.body()}


AnyInput = Annotated[
    VideoInput,
    BeforeValidator(typed_input),
    PlainSerializer(named_input),
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
        """The error itself."""
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
    """The outcomes of a batch, in the inputs' order: a list with `videos` and `failed`.

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
        """The stored videos."""
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
        f"{len(failures)} of {len(outcomes)} videos failed; the first, input {first.index + 1}, by "
        f"{failures[0].kind}: {failures[0].message}",
        billed=Billed.of_all(each.billed for each in failures),
        retryable=any(each.retryable for each in failures),
    )
    error.outcomes = outcomes
    return error


LEAST_SHARE_LEFT = 0.1
"""Of the expected time, while nothing has ended: what takes longer than that is nearly there."""

Standing = Literal["waiting", "queued", "running", "done", "failed"]
"""Not at fal yet; in its queue; being made; stored; ended by an error."""


@dataclass(frozen=True)
class Counts:
    """How a batch stands. Equal inputs are one video, and are counted once.

    Args:
        total: The videos of the batch.
        done: How many are stored.
        reused: How many of these were stored before.
        failed: How many ended with an error.
        running: How many fal is making.
        queued: How many are in fal's queue.
        bought: Requests that this run bought.
        spent_usd: What the bought that have ended cost, by the catalogue.
        reserved_usd: What the bought that are under way cost.
        last_position: The last known position in fal's queue.
        seconds: How long it has been going on.
        left_seconds: How long it may still take.
        realm: Whether it is fal, which costs money, or the emulator.
        unpriced: How many of the bought have no known price, and so are in neither sum.
    """

    total: int
    done: int
    reused: int
    failed: int
    running: int
    queued: int
    bought: int
    spent_usd: Decimal
    reserved_usd: Decimal
    last_position: int | None
    seconds: float
    left_seconds: float
    realm: Realm
    unpriced: int = 0

    @property
    def finished(self) -> int:
        """How many have ended."""
        return self.done + self.failed

    @property
    def waiting(self) -> int:
        """How many are not at fal yet."""
        return self.total - self.finished - self.running - self.queued

    @property
    def percent(self) -> float:
        """How much of it is finished."""
        return round(100 * self.finished / self.total, 1) if self.total else 100.0


@dataclass(frozen=True)
class BatchProgress:
    """How a batch stands, what has ended since that was last told, and whether fal can be asked."""

    counts: Counts
    news: Sequence[VideoOutcome]
    outage: Outage | None = None


@dataclass(eq=False, slots=True)
class Generation:
    """One generation of a batch, as its events tell of it.

    Args:
        order: What is to be made.
        key: Its key.
        indices: Where it is wanted: equal inputs are one generation.
        arrived: Called when its request, or its stored video, is known.
        moved: Called when it has come further.
    """

    order: Order
    key: str
    indices: list[int]
    arrived: Callable[[], None] = field(default=lambda: None, repr=False)
    moved: Callable[[], None] = field(default=lambda: None, repr=False)
    begun: bool = False
    standing: Standing = "waiting"
    position: int | None = None
    ticket: Ticket | None = None
    bought: int = 0
    reused: bool = False
    video: Video | None = None
    failure: Failure | None = None
    hindrance: HailuoError | None = None
    price_usd: Decimal | None = field(init=False)

    def __post_init__(self) -> None:
        self.price_usd = self.order.request.price_usd

    def see(self, event: object) -> None:
        """Take note of an event."""
        match event:
            case Submitted():
                self.bought += 1
                self._is_at_fal(event.ticket)
            case Attached() | Adopted():
                self._is_at_fal(event.ticket)
            case Progress():
                self._stands(event)
            case Reused():
                self.reused = True
                self.arrived()

    def hinder(self, error: HailuoError) -> None:
        """Note what keeps it from being bought for now."""
        self.hindrance = error

    def end(self, result: Video | Failure) -> None:
        """Take note of how it ended."""
        if isinstance(result, Video):
            self.video, self.standing = result, "done"
        else:
            self.failure, self.standing = result, "failed"
        self.moved()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.standing in ("done", "failed")

    @property
    def outcomes(self) -> list[VideoOutcome]:
        """What became of it, for each place where it is wanted."""
        return [
            VideoOutcome.model_construct(
                index=index,
                input=self.order.input,
                take=str(self.order.take),
                key=self.key,
                video=self.video,
                failure=self.failure,
            )
            for index in self.indices
        ]

    @property
    def paid_for(self) -> int:
        """How many requests this run bought of it that cost something, or may have."""
        free = self.failure is not None and self.failure.billed is Billed.NO
        return max(0, self.bought - free)

    def _is_at_fal(self, ticket: Ticket) -> None:
        self.ticket, self.standing, self.hindrance = ticket, "queued", None
        self.arrived()
        self.moved()

    def _stands(self, event: Progress) -> None:
        before = (self.standing, self.position)
        queued = isinstance(event.status, InQueue)
        self.standing = "queued" if queued else "running"
        self.position = event.status.queue_position if isinstance(event.status, InQueue) else None
        if before != (self.standing, self.position):
            self.moved()


def count(generations: Sequence[Generation], seconds: float) -> Counts:
    """How a batch stands.

    Args:
        generations: All of its generations.
        seconds: How long it has been going on.
    """
    standing = Counter(each.standing for each in generations)
    spent, spent_unpriced = _cost(each for each in generations if each.bought and each.ended)
    open_ones = [each for each in generations if each.bought and not each.ended]
    reserved, reserved_unpriced = _cost(open_ones)
    positions = [each.position for each in generations if each.position is not None]
    return Counts(
        total=len(generations),
        done=standing["done"],
        reused=sum(each.reused for each in generations),
        failed=standing["failed"],
        running=standing["running"],
        queued=standing["queued"],
        bought=sum(each.bought for each in generations),
        spent_usd=spent,
        reserved_usd=reserved,
        last_position=max(positions, default=None),
        seconds=seconds,
        left_seconds=_seconds_left(generations, seconds),
        realm=generations[0].order.access.realm,
        unpriced=spent_unpriced + reserved_unpriced,
    )


def _cost(generations: Iterable[Generation]) -> tuple[Decimal, int]:
    """What this run bought of them, by the catalogue, and how many of those have no known price."""
    paid: defaultdict[Decimal | None, int] = defaultdict(int)  # thousands, of a few prices
    for each in generations:
        paid[each.price_usd] += each.paid_for
    unpriced = paid.pop(None, 0)
    return sum((price * many for price, many in paid.items() if price), Decimal(0)), unpriced


def _seconds_left(generations: Sequence[Generation], seconds: float) -> float:
    """How long the rest may take: what is being made now, and what waits, at the rate so far."""
    left = [each for each in generations if not each.ended]
    made = [each.video for each in generations if each.video and not each.reused]
    if not left:
        return 0.0
    usual = _usual_seconds(left, made)
    if not made:  # how many fal makes at once, nobody knows before that
        return max(usual - seconds, usual * LEAST_SHARE_LEFT)
    behind = sum(each.standing != "running" for each in left)
    each_seconds = seconds / len(made)
    # What is being made now is half done on the average, and ends at no slower rate than so far.
    running = (len(left) - behind) / 2 * each_seconds
    return max(min(running, usual / 2, seconds), behind * each_seconds)


def _usual_seconds(left: Sequence[Generation], made: Sequence[Video]) -> float:
    """How long fal takes to make one: as it said of those made, else as the catalogue says."""
    said = [video.inference_seconds for video in made if video.inference_seconds]
    expected = (each.order.request.expected_seconds or 0.0 for each in left)
    return sum(said) / len(said) if said else max(expected)
