"""What a batch's flow run returns: small, however many videos it holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from textwrap import shorten

from pydantic import BaseModel, Field

from prefect_hailuo.errors import Billed
from prefect_hailuo.money import dollars
from prefect_hailuo.outcomes import Failure, VideoOutcomes
from prefect_hailuo.plan import Plan
from prefect_hailuo.video import Video

MOST_FAILURES = 20
TEXT_CHARACTERS = 200


class BatchSummary(BaseModel):
    """What became of a catalogue; as small for ten thousand videos as for ten.

    Args:
        videos: How many were asked for; equal prompts are one.
        done: Those that are there.
        new: Those of them that fal took on after the run had begun.
        spent_usd: What the new ones cost, by the catalogue; an emulator's cost nothing.
        failed: Those that are not there.
        maybe_billed: Those of the failed that cost money, or may have.
        failures: The first of the failed: the prompt and what happened.
        places: Where the videos are: a directory's path is one of the machine that made it.
        plan: What was to be bought, before anything was.
        csv: Where the CSV is, with a row for each video.
        sheet: Where the contact sheet's first page is.
    """

    videos: int = 0
    done: int = 0
    new: int = 0
    spent_usd: Decimal = Decimal(0)
    failed: int = 0
    maybe_billed: int = 0
    failures: list[str] = Field(default_factory=list)
    places: list[str] = Field(default_factory=list)
    plan: Plan | None = None
    csv: str | None = None
    sheet: str | None = None

    def __str__(self) -> str:
        spent = dollars(self.spent_usd) if self.spent_usd else "nothing"
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{self.done:,} of {self.videos:,} done{failed}, {self.new:,} new for {spent}"


def sum_up(outcomes: VideoOutcomes, began: datetime) -> BatchSummary:
    """A batch's summary.

    Args:
        outcomes: What became of each.
        began: When the run began.
    """
    new = [each for each in outcomes.videos if each.submitted_at and each.submitted_at >= began]
    paid = [each.price_usd for each in new if each.price_usd and not each.made_by_emulator]
    failures = [(each.input.prompt, each.failure) for each in outcomes if each.failure]
    return BatchSummary(
        videos=len(outcomes),
        done=len(outcomes.videos),
        new=len(new),
        spent_usd=sum(paid, Decimal(0)),
        failed=len(failures),
        maybe_billed=sum(each.billed is not Billed.NO for _, each in failures),
        failures=[_say(*each) for each in failures[:MOST_FAILURES]],
        places=sorted({_place(each) for each in outcomes.videos}),
    )


def add_up(summaries: Sequence[BatchSummary]) -> BatchSummary:
    """The summary of a batch that was split.

    Example:
        >>> print(add_up([BatchSummary(videos=2, done=2), BatchSummary(videos=1, failed=1)]))
        2 of 3 done, 1 failed, 0 new for nothing
    """
    return BatchSummary(
        videos=sum(each.videos for each in summaries),
        done=sum(each.done for each in summaries),
        new=sum(each.new for each in summaries),
        spent_usd=sum((each.spent_usd for each in summaries), Decimal(0)),
        failed=sum(each.failed for each in summaries),
        maybe_billed=sum(each.maybe_billed for each in summaries),
        failures=[text for each in summaries for text in each.failures][:MOST_FAILURES],
        places=sorted({place for each in summaries for place in each.places}),
    )


def _place(video: Video) -> str:
    return str(video.path.parent) if video.path else video.storage


def _say(prompt: str, failure: Failure) -> str:
    return shorten(f"{prompt[:60]!r}: {failure.kind}: {failure.message}", TEXT_CHARACTERS)
