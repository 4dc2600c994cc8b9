"""Outcomes as values, and how a batch is counted."""

from __future__ import annotations

import pickle
from datetime import datetime, timezone
from decimal import Decimal

import pytest
from pydantic import SecretStr, ValidationError
from test_errors import CLASSES, TICKET

from prefect_hailuo import Hailuo02ProTextToVideo, Hailuo23ProTextToVideo, Video, VideoOutcome
from prefect_hailuo.engine.events import Attached, Progress, Reused, Submitted
from prefect_hailuo.engine.order import Order
from prefect_hailuo.engine.outcome import Failure, Generation, count
from prefect_hailuo.errors import (
    Billed,
    ContentPolicyError,
    FalError,
    FalFaultError,
    HailuoError,
    InputRefusedError,
    ParkedError,
    Problem,
)
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import InProgress, InQueue
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.models.catalogue import VideoInput
from prefect_hailuo.runs.cards import describe_counts
from prefect_hailuo.storage.place import Directory

FOX = Hailuo23ProTextToVideo(prompt="A red fox.")
KEY = "5ec3e7:k3y"

VIDEO = Video(
    path=None,
    storage="block:x/y",
    storage_key="fox.mp4",
    url="https://v3.fal.media/fox.mp4",
    content_type=None,
    size=1,
    sha256="0",
    endpoint=FOX.endpoint.id,
    request_id="r1",
    realm="fal",
    price_usd=None,
    stored_at=datetime(2026, 9, 1, tzinfo=timezone.utc),
)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_json(kind: type[HailuoError]) -> None:
    """With all that it knows: so a batch's outcomes can be kept, and raised elsewhere."""
    error = kind(
        "It broke.",
        cure="Mend it.",
        billed=Billed.YES,
        retryable=True,
        retry_after=2,
        ticket=TICKET,
    )
    if isinstance(error, FalError):
        error.error_type = "string_too_long"
    if isinstance(error, InputRefusedError):
        error.problems = (Problem(("body", 0), "Too long", "string_too_long"),)
    if isinstance(error, ParkedError):
        error.key = "f0"
    text = Failure.of(error).model_dump_json()
    twin = Failure.model_validate_json(text).error()
    assert (type(twin), vars(twin), str(twin)) == (kind, vars(error), str(error))


def test_an_outcome_survives_json_and_pickling() -> None:
    """Its input comes back as what it was; an unknown model is an error."""
    outcome = generation().ended_by(ContentPolicyError("Violence.", ticket=TICKET))
    text = outcome.model_dump_json()
    assert '"endpoint":"hailuo-2.3-pro"' in text
    assert VideoOutcome.model_validate_json(text) == outcome
    assert pickle.loads(pickle.dumps(outcome)) == outcome  # noqa: S301 - our own
    with pytest.raises(ValidationError, match="There is no endpoint"):
        VideoOutcome.model_validate_json(text.replace("hailuo-2.3-pro", "other"))


def test_an_outcome_raises_its_error() -> None:
    """As a future does."""
    outcome = generation().ended_by(ContentPolicyError("Violence.", ticket=TICKET))
    with pytest.raises(ContentPolicyError, match="Violence") as caught:
        outcome.result()
    assert caught.value.ticket == TICKET


def test_an_outcome_holds_no_key() -> None:
    """Neither does its JSON."""
    outcome = generation().ended_by(FalFaultError("Out of order."))
    assert KEY not in outcome.model_dump_json()
    assert KEY not in repr(outcome)


class Told(Generation):
    """A generation that is told at once how it ends."""

    def ended_by(self, error: HailuoError) -> VideoOutcome:
        """Its only outcome."""
        self.end(Failure.of(error))
        return self.outcomes[0]


def generation(model: type[VideoInput] = Hailuo23ProTextToVideo) -> Told:
    """One generation, that nothing has happened to."""
    order = Order(
        input=model(prompt="A red fox."),
        access=Access(SecretStr(KEY)),
        place=Directory("videos"),
        ledger=LedgerAddress(SecretStr("sqlite+aiosqlite:///x.db"), "fal"),
        take="0",
    )
    return Told(order, order.key, [0])


def at(status: InQueue | InProgress) -> Progress:
    """fal says how it stands."""
    return Progress(TICKET, status, elapsed_seconds=1, expected_seconds=100)


def test_events_are_folded_into_counts() -> None:
    """Bought ones are reserved until they end, and cost nothing if fal did not charge."""
    waiting, queued, running, failed, attached = (generation() for _ in range(5))
    for each in (queued, running, failed):
        each.see(Submitted(TICKET))
    queued.see(at(InQueue(queue_position=7)))
    running.see(at(InProgress()))
    attached.see(Attached(TICKET))
    failed.ended_by(FalFaultError("Out of order."))
    counts = count([waiting, queued, running, failed, attached], seconds=10)
    assert (counts.waiting, counts.queued, counts.running, counts.failed) == (1, 2, 1, 1)
    assert (counts.bought, counts.last_position) == (3, 7)
    assert (counts.reserved_usd, counts.spent_usd) == (Decimal("0.98"), Decimal(0))


def test_what_may_have_been_charged_counts_as_spent() -> None:
    """fal may charge for what it refuses."""
    refused = generation()
    refused.see(Submitted(TICKET))
    refused.ended_by(ContentPolicyError("Violence."))
    assert count([refused], seconds=10).spent_usd == Decimal("0.49")


def test_a_request_may_go_back_to_the_queue() -> None:
    """fal retries; it then counts as queued again."""
    one = generation()
    one.see(at(InProgress()))
    one.see(at(InQueue(queue_position=0)))
    assert count([one], seconds=1).queued == 1


def test_before_any_is_made_the_time_left_is_the_models() -> None:
    """The slowest model's; and never nothing, however late it is."""
    fast, slow = generation(), generation(Hailuo02ProTextToVideo)
    assert count([fast, slow], seconds=60).left_seconds == 300
    assert count([fast, slow], seconds=3600).left_seconds == pytest.approx(36)


def test_what_is_being_made_at_the_end_does_not_take_ever_longer() -> None:
    """Four of five are made in 16 s: the last one has some two left, as it had at that rate."""
    made = [generation() for _ in range(4)]
    for each in made:
        each.video, each.standing = VIDEO, "done"
    last = generation()
    last.see(at(InProgress()))
    assert count([*made, last], seconds=16).left_seconds == pytest.approx(2)


def test_what_has_no_known_price_is_no_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted, and said."""
    monkeypatch.setattr(Hailuo23ProTextToVideo, "price_usd", None)
    one = generation()
    one.see(Submitted(TICKET))
    counts = count([one], seconds=10)
    assert (counts.bought, counts.unpriced) == (1, 1)
    assert "1 bought for 1 of unknown price" in describe_counts(counts)


def test_after_that_it_is_by_the_rate() -> None:
    """Ten are made in 100 s, and twenty wait: 200 s. What was there before tells nothing."""
    made = [generation() for _ in range(10)]
    there = [generation() for _ in range(50)]
    for each in there:
        each.see(Reused(VIDEO))
    for each in made + there:
        each.video, each.standing = VIDEO, "done"
    counts = count([*made, *there, *(generation() for _ in range(20))], seconds=100)
    assert counts.left_seconds == pytest.approx(200)
    assert counts.percent == 75.0
